//! Compiles every kernel file for every architecture, in worker processes, through the cache.

use crate::archs::Arch;
use crate::cache::{self, Cache};
use crate::constants;
use crate::toolkit::Toolkit;
use cudarc::nvrtc::{result as nvrtc, sys};
use std::ffi::CString;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Mutex;

pub const WORKER_ENV: &str = "REFLEX_NVRTC_WORKER";

/// One kernel file compiled for one architecture.
#[derive(Clone, Debug)]
pub struct Image {
    /// File stem: `norm` for `kernels/norm.cu`.
    pub file: String,
    pub arch: Arch,
    /// The cubin or PTX; the compiler's log lies beside it with the extension `log`.
    pub path: PathBuf,
}

pub struct Images {
    pub list: Vec<Image>,
    /// Release of NVRTC: `13.0`.
    pub compiler: String,
}

pub fn all(toolkit: &Toolkit, archs: &[Arch], root: &Path, out_dir: &Path) -> Result<Images, String> {
    let loader_dir = link_libraries(toolkit, out_dir)?;
    let cache = Cache::open(out_dir)?;
    let (mut sources, headers) = kernel_files(&root.join("kernels"))?;
    // Those that formats.rs wrote.
    sources.extend(kernel_files(&out_dir.join("kernels"))?.0);
    sources.sort_by(|(a, _), (b, _)| a.file_name().cmp(&b.file_name()));
    let mut worker = Worker::start(&loader_dir)?;
    let release = worker.ask("version")?;
    let supported: Vec<u32> = worker.ask("archs")?.split(' ').filter_map(|s| s.parse().ok()).collect();

    let sources: Vec<_> = sources
        .iter()
        .map(|(path, text)| (path, text, depends_on(path, text, &headers, root)))
        .collect();
    let mut images = Vec::new();
    let mut jobs = Vec::new();
    for arch in archs {
        if !supported.contains(&arch.sm) {
            println!("cargo:warning=NVRTC {release} cannot compile {}: left out", arch.flag());
            continue;
        }
        for (path, text, included) in &sources {
            let file = path.file_stem().unwrap().to_string_lossy().into_owned();
            let flags = flags(arch);
            let mut parts: Vec<&[u8]> = vec![release.as_bytes(), text.as_bytes()];
            parts.extend(included.iter().map(|t| t.as_bytes()));
            parts.extend(flags.iter().map(|f| f.as_bytes()));
            let key = cache::hash(parts);
            let extension = if arch.ptx { "ptx" } else { "cubin" };
            let image = Image {
                path: cache.path(&format!("{file}-{}-{key}.{extension}", arch.flag())),
                file,
                arch: arch.clone(),
            };
            if !image.path.is_file() || !image.path.with_extension("log").is_file() {
                jobs.push((path.to_path_buf(), image.clone()));
            }
            images.push(image);
        }
    }
    if images.is_empty() {
        return Err(format!(
            "REFLEX_CUDA_ARCHS: NVRTC {release} compiles none of the architectures"
        ));
    }
    run(jobs, toolkit, root, &loader_dir, worker)?;
    Ok(Images {
        list: images,
        compiler: release,
    })
}

fn flags(arch: &Arch) -> Vec<String> {
    vec![
        format!("-arch={}", arch.flag()),
        "--std=c++17".into(),
        "--ptxas-options=-v".into(),
        "--display-error-number".into(),
    ]
}

/// Shares the jobs out among one worker per core.
fn run(
    jobs: Vec<(PathBuf, Image)>,
    toolkit: &Toolkit,
    root: &Path,
    loader_dir: &Path,
    first: Worker,
) -> Result<(), String> {
    let parallel = std::thread::available_parallelism().map_or(2, |n| n.get());
    let workers = parallel.min(jobs.len());
    let queue = Mutex::new(jobs);
    let failures = Mutex::new(Vec::new());
    let first = Mutex::new(Some(first));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let ready = first.lock().unwrap().take();
                let mut worker = match ready.map_or_else(|| Worker::start(loader_dir), Ok) {
                    Ok(worker) => worker,
                    Err(e) => return failures.lock().unwrap().push(e),
                };
                loop {
                    let Some((source, image)) = queue.lock().unwrap().pop() else {
                        break;
                    };
                    if let Err(e) = worker.compile(&source, &image, toolkit, root) {
                        failures.lock().unwrap().push(e);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("\n"))
    }
}

/// Every `.cu` and every header below `dir`, sorted by path.
#[allow(clippy::type_complexity)]
fn kernel_files(dir: &Path) -> Result<(Vec<(PathBuf, String)>, Vec<(PathBuf, String)>), String> {
    let mut sources = Vec::new();
    let mut headers = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for path in entries.flatten().map(|e| e.path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
            let list = match extension {
                "cu" => &mut sources,
                "cuh" | "def" => &mut headers,
                _ => continue,
            };
            let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            list.push((path, text));
        }
    }
    sources.sort();
    headers.sort();
    Ok((sources, headers))
}

/// What decides on a source's image beside its own text: the headers, but of the shared constants those alone that it uses, so that one that
/// changes does not have everything compiled anew.
fn depends_on(source: &Path, text: &str, headers: &[(PathBuf, String)], root: &Path) -> Vec<String> {
    let shared = root.join(constants::FILE);
    let found = included(source, text, headers, &root.join("kernels"));
    let (shared, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(path, _)| *path == shared);
    let mut texts: Vec<&str> = others.iter().map(|(_, text)| *text).collect();
    let own = texts.len();
    texts.push(text);
    let used = shared.iter().map(|(_, constants)| constants::used(constants, &texts));
    let used: Vec<String> = used.collect();
    texts[..own].iter().map(|text| text.to_string()).chain(used).collect()
}

/// The project's headers that a source includes, directly or not, in the order of their paths, and their texts.
fn included<'a>(
    source: &Path,
    text: &str,
    headers: &'a [(PathBuf, String)],
    kernels: &Path,
) -> Vec<(&'a Path, &'a str)> {
    let mut found = std::collections::BTreeMap::new();
    let mut open = vec![(source.to_path_buf(), text.to_string())];
    while let Some((from, text)) = open.pop() {
        let names = text
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("#include \"")?.split('"').next());
        for name in names {
            // As the compiler looks for it: beside the file, then in kernels/.
            let places = [from.with_file_name(name), kernels.join(name)];
            let header = headers.iter().find(|(path, _)| places.contains(path));
            if let Some((path, text)) = header
                && found.insert(path.as_path(), text.as_str()).is_none()
            {
                open.push((path.clone(), text.clone()));
            }
        }
    }
    found.into_iter().collect()
}

/// cudarc opens `libnvrtc.so`; a wheel has `libnvrtc.so.13` alone. A private folder of links, put on
/// the worker's library path, holds the name it asks for and the builtins NVRTC opens itself.
fn link_libraries(toolkit: &Toolkit, out_dir: &Path) -> Result<PathBuf, String> {
    let dir = out_dir.join("nvrtc-lib");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let source = toolkit.libnvrtc.parent().unwrap();
    let link = |target: &Path, name: &str| {
        std::os::unix::fs::symlink(target, dir.join(name)).map_err(|e| format!("{}: {e}", dir.join(name).display()))
    };
    link(&toolkit.libnvrtc, "libnvrtc.so")?;
    for path in std::fs::read_dir(source)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
    {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("libnvrtc-builtins.so") {
            link(&path, &name)?;
        }
    }
    Ok(dir)
}

/// A process that holds NVRTC: one line asks, one line answers.
struct Worker {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Worker {
    fn start(loader_dir: &Path) -> Result<Worker, String> {
        let exe = std::env::current_exe().map_err(|e| format!("build script: {e}"))?;
        let mut search = loader_dir.as_os_str().to_os_string();
        if let Some(old) = std::env::var_os("LD_LIBRARY_PATH") {
            search.push(":");
            search.push(old);
        }
        let mut child = Command::new(exe)
            .env(WORKER_ENV, "1")
            .env("LD_LIBRARY_PATH", search)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("NVRTC worker: {e}"))?;
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Ok(Worker { child, input, output })
    }

    fn ask(&mut self, line: &str) -> Result<String, String> {
        let mut answer = String::new();
        let sent = writeln!(self.input, "{line}").and_then(|()| self.input.flush());
        let read = sent.and_then(|()| self.output.read_line(&mut answer));
        match (read, answer.trim_end()) {
            (Ok(n), text) if n > 0 => Ok(text.to_string()),
            _ => Err(format!(
                "NVRTC worker died on `{line}` (is the library whole and for this machine?)"
            )),
        }
    }

    fn compile(&mut self, source: &Path, image: &Image, toolkit: &Toolkit, root: &Path) -> Result<(), String> {
        let mut fields = vec![
            "compile".to_string(),
            source.display().to_string(),
            image.path.display().to_string(),
            if image.arch.ptx { "ptx" } else { "cubin" }.to_string(),
        ];
        fields.extend(flags(&image.arch));
        fields.push(format!("-I{}", root.join("kernels").display()));
        fields.extend(toolkit.includes.iter().map(|d| format!("-I{}", d.display())));
        match self.ask(&fields.join("\t"))?.as_str() {
            "ok" => Ok(()),
            _ => {
                let log = std::fs::read_to_string(image.path.with_extension("log")).unwrap_or_default();
                let _ = std::fs::remove_file(image.path.with_extension("log"));
                Err(format!("{} for {}:\n{log}", source.display(), image.arch.flag()))
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = writeln!(self.input, "quit");
        let _ = self.input.flush();
        let _ = self.child.wait();
    }
}

/// The other end of `Worker`: reads requests until the pipe closes.
pub fn worker_main() -> ExitCode {
    for line in std::io::stdin().lines() {
        let Ok(line) = line else { break };
        let fields: Vec<&str> = line.split('\t').collect();
        let answer = match fields[..] {
            ["version"] => version(),
            ["archs"] => supported_archs(),
            ["compile", source, output, kind, ref flags @ ..] => {
                match compile_one(Path::new(source), Path::new(output), kind == "ptx", flags) {
                    Ok(()) => "ok".to_string(),
                    Err(log) => {
                        let _ = std::fs::write(Path::new(output).with_extension("log"), log);
                        "failed".to_string()
                    }
                }
            }
            _ => break,
        };
        println!("{answer}");
    }
    ExitCode::SUCCESS
}

fn version() -> String {
    let (mut major, mut minor) = (0, 0);
    unsafe { sys::nvrtcVersion(&mut major, &mut minor) };
    format!("{major}.{minor}")
}

fn supported_archs() -> String {
    let mut count = 0;
    unsafe { sys::nvrtcGetNumSupportedArchs(&mut count) };
    let mut archs = vec![0; count as usize];
    unsafe { sys::nvrtcGetSupportedArchs(archs.as_mut_ptr()) };
    archs.iter().map(|a| a.to_string()).collect::<Vec<_>>().join(" ")
}

fn compile_one(source: &Path, output: &Path, ptx: bool, flags: &[&str]) -> Result<(), String> {
    let text = std::fs::read_to_string(source).map_err(|e| e.to_string())?;
    let text = CString::new(text).map_err(|e| e.to_string())?;
    let name = CString::new(source.file_name().unwrap().as_encoded_bytes()).unwrap();
    let program = nvrtc::create_program(&text, Some(&name)).map_err(|e| format!("{e:?}"))?;
    let log = || {
        let bytes = unsafe { nvrtc::get_program_log(program) }.unwrap_or_default();
        let bytes: Vec<u8> = bytes.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    if let Err(e) = unsafe { nvrtc::compile_program(program, flags) } {
        return Err(format!("{}{e:?}", log()));
    }
    let image = if ptx {
        let text = unsafe { nvrtc::get_ptx(program) }.map_err(|e| format!("{e:?}"))?;
        text.iter().map(|&c| c as u8).collect()
    } else {
        let mut size = 0;
        unsafe { sys::nvrtcGetCUBINSize(program, &mut size) }
            .result()
            .map_err(|e| format!("{e:?}"))?;
        let mut bytes = vec![0u8; size];
        unsafe { sys::nvrtcGetCUBIN(program, bytes.as_mut_ptr().cast()) }
            .result()
            .map_err(|e| format!("{e:?}"))?;
        bytes
    };
    // The log first and the image by rename: a build that is cut off leaves no half image behind.
    let partial = output.with_extension(format!("{}.partial", std::process::id()));
    std::fs::write(output.with_extension("log"), log())
        .and_then(|()| std::fs::write(&partial, image))
        .and_then(|()| std::fs::rename(&partial, output))
        .map_err(|e| format!("{}: {e}", output.display()))?;
    unsafe { nvrtc::destroy_program(program) }.map_err(|e| format!("{e:?}"))
}

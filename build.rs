//! Compiles `kernels/*.cu` with NVRTC, one image per architecture, and embeds them. Writes tables of `kernels/formats.def`.
//!
//! Environment: `REFLEX_CUDA` (AUTO, ON, OFF), `REFLEX_CUDA_ROOT`, `REFLEX_CUDA_ARCHS`, `REFLEX_KERNEL_CACHE`,
//! `REFLEX_KERNEL_SPILLS` (warn, error).

#[path = "build/archs.rs"]
mod archs;
#[path = "build/cache.rs"]
mod cache;
#[path = "build/compile.rs"]
mod compile;
#[path = "build/constants.rs"]
mod constants;
#[path = "build/embed.rs"]
mod embed;
#[path = "build/entries.rs"]
mod entries;
#[path = "build/formats.rs"]
mod formats;
#[path = "build/instances.rs"]
mod instances;
#[path = "build/resources.rs"]
mod resources;
#[path = "build/toolkit.rs"]
mod toolkit;
#[path = "build/xmacro.rs"]
mod xmacro;

use entries::Entry;
use resources::Resources;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use toolkit::Kernels;

fn main() -> ExitCode {
    // The build script runs itself as the NVRTC worker: cudarc finds libnvrtc through the
    // loader's search path, which can only be set before a process starts.
    if std::env::var_os(compile::WORKER_ENV).is_some() {
        return compile::worker_main();
    }
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    for name in [
        "REFLEX_CUDA",
        "REFLEX_CUDA_ROOT",
        "REFLEX_CUDA_ARCHS",
        "REFLEX_KERNEL_CACHE",
        "REFLEX_KERNEL_SPILLS",
        "CUDA_HOME",
        "CUDA_PATH",
    ] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    // The modules one by one: `cmake -B build` puts its own files beside them.
    let modules = [
        "archs",
        "cache",
        "compile",
        "constants",
        "embed",
        "entries",
        "formats",
        "instances",
        "resources",
        "toolkit",
        "xmacro",
    ];
    let modules = modules.map(|m| format!("build/{m}.rs"));
    for path in ["build.rs", "kernels"]
        .into_iter()
        .chain(modules.iter().map(String::as_str))
    {
        println!("cargo:rerun-if-changed={path}");
    }
    let version = std::env::var("CARGO_PKG_VERSION").unwrap();
    let mut parts = version.split('.');
    let soname = format!("libreflex_infer.so.{}.{}", parts.next().unwrap(), parts.next().unwrap());
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,{soname}");
    println!("cargo:rustc-env=REFLEX_TARGET={}", std::env::var("TARGET").unwrap());

    println!("cargo:rustc-check-cfg=cfg(reflex_kernels)");

    let out_dir = PathBuf::from(std::env::var_os("OUT_DIR").unwrap());
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap());
    let archs = archs::parse(&std::env::var("REFLEX_CUDA_ARCHS").unwrap_or_default())?;
    let gate = resources::Gate::parse(&std::env::var("REFLEX_KERNEL_SPILLS").unwrap_or_default())?;
    constants::write(&root, &out_dir)?;
    let groups = formats::write(&root, &out_dir)?;
    instances::write(&root, &out_dir, &groups)?;
    match toolkit::choose(&root)? {
        Kernels::With(toolkit) => {
            let images = compile::all(&toolkit, &archs, &root, &out_dir)?;
            report(&images, &out_dir, &root, gate)?;
            println!("cargo:rustc-cfg=reflex_kernels");
            embed::write(&images, &out_dir)
        }
        Kernels::Without(why) => {
            if !why.starts_with("REFLEX_CUDA=") {
                println!("cargo:warning=no CUDA kernels, CPU backend only ({why}); REFLEX_CUDA=ON makes this an error");
            }
            embed::write_empty(&out_dir, &why)
        }
    }
}

/// Writes `kernel-resources.tsv`, `kernel-images.tsv` and the table of entry points beside the image table, and says which kernels spill.
fn report(images: &compile::Images, out_dir: &Path, root: &Path, gate: resources::Gate) -> Result<(), String> {
    let mut kernels: Vec<(String, &str, Vec<Resources>)> = Vec::new();
    let mut entries: Vec<(String, &str, Vec<Entry>)> = Vec::new();
    let mut sizes = String::from("arch\tfile\tkernels\tbytes\n");
    for image in &images.list {
        let wrong = |e: String| format!("{}: {e}", image.path.display());
        let bytes = std::fs::read(&image.path).map_err(|e| wrong(e.to_string()))?;
        let found = entries::of(&bytes, image.arch.ptx).map_err(wrong)?;
        sizes += &format!(
            "{}\t{}\t{}\t{}\n",
            image.arch.flag(),
            image.file,
            found.len(),
            bytes.len()
        );
        if !image.arch.ptx {
            let log = std::fs::read_to_string(image.path.with_extension("log")).unwrap_or_default();
            let mut resources = resources::parse(&log);
            for kernel in &mut resources {
                let entry = found.iter().find(|entry| entry.name == kernel.kernel);
                kernel.code = entry.map_or(0, |entry| entry.code);
            }
            kernels.push((image.arch.flag(), image.file.as_str(), resources));
        }
        entries.push((image.arch.flag(), image.file.as_str(), found));
    }
    let save = |name: &str, text: &str| {
        let path = out_dir.join(name);
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
    };
    save("kernel-images.tsv", &sizes)?;
    let of_files = kernels
        .iter()
        .map(|(arch, file, k)| (arch.as_str(), *file, k.as_slice()));
    save("kernel-resources.tsv", &resources::table(of_files))?;
    save("kernel_entries.rs", &entries::rust(&entries)?)?;
    let allowed = std::fs::read_to_string(root.join("kernels/spills.txt")).unwrap_or_default();
    let compiler = format!("NVRTC {}", images.compiler);
    let all = kernels.iter().map(|(arch, _, k)| (arch.as_str(), k.as_slice()));
    for line in resources::judge(all, &compiler, &allowed, gate)? {
        println!("cargo:warning={line}");
    }
    Ok(())
}

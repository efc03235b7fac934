//! Says in one line which CUDA kernels a build with this environment will have, by the rules of the build script itself.
//!
//! Exit status 1 and a message where the build would fail: a variable that points at no NVRTC, `REFLEX_CUDA=ON` without one, a library
//! that cannot be loaded, a list of architectures of which it compiles none.

// The build script uses the rest.
#![allow(dead_code)]

#[path = "../../build/archs.rs"]
mod archs;
#[path = "../../build/toolkit.rs"]
mod toolkit;

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match line() {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn line() -> Result<String, String> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let project = project.canonicalize().unwrap_or(project);
    let asked = archs::parse(&std::env::var("REFLEX_CUDA_ARCHS").unwrap_or_default())?;
    let toolkit = match toolkit::choose(&project)? {
        toolkit::Kernels::With(toolkit) => toolkit,
        toolkit::Kernels::Without(why) => return Ok(format!("CUDA kernels: none, CPU backend only ({why})")),
    };
    let nvrtc = Nvrtc::ask(&toolkit.libnvrtc)?;
    let (able, unable): (Vec<_>, Vec<_>) = asked.iter().partition(|arch| nvrtc.archs.contains(&(arch.sm as c_int)));
    let names = |archs: &[&archs::Arch]| archs.iter().map(|a| a.name()).collect::<Vec<_>>().join(";");
    let (release, path) = (&nvrtc.release, toolkit.libnvrtc.display());
    if able.is_empty() {
        return Err(format!(
            "REFLEX_CUDA_ARCHS={}: NVRTC {release} ({path}) compiles none of the architectures",
            names(&unable)
        ));
    }
    let mut line = format!("CUDA kernels: {} from NVRTC {release} ({path})", names(&able));
    if !unable.is_empty() {
        line += &format!("; left out, since it cannot compile them: {}", names(&unable));
    }
    Ok(line)
}

/// What the library says of itself.
struct Nvrtc {
    release: String,
    archs: Vec<c_int>,
}

// std links the C library anyway; a crate in place of these would have to be fetched while CMake configures.
unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlerror() -> *const c_char;
}
const RTLD_NOW: c_int = 2;

impl Nvrtc {
    fn ask(path: &Path) -> Result<Nvrtc, String> {
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|e| e.to_string())?;
        // SAFETY: the signatures are NVRTC's since CUDA 11.2, and a missing symbol is an error.
        unsafe {
            let library = dlopen(name.as_ptr(), RTLD_NOW);
            if library.is_null() {
                return Err(format!("NVRTC cannot be loaded: {}", failure()));
            }
            let symbol = |name: &CStr| {
                let address = dlsym(library, name.as_ptr());
                if address.is_null() {
                    Err(format!("{} is not a usable NVRTC: {}", path.display(), failure()))
                } else {
                    Ok(address)
                }
            };
            let version: extern "C" fn(*mut c_int, *mut c_int) -> c_int = std::mem::transmute(symbol(c"nvrtcVersion")?);
            let count: extern "C" fn(*mut c_int) -> c_int = std::mem::transmute(symbol(c"nvrtcGetNumSupportedArchs")?);
            let list: extern "C" fn(*mut c_int) -> c_int = std::mem::transmute(symbol(c"nvrtcGetSupportedArchs")?);
            let (mut major, mut minor, mut number) = (0, 0, 0);
            let (versioned, counted) = (version(&mut major, &mut minor), count(&mut number));
            let mut archs = vec![0; number.max(0) as usize];
            if versioned != 0 || counted != 0 || list(archs.as_mut_ptr()) != 0 {
                return Err(format!("{} does not say what it compiles", path.display()));
            }
            Ok(Nvrtc {
                release: format!("{major}.{minor}"),
                archs,
            })
        }
    }
}

/// The loader's own words.
unsafe fn failure() -> String {
    let text = unsafe { dlerror() };
    if text.is_null() {
        "unknown reason".into()
    } else {
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }
}

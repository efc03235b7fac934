//! Finds NVRTC and its headers in a CUDA toolkit or in the PyPI wheels of one.

use std::path::{Path, PathBuf};

#[derive(Debug, Clone)]
pub struct Toolkit {
    pub libnvrtc: PathBuf,
    pub includes: Vec<PathBuf>,
}

/// What `REFLEX_CUDA` (AUTO, ON, OFF) and the machine come to.
pub enum Kernels {
    With(Toolkit),
    /// The CPU backend alone, and why. The text names no path of this machine: it ends up in the library.
    Without(String),
}

const ROOTS: [&str; 3] = ["REFLEX_CUDA_ROOT", "CUDA_HOME", "CUDA_PATH"];

pub fn choose(project: &Path) -> Result<Kernels, String> {
    let mode = std::env::var("REFLEX_CUDA").unwrap_or_default();
    let needed = match mode.to_ascii_uppercase().as_str() {
        "OFF" => return Ok(Kernels::Without("REFLEX_CUDA=OFF".into())),
        "ON" => true,
        "" | "AUTO" => false,
        other => return Err(format!("REFLEX_CUDA={other}: expected AUTO, ON or OFF")),
    };
    match find(project)? {
        Some(toolkit) => Ok(Kernels::With(toolkit)),
        None => {
            let why = format!(
                "NVRTC not found: {} are not set, and neither /usr/local/cuda nor target/dev/venv has it",
                ROOTS.join(", ")
            );
            if needed {
                Err(format!("REFLEX_CUDA=ON, but {why}; README.md says where to get it"))
            } else {
                Ok(Kernels::Without(why))
            }
        }
    }
}

/// `Ok(None)`: nothing was asked for and nothing is there. A variable that points at nothing is an error.
fn find(project: &Path) -> Result<Option<Toolkit>, String> {
    for name in ROOTS {
        if let Some(root) = std::env::var_os(name).filter(|v| !v.is_empty()) {
            // Absolute: the links to the library lie in another folder.
            let root = PathBuf::from(root);
            let root = root.canonicalize().unwrap_or(root);
            return match probe(&root).or_else(|| probe(&root.join("nvidia"))) {
                Some(toolkit) => Ok(Some(toolkit)),
                None => Err(format!(
                    "{name}={} holds no NVRTC: expected lib64/libnvrtc.so* and include/cuda_fp16.h, \
                     or the wheel folders nvidia/cu13 or nvidia/cuda_nvrtc",
                    root.display()
                )),
            };
        }
    }
    if let Some(toolkit) = probe(Path::new("/usr/local/cuda")) {
        return Ok(Some(toolkit));
    }
    Ok(venv_site_packages(project)
        .iter()
        .find_map(|site| probe(&site.join("nvidia"))))
}

/// Where `./dev` installs the wheels.
fn venv_site_packages(project: &Path) -> Vec<PathBuf> {
    let lib = project.join("target/dev/venv/lib");
    let mut found: Vec<PathBuf> = std::fs::read_dir(lib)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path().join("site-packages"))
        .filter(|p| p.is_dir())
        .collect();
    found.sort();
    found
}

fn probe(root: &Path) -> Option<Toolkit> {
    let lib_dirs = [
        "lib64",
        "lib",
        "targets/x86_64-linux/lib",
        "targets/sbsa-linux/lib",
        "targets/aarch64-linux/lib",
        "cu13/lib",
        "cuda_nvrtc/lib",
    ];
    let include_dirs = [
        "include",
        "include/cccl",
        "targets/x86_64-linux/include",
        "targets/sbsa-linux/include",
        "targets/aarch64-linux/include",
        "cu13/include",
        "cu13/include/cccl",
        "cuda_runtime/include",
        "cuda_nvcc/include",
        "cuda_cccl/include",
    ];
    // A `nvidia/` folder of wheels may hold two releases: the newer one only, never a mix.
    let newer = root.join("cu13").is_dir();
    let skip = |d: &str| newer && d.starts_with("cuda_");
    let libnvrtc = lib_dirs
        .iter()
        .filter(|d| !skip(d))
        .find_map(|d| libnvrtc_in(&root.join(d)))?;
    let includes: Vec<PathBuf> = include_dirs
        .iter()
        .filter(|d| !skip(d))
        .map(|d| root.join(d))
        .filter(|d| d.is_dir())
        .collect();
    includes
        .iter()
        .any(|d| d.join("cuda_fp16.h").is_file())
        .then_some(Toolkit { libnvrtc, includes })
}

fn libnvrtc_in(dir: &Path) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir)
        .ok()?
        .flatten()
        .map(|e| e.path())
        .filter(|p| {
            let name = p.file_name().and_then(|n| n.to_str()).unwrap_or("");
            // Not `libnvrtc-builtins`, not `libnvrtc.alt`, not `libnvrtc_static.a`.
            name == "libnvrtc.so" || name.starts_with("libnvrtc.so.")
        })
        .collect();
    found.sort();
    // The shortest name is the most general link; any of them is the same library.
    found.into_iter().next()
}

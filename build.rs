//! Compiles `kernels/*.cu` with NVRTC, one image per architecture, and embeds them.
//!
//! Environment: `REFLEX_CUDA` (AUTO, ON, OFF), `REFLEX_CUDA_ROOT`, `REFLEX_CUDA_ARCHS`, `REFLEX_KERNEL_CACHE`.

#[path = "build/archs.rs"]
mod archs;
#[path = "build/cache.rs"]
mod cache;
#[path = "build/compile.rs"]
mod compile;
#[path = "build/embed.rs"]
mod embed;
#[path = "build/resources.rs"]
mod resources;
#[path = "build/toolkit.rs"]
mod toolkit;

use std::path::PathBuf;
use std::process::ExitCode;

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
        "CUDA_HOME",
        "CUDA_PATH",
    ] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    // The modules one by one: `cmake -B build` puts its own files beside them.
    let modules = ["archs", "cache", "compile", "embed", "resources", "toolkit"].map(|m| format!("build/{m}.rs"));
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

    let out_dir = PathBuf::from(std::env::var_os("OUT_DIR").unwrap());
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap());
    let archs = archs::parse(&std::env::var("REFLEX_CUDA_ARCHS").unwrap_or_default())?;
    let mode = std::env::var("REFLEX_CUDA").unwrap_or_default();
    let toolkit = match mode.to_ascii_uppercase().as_str() {
        "OFF" => None,
        "ON" => Some(toolkit::find(&root)?.ok_or(
            "REFLEX_CUDA=ON, but no NVRTC was found in REFLEX_CUDA_ROOT, CUDA_HOME, CUDA_PATH, \
             /usr/local/cuda or target/dev/venv; run ./dev test once, or set REFLEX_CUDA_ROOT",
        )?),
        "" | "AUTO" => toolkit::find(&root)?,
        other => return Err(format!("REFLEX_CUDA={other}: expected AUTO, ON or OFF")),
    };
    let no_kernels = match (&toolkit, mode.eq_ignore_ascii_case("OFF")) {
        (Some(_), _) => "",
        (None, true) => "REFLEX_CUDA=OFF",
        (None, false) => "no NVRTC was found at build time",
    };
    println!("cargo:rustc-env=REFLEX_NO_KERNELS={no_kernels}");
    let Some(toolkit) = toolkit else {
        if !mode.eq_ignore_ascii_case("OFF") {
            println!(
                "cargo:warning=NVRTC not found: building the CPU backend alone (REFLEX_CUDA=ON makes this an error)"
            );
        }
        return embed::write_empty(&out_dir);
    };
    let images = compile::all(&toolkit, &archs, &root, &out_dir)?;
    resources::report(&images, &out_dir, &root)?;
    embed::write(&images, &out_dir)
}

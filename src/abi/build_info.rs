//! Versions, and what the library was built with.

use std::ffi::{CStr, c_char};

macro_rules! c_env {
    ($name:literal) => {
        match CStr::from_bytes_with_nul(concat!(env!($name), "\0").as_bytes()) {
            Ok(text) => text,
            Err(_) => panic!("a zero byte in the environment"),
        }
    };
}

const VERSION: &CStr = c_env!("CARGO_PKG_VERSION");
const ARCHS: &CStr = c_env!("REFLEX_BUILT_ARCHS");
const NVRTC: &CStr = c_env!("REFLEX_NVRTC_VERSION");
const NO_KERNELS: &CStr = c_env!("REFLEX_NO_KERNELS");
const TARGET: &CStr = c_env!("REFLEX_TARGET");

/// How this library was built. The strings live as long as the program and are never null.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reflex_build_info {
    /// Version of the library, `"0.1.0"` for example.
    pub version: *const c_char,
    /// The kernel images inside, `"87;90a;80-virtual"` for example; empty when built without kernels.
    pub cuda_archs: *const c_char,
    /// Release of the compiler (NVRTC) that made the images, `"13.0"` for example; empty when built without kernels.
    pub nvrtc_version: *const c_char,
    /// Rust's target triple, `"aarch64-unknown-linux-gnu"` for example.
    pub target: *const c_char,
    /// Why there are no kernels inside: what the build found when it looked for NVRTC; empty when built with kernels.
    pub no_kernels: *const c_char,
}

/// Returns how this library was built. It never fails.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_get_build_info() -> reflex_build_info {
    reflex_build_info {
        version: VERSION.as_ptr(),
        cuda_archs: ARCHS.as_ptr(),
        nvrtc_version: NVRTC.as_ptr(),
        target: TARGET.as_ptr(),
        no_kernels: NO_KERNELS.as_ptr(),
    }
}

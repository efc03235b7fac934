//! Opens libcuda on first use and turns its codes into errors.

use crate::abi::{Error, REFLEX_CUDA_ERROR, REFLEX_NO_DRIVER, REFLEX_OUT_OF_MEMORY, Result, reflex_stream};
use cudarc::driver::sys::{self, CUcontext, CUresult};
use std::ffi::CStr;
use std::sync::OnceLock;

/// Nothing but this function may be the first to touch the driver: cudarc panics where libcuda is missing.
pub(super) fn open() -> Result<()> {
    static OPEN: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    OPEN.get_or_init(|| {
        // SAFETY: opens a library and calls its initialiser once.
        unsafe {
            if !sys::is_culib_present() {
                return Err("libcuda.so.1 could not be opened: no NVIDIA driver on this machine".into());
            }
            match sys::cuInit(0) {
                CUresult::CUDA_SUCCESS => Ok(()),
                code => Err(format!("cuInit failed with {}", code_name(code))),
            }
        }
    })
    .clone()
    .map_err(|message| Error::new(REFLEX_NO_DRIVER, message))
}

/// CUDA version of the driver: 1000 * major + 10 * minor.
pub(crate) fn driver_version() -> Option<i32> {
    open().ok()?;
    let mut version = 0;
    check("cuDriverGetVersion", unsafe { sys::cuDriverGetVersion(&mut version) }).ok()?;
    Some(version)
}

fn code_name(code: CUresult) -> String {
    let mut text = std::ptr::null();
    // SAFETY: writes a pointer to a static string, or null for an unknown code.
    let known = unsafe { sys::cuGetErrorName(code, &mut text) } == CUresult::CUDA_SUCCESS && !text.is_null();
    if known {
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    } else {
        format!("CUDA error {}", code as u32)
    }
}

/// An error that names the call.
pub(super) fn check(call: &str, code: CUresult) -> Result<()> {
    if code == CUresult::CUDA_SUCCESS {
        return Ok(());
    }
    let status = match code {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => REFLEX_OUT_OF_MEMORY,
        _ => REFLEX_CUDA_ERROR,
    };
    Err(Error::new(status, format!("{call} failed with {}", code_name(code))))
}

/// Makes a context current for as long as this lives; the caller's is current again afterwards.
pub(super) struct Current(CUcontext);

impl Current {
    pub fn push(context: CUcontext) -> Result<Current> {
        check("cuCtxPushCurrent", unsafe { sys::cuCtxPushCurrent_v2(context) })?;
        Ok(Current(context))
    }

    /// The stream's own context, or `primary` for the NULL stream, which belongs to whatever is current.
    pub fn of_stream(stream: reflex_stream, primary: CUcontext) -> Result<Current> {
        if stream.is_null() {
            return Current::push(primary);
        }
        let mut context = std::ptr::null_mut();
        check("cuStreamGetCtx", unsafe {
            sys::cuStreamGetCtx(stream.cast(), &mut context)
        })?;
        Current::push(context)
    }
}

impl Current {
    pub fn context(&self) -> CUcontext {
        self.0
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        let mut old = std::ptr::null_mut();
        unsafe { sys::cuCtxPopCurrent_v2(&mut old) };
    }
}

//! Opens libcuda on first use and turns its codes into errors.

use crate::abi::{
    Error, REFLEX_CUDA_ERROR, REFLEX_NO_DRIVER, REFLEX_OUT_OF_MEMORY, Result, is_default, process, reflex_stream,
};
use cudarc::driver::sys::{self, CUcontext, CUresult};
use std::ffi::{CStr, c_int, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Nothing but this function may be the first to touch the driver: cudarc panics where libcuda is missing.
pub(super) fn open() -> Result<()> {
    static DRIVER: Driver = Driver::new();
    DRIVER.open(|| {
        if !has_dynamic_loader() {
            return Err(
                "libcuda.so.1 is not opened: this program is linked statically, without a dynamic loader".into(),
            );
        }
        // SAFETY: opens a library and calls its initialiser once.
        unsafe {
            if !sys::is_culib_present() {
                return Err("libcuda.so.1 could not be opened: no NVIDIA driver on this machine".into());
            }
            match sys::cuInit(0) {
                CUresult::CUDA_SUCCESS => Ok(()),
                // What libcuda says in a child of a process that it was initialised in by somebody else.
                CUresult::CUDA_ERROR_NOT_INITIALIZED => {
                    Err(format!("cuInit failed with CUDA_ERROR_NOT_INITIALIZED: {FORKED}"))
                }
                code => Err(format!("cuInit failed with {}", code_name(code))),
            }
        }
    })
}

const FORKED: &str = "CUDA was used before fork, and does not live on in a child process";

/// The state of a library that can be initialised in one process of a line of forks alone.
struct Driver {
    /// 1 + the number of the process that came first, 0 before.
    process: AtomicU64,
    outcome: OnceLock<std::result::Result<(), String>>,
}

impl Driver {
    const fn new() -> Driver {
        Driver {
            process: AtomicU64::new(0),
            outcome: OnceLock::new(),
        }
    }

    /// In a child of the process that came first neither the library nor its loader is touched: locks in them may be held
    /// by threads that the child does not have. That there is no driver holds for children too.
    fn open(&self, initialise: impl FnOnce() -> std::result::Result<(), String>) -> Result<()> {
        let here = process::number() + 1;
        let first = self
            .process
            .compare_exchange(0, here, Ordering::AcqRel, Ordering::Acquire)
            .map_or_else(|first| first, |_| here);
        let outcome = match first == here {
            true => self.outcome.get_or_init(initialise).clone(),
            false => match self.outcome.get() {
                Some(Err(message)) => Err(message.clone()),
                _ => Err(FORKED.into()),
            },
        };
        outcome.map_err(|message| Error::new(REFLEX_NO_DRIVER, message))
    }
}

/// Whether shared libraries can be opened. A program linked with `-static` could do so by name, but would get a second C library
/// with them, whose state nobody has set up: threads and memory of the driver's would be that one's.
pub(crate) fn has_dynamic_loader() -> bool {
    unsafe extern "C" fn is_c_library(info: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
        // SAFETY: the loader gives a record whose name is a string or null.
        let name = unsafe { (*info).dlpi_name };
        (!name.is_null() && unsafe { CStr::from_ptr(name) }.to_bytes().ends_with(b"/libc.so.6")) as c_int
    }
    // SAFETY: the callback keeps nothing.
    !cfg!(target_env = "gnu") || unsafe { libc::dl_iterate_phdr(Some(is_c_library), std::ptr::null_mut()) } != 0
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
#[inline(always)]
pub(super) fn check(call: &str, code: CUresult) -> Result<()> {
    match code {
        CUresult::CUDA_SUCCESS => Ok(()),
        _ => Err(failed(call, code)),
    }
}

#[cold]
pub(super) fn failed(call: &str, code: CUresult) -> Error {
    let status = match code {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => REFLEX_OUT_OF_MEMORY,
        _ => REFLEX_CUDA_ERROR,
    };
    Error::new(status, format!("{call} failed with {}", code_name(code)))
}

/// Makes a context current for as long as this lives; the caller's is current again afterwards.
pub(super) struct Current(CUcontext);

impl Current {
    pub fn push(context: CUcontext) -> Result<Current> {
        check("cuCtxPushCurrent", unsafe { sys::cuCtxPushCurrent_v2(context) })?;
        Ok(Current(context))
    }

    /// The stream's own context, or `primary` for the default streams, which belong to whatever is current.
    pub fn of_stream(stream: reflex_stream, primary: CUcontext) -> Result<Current> {
        if is_default(stream) {
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
    /// For calls that want a current context with the default streams alone.
    pub fn if_default(stream: reflex_stream, primary: CUcontext) -> Result<Option<Current>> {
        is_default(stream).then(|| Current::push(primary)).transpose()
    }

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

/// Lets this thread do what it may not while it captures a stream in the stricter modes (allocate, free, load, wait for
/// another stream), though it does the capture no harm.
pub(super) struct Relaxed(sys::CUstreamCaptureMode);

impl Relaxed {
    pub fn enter() -> Result<Relaxed> {
        let mut mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        check("cuThreadExchangeStreamCaptureMode", unsafe {
            sys::cuThreadExchangeStreamCaptureMode(&mut mode)
        })?;
        Ok(Relaxed(mode))
    }
}

impl Drop for Relaxed {
    fn drop(&mut self) {
        unsafe { sys::cuThreadExchangeStreamCaptureMode(&mut self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether `body` holds in a child process.
    fn holds_in_a_child(body: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child runs `body` and ends without unwinding or running what is registered for an exit.
        unsafe {
            match libc::fork() {
                0 => {
                    libc::alarm(30);
                    libc::_exit(if body() { 0 } else { 1 })
                }
                child => {
                    let mut status = 0;
                    assert_eq!(libc::waitpid(child, &mut status, 0), child);
                    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
                }
            }
        }
    }

    #[test]
    fn a_driver_opened_before_fork_is_refused_in_the_child_and_not_touched() {
        let driver = Driver::new();
        assert!(driver.open(|| Ok(())).is_ok());
        assert!(driver.open(|| Err("again".into())).is_ok());
        let refused = || {
            let error = driver.open(|| panic!("touched"));
            error.is_err_and(|e| e.status == REFLEX_NO_DRIVER && e.message.contains("before fork"))
        };
        assert!(!refused());
        assert!(holds_in_a_child(refused));
        assert!(holds_in_a_child(|| holds_in_a_child(refused)));
    }

    #[test]
    fn a_driver_that_is_being_opened_at_fork_is_refused_in_the_child() {
        let driver = Driver::new();
        let mut held = false;
        driver
            .open(|| {
                held = holds_in_a_child(|| driver.open(|| panic!("touched")).is_err());
                Ok(())
            })
            .unwrap();
        assert!(held);
    }

    #[test]
    fn a_child_opens_a_driver_that_its_parent_has_not() {
        let driver = Driver::new();
        assert!(holds_in_a_child(|| driver.open(|| Ok(())).is_ok()));
        // And the parent, after that.
        assert!(driver.open(|| Ok(())).is_ok());
    }

    #[test]
    fn that_there_is_no_driver_holds_in_children() {
        let driver = Driver::new();
        assert!(driver.open(|| Err("no driver here".into())).is_err());
        assert!(holds_in_a_child(|| {
            let error = driver.open(|| panic!("touched")).unwrap_err();
            error.message == "no driver here"
        }));
    }
}

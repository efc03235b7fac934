//! Contexts: a device, the backend that runs its calls, and what was made through it.

use super::cpu::CpuBackend;
use super::forced::Forced;
use super::{owners, ranges};
use crate::abi::handle::{self, Handle};
use crate::abi::process::OnlyHere;
use crate::abi::{Error, Params, REFLEX_SUCCESS, Result, guard, out_pointer, read_params, reflex_status};
use crate::cuda::{Board, CudaBackend};
use crate::tuning::Overrides;
use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Where a context runs its calls.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct reflex_backend(pub u32);

/// CUDA where a device and a matching kernel image exist, CPU otherwise.
pub const REFLEX_BACKEND_AUTO: reflex_backend = reflex_backend(0);
/// An NVIDIA GPU. Where there is none, `reflex_context_create` fails.
pub const REFLEX_BACKEND_CUDA: reflex_backend = reflex_backend(1);
/// The host's cores. Pointers are host pointers.
pub const REFLEX_BACKEND_CPU: reflex_backend = reflex_backend(2);

/// How to make a context. A zeroed struct selects AUTO, device 0, all of its SMs and one CPU thread per core.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_context_params {
    pub struct_size: u32,
    /// `REFLEX_BACKEND_*`.
    pub backend: reflex_backend,
    /// CUDA device ordinal.
    pub device: i32,
    /// Threads of the CPU backend, 0 for one per core, at most 1024.
    pub cpu_threads: u32,
    /// Number of SMs that the caller's streams can use, where a green context or an MPS partition limits them: kernels
    /// are planned for that many. 0 means all SMs of the device; more than these are refused. The number limits nothing
    /// by itself, and `reflex_get_device_info` still tells the device's. The CPU backend does not look at it.
    pub sm_count: u32,
    pub reserved: u32,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_context_params {
    const MIN_SIZE: usize = 16;
}

/// A device and what the library keeps for it. Opaque; immutable after creation; usable from many threads at once.
///
/// What is made through a context (streams, events, graphs) is used with that context alone.
pub struct reflex_context([u8; 0]);

pub(crate) struct Context {
    /// No other context of the process has had it.
    pub id: u64,
    pub backend: Backend,
    /// Why it is this backend.
    reason: CString,
    pub forced: Forced,
}

pub(crate) enum Backend {
    Cpu(CpuBackend),
    /// A CUDA context is of no use to a child process.
    Cuda(Box<OnlyHere<CudaBackend>>),
}

/// Contexts that are alive.
static ALIVE: AtomicUsize = AtomicUsize::new(0);

impl Context {
    fn new(backend: Backend, reason: String, forced: Forced) -> Context {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        ALIVE.fetch_add(1, Ordering::AcqRel);
        Context {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            backend,
            reason: CString::new(reason.replace('\0', "")).unwrap_or_default(),
            forced,
        }
    }

    /// No other context can have made anything.
    pub fn is_alone() -> bool {
        ALIVE.load(Ordering::Acquire) <= 1
    }

    /// For what was made through the context with this number.
    pub fn must_own(&self, field: &str, owner: u64) -> Result<()> {
        match self.id == owner {
            true => Ok(()),
            false => Err(Error::invalid(format!(
                "{field} was made through another context, expected one of this context"
            ))),
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::AcqRel);
        owners::forget_context(self.id);
        ranges::forget_context(self.id);
    }
}

impl Handle for reflex_context {
    const KIND: handle::Kind = handle::CONTEXT;
    type Body = Context;
}

impl reflex_context {
    /// The context behind C's pointer.
    pub(crate) fn get<'a>(context: *const reflex_context) -> Result<&'a Context> {
        let context = handle::get("context", context)?;
        match &context.backend {
            Backend::Cuda(cuda) if cuda.is_inherited() => Err(Error::inherited("context")),
            _ => Ok(context),
        }
    }
}

/// Creates a context for one device.
///
/// `params` may be NULL for the defaults. `*out` is set only on success and belongs to the caller, who gives it to
/// `reflex_context_destroy`. The caller's current CUDA context is not changed.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_ABI_MISMATCH`; with backend CUDA also `REFLEX_NO_DRIVER`,
/// `REFLEX_NOT_BUILT`, `REFLEX_UNSUPPORTED_DEVICE`, `REFLEX_CUDA_ERROR`. Since 0.1.
///
/// After `fork` the child may go on using a context of the CPU backend, which starts its threads anew there. With a
/// context of the CUDA backend every call in the child but `reflex_context_destroy` returns `REFLEX_CUDA_ERROR`. A
/// child whose parent has used CUDA cannot use it: backend CUDA gives `REFLEX_NO_DRIVER` there, and AUTO selects the
/// CPU.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_context_create(
    params: *const reflex_context_params,
    out: *mut *mut reflex_context,
) -> reflex_status {
    guard("reflex_context_create", || {
        out_pointer("out", out)?;
        let (default, mut room) = (reflex_context_params::default(), MaybeUninit::uninit());
        let params = match params.is_null() {
            true => &default,
            false => read_params(params, &mut room)?,
        };
        let context = create(params, Forced::from_environment()?)?;
        // SAFETY: checked above.
        unsafe { out.write(context) };
        Ok(())
    })
}

fn create(params: &reflex_context_params, forced: Forced) -> Result<*mut reflex_context> {
    let (backend, reason) = create_backend(params)?;
    Ok(handle::create(Context::new(backend, reason, forced)))
}

/// As `reflex_context_create`, with the candidates that the text asks for in place of the environment's `REFLEX_IMPL`. For tests.
#[doc(hidden)]
pub fn create_context_with_candidates(
    params: &reflex_context_params,
    candidates: &str,
) -> std::result::Result<*mut reflex_context, reflex_status> {
    let mut context = std::ptr::null_mut();
    let status = guard("create_context_with_candidates", || {
        context = create(params, Forced::parse(candidates)?)?;
        Ok(())
    });
    match status == REFLEX_SUCCESS {
        true => Ok(context),
        false => Err(status),
    }
}

/// How many calls and questions got a candidate that was asked for. For tests.
#[doc(hidden)]
pub fn forced_choices(context: *const reflex_context) -> u64 {
    reflex_context::get(context).map_or(0, |context| context.forced.counted())
}

/// The backend, and why it is this one.
fn create_backend(params: &reflex_context_params) -> Result<(Backend, String)> {
    if params.device < 0 {
        return Err(Error::invalid(format!(
            "device is {}, expected 0 or more",
            params.device
        )));
    }
    if params.cpu_threads > 1024 {
        return Err(Error::invalid(format!(
            "cpu_threads is {}, expected 0 to 1024",
            params.cpu_threads
        )));
    }
    if params.reserved != 0 {
        return Err(Error::invalid(format!("reserved is {}, expected 0", params.reserved)));
    }
    // Also where nothing is planned by them: a wrong name is wrong on every machine.
    let tuning = Overrides::from_environment()?;
    let cpu = |why: &str| {
        let cpu = CpuBackend::new(params.cpu_threads as usize)?;
        Ok((Backend::Cpu(cpu), format!("CPU: {why}")))
    };
    let cuda = || CudaBackend::new(params.device);
    let planned = |mut cuda: CudaBackend| {
        if let Some(board) = Board::from_environment()? {
            cuda = cuda.emulating(board)?;
        }
        let cuda = cuda.planned_for(params.sm_count)?.tuned(&tuning);
        let reason = format!("CUDA: {}", cuda.description());
        Ok((Backend::Cuda(Box::new(OnlyHere::new(cuda))), reason))
    };
    match params.backend {
        // A device that is there settles the backend: a wrong sm_count is then an error, and no reason for the CPU.
        REFLEX_BACKEND_AUTO => match cuda() {
            Ok(cuda) => planned(cuda),
            Err(error) => cpu(&error.message),
        },
        REFLEX_BACKEND_CUDA => cuda().and_then(planned),
        REFLEX_BACKEND_CPU => cpu("asked for by REFLEX_BACKEND_CPU"),
        other => Err(Error::invalid(format!(
            "backend is {}, which is no REFLEX_BACKEND",
            other.0
        ))),
    }
}

/// Destroys a context. NULL is ignored. Work on its streams must have finished, and the caller must have destroyed its
/// graphs, streams and events and freed its memory before. A child process may destroy a context that it inherited.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_context_destroy(context: *mut reflex_context) {
    guard("reflex_context_destroy", || match context.is_null() {
        true => Ok(()),
        false => handle::take("context", context).map(drop),
    });
}

/// Loads every kernel image now instead of on first use (about 0.1 s each), before latencies matter. Launches inside a
/// graph capture work without it. On the CPU backend it does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_context_preload(context: *const reflex_context) -> reflex_status {
    guard("reflex_context_preload", || {
        match &reflex_context::get(context)?.backend {
            Backend::Cpu(_) => Ok(()),
            Backend::Cuda(cuda) => cuda.preload(),
        }
    })
}

/// Sets `*out` to the backend that runs the context's calls: `REFLEX_BACKEND_CUDA` or `REFLEX_BACKEND_CPU`, never AUTO.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_context_backend(context: *const reflex_context, out: *mut reflex_backend) -> reflex_status {
    guard("reflex_context_backend", || {
        out_pointer("out", out)?;
        let backend = match reflex_context::get(context)?.backend {
            Backend::Cpu(_) => REFLEX_BACKEND_CPU,
            Backend::Cuda(_) => REFLEX_BACKEND_CUDA,
        };
        // SAFETY: checked above.
        unsafe { out.write(backend) };
        Ok(())
    })
}

/// Says why the context has the backend that it has: `"CUDA: "` and the device, or `"CPU: "` and what kept AUTO from
/// CUDA, for example `"CPU: libcuda.so.1 could not be opened: no NVIDIA driver on this machine"`. Print it where an
/// engine starts. `*out` points to one line of zero-terminated UTF-8. It is never null and lives as long as the
/// context.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_context_backend_reason(
    context: *const reflex_context,
    out: *mut *const c_char,
) -> reflex_status {
    guard("reflex_context_backend_reason", || {
        out_pointer("out", out)?;
        let context = reflex_context::get(context)?;
        // SAFETY: checked above.
        unsafe { out.write(context.reason.as_ptr()) };
        Ok(())
    })
}

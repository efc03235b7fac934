use super::error::{Error, Result};
use super::guard::guard;
use super::params::{Params, out_pointer, read_params};
use super::status::*;
use crate::cpu::CpuBackend;
use crate::cuda::CudaBackend;

/// Where a context runs its calls.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct reflex_backend(pub u32);

/// CUDA where a device and a matching kernel image exist, else CPU.
pub const REFLEX_BACKEND_AUTO: reflex_backend = reflex_backend(0);
/// An NVIDIA GPU; an error where there is none.
pub const REFLEX_BACKEND_CUDA: reflex_backend = reflex_backend(1);
/// The host's cores: pointers are host pointers.
pub const REFLEX_BACKEND_CPU: reflex_backend = reflex_backend(2);

/// How to make a context. All zero: AUTO, device 0, all of its SMs, one CPU thread per core.
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
    /// SMs that the caller's streams can use, as of a green context or an MPS partition: kernels are planned for so many.
    /// 0 for all of the device, else at most these. It limits nothing by itself; `reflex_get_device_info` goes on telling
    /// the device's. The CPU backend does not look at it.
    pub sm_count: u32,
    pub reserved: u32,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_context_params {
    const NAME: &'static str = "reflex_context_params";
    const MIN_SIZE: usize = 16;
}

/// A device and what the library keeps for it. Opaque; immutable after creation; usable from many threads at once.
pub struct reflex_context {
    magic: u64,
    pub(crate) backend: Backend,
}

const MAGIC: u64 = u64::from_le_bytes(*b"rflx-ctx");

pub(crate) enum Backend {
    Cpu(CpuBackend),
    Cuda(CudaBackend),
}

impl reflex_context {
    /// The context behind C's pointer.
    pub(crate) fn get<'a>(function: &str, context: *const reflex_context) -> Result<&'a reflex_context> {
        let align = align_of::<reflex_context>();
        if context.is_null() {
            return Err(Error::invalid(format!("{function}: context is NULL")));
        }
        // SAFETY: an aligned non-null pointer from the caller; the magic tells a context from most other memory.
        let context = (context as usize)
            .is_multiple_of(align)
            .then(|| unsafe { &*context })
            .filter(|context| context.magic == MAGIC);
        context.ok_or_else(|| Error::invalid(format!("{function}: context is not a live reflex_context")))
    }
}

/// Creates a context for one device.
///
/// `params` may be NULL for the defaults. `*out` is set only on success and belongs to the caller, who gives it to
/// `reflex_context_destroy`. The caller's current CUDA context is not changed.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_ABI_MISMATCH`; with backend CUDA also `REFLEX_NO_DRIVER`,
/// `REFLEX_NOT_BUILT`, `REFLEX_UNSUPPORTED_DEVICE`, `REFLEX_CUDA_ERROR`. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_context_create(
    params: *const reflex_context_params,
    out: *mut *mut reflex_context,
) -> reflex_status {
    guard(|| {
        out_pointer("reflex_context_create", "out", out)?;
        let params = if params.is_null() {
            reflex_context_params::default()
        } else {
            read_params(params)?
        };
        let backend = create_backend(&params)?;
        let context = Box::new(reflex_context { magic: MAGIC, backend });
        // SAFETY: checked above.
        unsafe { out.write(Box::into_raw(context)) };
        Ok(())
    })
}

fn create_backend(params: &reflex_context_params) -> Result<Backend> {
    if params.device < 0 {
        return Err(Error::invalid(format!(
            "reflex_context_create: device is {}, expected 0 or more",
            params.device
        )));
    }
    if params.cpu_threads > 1024 {
        return Err(Error::invalid(format!(
            "reflex_context_create: cpu_threads is {}, expected 0 to 1024",
            params.cpu_threads
        )));
    }
    if params.reserved != 0 {
        return Err(Error::invalid(format!(
            "reflex_context_create: reserved is {}, expected 0",
            params.reserved
        )));
    }
    let cpu = || CpuBackend::new(params.cpu_threads as usize).map(Backend::Cpu);
    let cuda = || CudaBackend::new(params.device);
    let planned = |cuda: CudaBackend| cuda.planned_for(params.sm_count).map(Backend::Cuda);
    match params.backend {
        // A device that is there settles the backend: a wrong sm_count is then an error, and no reason for the CPU.
        REFLEX_BACKEND_AUTO => cuda().map_or_else(|_| cpu(), planned),
        REFLEX_BACKEND_CUDA => cuda().and_then(planned),
        REFLEX_BACKEND_CPU => cpu(),
        other => Err(Error::invalid(format!(
            "reflex_context_create: backend is {}, which is no REFLEX_BACKEND",
            other.0
        ))),
    }
}

/// Destroys a context. NULL is ignored. Work on its streams must have finished, and its graphs must be destroyed first;
/// memory, streams and events made through it are the caller's to free before.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_context_destroy(context: *mut reflex_context) {
    guard(|| {
        if context.is_null() {
            return Ok(());
        }
        reflex_context::get("reflex_context_destroy", context)?;
        // SAFETY: made by `reflex_context_create`; the magic is cleared so that a second destroy is noticed where
        // the memory was not reused.
        unsafe {
            (*context).magic = 0;
            drop(Box::from_raw(context));
        }
        Ok(())
    });
}

/// Loads every kernel image now instead of on first use (about 0.1 s each). Useful before latencies matter;
/// launches inside a graph capture work without it. Does nothing on the CPU backend.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_context_preload(context: *const reflex_context) -> reflex_status {
    guard(
        || match &reflex_context::get("reflex_context_preload", context)?.backend {
            Backend::Cpu(_) => Ok(()),
            Backend::Cuda(cuda) => cuda.preload(),
        },
    )
}

/// The backend that runs the context's calls: `REFLEX_BACKEND_CUDA` or `REFLEX_BACKEND_CPU`, never AUTO.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_context_backend(context: *const reflex_context, out: *mut reflex_backend) -> reflex_status {
    guard(|| {
        out_pointer("reflex_context_backend", "out", out)?;
        let backend = match reflex_context::get("reflex_context_backend", context)?.backend {
            Backend::Cpu(_) => REFLEX_BACKEND_CPU,
            Backend::Cuda(_) => REFLEX_BACKEND_CUDA,
        };
        // SAFETY: checked above.
        unsafe { out.write(backend) };
        Ok(())
    })
}

use super::context::{Backend, Context, reflex_context};
use super::error::{Error, Result};
use super::guard::guard;
use super::handle;
use super::params::out_pointer;
use super::process::Guarded;
use super::status::*;
use crate::cpu::CpuBackend;
use std::collections::BTreeMap;

/// The tag that `cudaStream_t` and `CUstream` use.
pub enum CUstream_st {}

/// A CUDA stream: `cudaStream_t` and `CUstream` convert without a cast. NULL is the device's default stream.
/// Streams of foreign contexts (green contexts, MPS, torch) work; one of `reflex_stream_create` belongs to its context.
///
/// On the CPU backend every call runs at once and the value only tells captures apart.
pub type reflex_stream = *mut CUstream_st;

/// Streams of `reflex_stream_create`, which may not be looked into, and the contexts that made them.
static OWNERS: Guarded<BTreeMap<usize, u64>> = Guarded::new(BTreeMap::new());

/// NULL and `cudaStreamLegacy`, which is the same by another name.
pub(crate) fn is_legacy(stream: reflex_stream) -> bool {
    stream as usize <= 1
}

/// These and `cudaStreamPerThread`, which are no addresses.
pub(crate) fn is_default(stream: reflex_stream) -> bool {
    stream as usize <= 2
}

impl Context {
    /// Refuses a stream that is known to be none of this context. A foreign one is not known.
    pub fn check_stream(&self, function: &str, stream: reflex_stream) -> Result<()> {
        let of_cpu = CpuBackend::is_stream(stream);
        // Launches on a GPU are short, and look for no lock where one context has made all streams.
        if is_default(stream) || (!of_cpu && matches!(self.backend, Backend::Cuda(_)) && Context::is_alone()) {
            return Ok(());
        }
        match OWNERS.with(|owners| owners.get(&(stream as usize)).copied()) {
            Some(owner) => self.must_own(function, "stream", owner),
            None if of_cpu => Err(Error::invalid(format!("{function}: stream was destroyed"))),
            None => must_be_no_handle(function, stream),
        }
    }

    /// Whether calls on the stream are being recorded. Checks the stream.
    pub fn is_capturing(&self, function: &str, stream: reflex_stream) -> Result<bool> {
        must_be_no_handle(function, stream)?;
        self.check_stream(function, stream)?;
        match &self.backend {
            Backend::Cpu(_) => Ok(CpuBackend::is_capturing(stream)),
            Backend::Cuda(cuda) => cuda.is_capturing(stream),
        }
    }

    /// For what waits, or would nest captures.
    pub fn must_not_capture(&self, function: &str, stream: reflex_stream) -> Result<()> {
        match self.is_capturing(function, stream)? {
            true => Err(Error::invalid(format!(
                "{function}: the stream is being captured, expected reflex_graph_capture_end first"
            ))),
            false => Ok(()),
        }
    }
}

/// A handle of another kind cannot be looked at as a stream: CUDA would take it for one of its own.
fn must_be_no_handle(function: &str, stream: reflex_stream) -> Result<()> {
    match handle::at(stream as usize) {
        Some(name) => Err(Error::invalid(format!(
            "{function}: stream is a {name}, expected a reflex_stream"
        ))),
        None => Ok(()),
    }
}

/// The context is gone, and with it its streams.
pub(super) fn forget_context(id: u64) {
    let mut streams = Vec::new();
    OWNERS.with(|owners| {
        owners.retain(|&stream, &mut owner| {
            if owner == id {
                streams.push(stream);
            }
            owner != id
        });
    });
    streams.into_iter().for_each(CpuBackend::drop_capture);
}

/// Makes a stream that does not wait for the default stream. Destroy it with `reflex_stream_destroy`.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_stream_create(context: *const reflex_context, out: *mut reflex_stream) -> reflex_status {
    const NAME: &str = "reflex_stream_create";
    guard(NAME, || {
        out_pointer(NAME, "out", out)?;
        let context = reflex_context::get(NAME, context)?;
        let stream = match &context.backend {
            Backend::Cpu(_) => CpuBackend::create_stream(),
            Backend::Cuda(cuda) => cuda.create_stream()?,
        };
        OWNERS.with(|owners| owners.insert(stream as usize, context.id));
        // SAFETY: checked above.
        unsafe { out.write(stream) };
        Ok(())
    })
}

/// Destroys a stream of `reflex_stream_create` once its work is done. NULL is ignored. A capture on it ends and is lost.
///
/// `REFLEX_INVALID_ARGUMENT` for any other stream: one destroyed before, of another context, or made by CUDA itself.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_stream_destroy(context: *const reflex_context, stream: reflex_stream) -> reflex_status {
    const NAME: &str = "reflex_stream_destroy";
    guard(NAME, || {
        let context = reflex_context::get(NAME, context)?;
        if stream.is_null() {
            return Ok(());
        }
        must_be_no_handle(NAME, stream)?;
        context.check_stream(NAME, stream)?;
        let key = stream as usize;
        // It goes before the address can come back.
        if OWNERS.with(|owners| owners.remove(&key)).is_none() {
            return Err(Error::invalid(format!(
                "{NAME}: stream is none that reflex_stream_create gave, or was destroyed already"
            )));
        }
        match &context.backend {
            Backend::Cpu(_) => CpuBackend::drop_capture(key),
            Backend::Cuda(cuda) => cuda.destroy_stream(stream).inspect_err(|_| {
                OWNERS.with(|owners| owners.insert(key, context.id));
            })?,
        }
        Ok(())
    })
}

/// Waits until everything put on the stream has finished. Errors of earlier work appear here.
/// `REFLEX_INVALID_ARGUMENT` while the stream is being captured; the capture goes on.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_stream_synchronize(context: *const reflex_context, stream: reflex_stream) -> reflex_status {
    const NAME: &str = "reflex_stream_synchronize";
    guard(NAME, || {
        let context = reflex_context::get(NAME, context)?;
        context.must_not_capture(NAME, stream)?;
        match &context.backend {
            Backend::Cpu(_) => Ok(()),
            Backend::Cuda(cuda) => cuda.synchronize(stream),
        }
    })
}

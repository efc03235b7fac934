//! Streams of a context, and what may be done with a stream that a call is given.

use super::context::{Backend, Context, reflex_context};
use super::cpu::CpuBackend;
use super::owners;
use crate::abi::{Error, Result, guard, handle, is_default, out_pointer, reflex_status, reflex_stream};

impl Context {
    /// Refuses a stream that is known to be none of this context. A foreign one is not known.
    pub fn check_stream(&self, stream: reflex_stream) -> Result<()> {
        let of_cpu = CpuBackend::is_stream(stream);
        // Launches on a GPU are short, and look for no lock where one context has made all streams.
        if is_default(stream) || (!of_cpu && matches!(self.backend, Backend::Cuda(_)) && Context::is_alone()) {
            return Ok(());
        }
        match owners::of(stream) {
            Some(owner) => self.must_own("stream", owner),
            None if of_cpu => Err(Error::invalid("stream was destroyed")),
            None => must_be_no_handle(stream),
        }
    }

    /// Whether calls on the stream are being recorded. Checks the stream.
    pub fn is_capturing(&self, stream: reflex_stream) -> Result<bool> {
        must_be_no_handle(stream)?;
        self.check_stream(stream)?;
        match &self.backend {
            Backend::Cpu(_) => Ok(CpuBackend::is_capturing(stream)),
            Backend::Cuda(cuda) => cuda.is_capturing(stream),
        }
    }

    /// For what waits, or would nest captures.
    pub fn must_not_capture(&self, stream: reflex_stream) -> Result<()> {
        match self.is_capturing(stream)? {
            true => Err(Error::invalid(
                "the stream is being captured, expected reflex_graph_capture_end first",
            )),
            false => Ok(()),
        }
    }
}

/// A handle of another kind cannot be looked at as a stream: CUDA would take it for one of its own.
fn must_be_no_handle(stream: reflex_stream) -> Result<()> {
    match handle::at(stream as usize) {
        Some(name) => Err(Error::invalid(format!("stream is a {name}, expected a reflex_stream"))),
        None => Ok(()),
    }
}

/// Makes a stream that does not wait for the default stream. Destroy it with `reflex_stream_destroy`.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_stream_create(context: *const reflex_context, out: *mut reflex_stream) -> reflex_status {
    guard("reflex_stream_create", || {
        out_pointer("out", out)?;
        let context = reflex_context::get(context)?;
        let stream = match &context.backend {
            Backend::Cpu(_) => CpuBackend::create_stream(),
            Backend::Cuda(cuda) => cuda.create_stream()?,
        };
        owners::insert(stream, context.id);
        // SAFETY: checked above.
        unsafe { out.write(stream) };
        Ok(())
    })
}

/// Destroys a stream of `reflex_stream_create` once its work is done. NULL is ignored. A capture on it ends and is
/// lost.
///
/// Any other stream gives `REFLEX_INVALID_ARGUMENT`: one that was destroyed before, that belongs to another context, or
/// that CUDA itself made.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_stream_destroy(context: *const reflex_context, stream: reflex_stream) -> reflex_status {
    guard("reflex_stream_destroy", || {
        let context = reflex_context::get(context)?;
        if stream.is_null() {
            return Ok(());
        }
        must_be_no_handle(stream)?;
        context.check_stream(stream)?;
        // It goes before the address can come back.
        if owners::remove(stream).is_none() {
            return Err(Error::invalid(
                "stream is none that reflex_stream_create gave, or was destroyed already",
            ));
        }
        match &context.backend {
            Backend::Cpu(_) => CpuBackend::drop_capture(stream as usize),
            Backend::Cuda(cuda) => cuda.destroy_stream(stream).inspect_err(|_| {
                owners::insert(stream, context.id);
            })?,
        }
        Ok(())
    })
}

/// Waits until everything that was put on the stream has finished. Errors of earlier work appear here.
/// While the stream is being captured the call returns `REFLEX_INVALID_ARGUMENT`, and the capture goes on.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_stream_synchronize(context: *const reflex_context, stream: reflex_stream) -> reflex_status {
    guard("reflex_stream_synchronize", || {
        let context = reflex_context::get(context)?;
        context.must_not_capture(stream)?;
        match &context.backend {
            Backend::Cpu(_) => Ok(()),
            Backend::Cuda(cuda) => cuda.synchronize(stream),
        }
    })
}

use super::context::{Backend, reflex_context};
use super::guard::guard;
use super::params::out_pointer;
use super::status::*;

/// The tag that `cudaStream_t` and `CUstream` use.
pub enum CUstream_st {}

/// A CUDA stream: `cudaStream_t` and `CUstream` convert without a cast. NULL is the device's default stream.
/// Streams of foreign contexts (green contexts, MPS, torch) work.
///
/// On the CPU backend every call runs at once and the value only tells captures apart.
pub type reflex_stream = *mut CUstream_st;

/// Makes a stream that does not wait for the default stream. Destroy it with `reflex_stream_destroy`.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_stream_create(context: *const reflex_context, out: *mut reflex_stream) -> reflex_status {
    const NAME: &str = "reflex_stream_create";
    guard(|| {
        out_pointer(NAME, "out", out)?;
        let stream = match &reflex_context::get(NAME, context)?.backend {
            Backend::Cpu(cpu) => cpu.create_stream()?,
            Backend::Cuda(cuda) => cuda.create_stream()?,
        };
        // SAFETY: checked above.
        unsafe { out.write(stream) };
        Ok(())
    })
}

/// Destroys a stream of `reflex_stream_create` once its work is done. NULL is ignored.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_stream_destroy(context: *const reflex_context, stream: reflex_stream) -> reflex_status {
    guard(
        || match &reflex_context::get("reflex_stream_destroy", context)?.backend {
            _ if stream.is_null() => Ok(()),
            Backend::Cpu(cpu) => cpu.destroy_stream(stream),
            Backend::Cuda(cuda) => cuda.destroy_stream(stream),
        },
    )
}

/// Waits until everything put on the stream has finished. Errors of earlier work appear here.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_stream_synchronize(context: *const reflex_context, stream: reflex_stream) -> reflex_status {
    guard(
        || match &reflex_context::get("reflex_stream_synchronize", context)?.backend {
            Backend::Cpu(cpu) => cpu.synchronize(stream),
            Backend::Cuda(cuda) => cuda.synchronize(stream),
        },
    )
}

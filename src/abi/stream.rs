//! Streams: their type is CUDA's.

/// The tag that `cudaStream_t` and `CUstream` use.
pub enum CUstream_st {}

/// A CUDA stream: `cudaStream_t` and `CUstream` convert without a cast. NULL is the device's default stream. Streams of
/// foreign contexts (green contexts, MPS, torch) work; a stream of `reflex_stream_create` belongs to its context.
///
/// On the CPU backend every call runs at once and the value only tells captures apart.
pub type reflex_stream = *mut CUstream_st;

/// NULL and `cudaStreamLegacy`, which is the same by another name.
pub(crate) fn is_legacy(stream: reflex_stream) -> bool {
    stream as usize <= 1
}

/// These and `cudaStreamPerThread`, which are no addresses.
pub(crate) fn is_default(stream: reflex_stream) -> bool {
    stream as usize <= 2
}

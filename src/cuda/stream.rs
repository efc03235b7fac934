//! Streams and events of a CUDA device.

use super::backend::CudaBackend;
use super::driver::{Current, check};
use crate::abi::{Result, reflex_stream};
use cudarc::driver::sys;

pub(crate) struct CudaEvent {
    event: sys::CUevent,
}

// SAFETY: CUDA handles may be used from any thread.
unsafe impl Send for CudaEvent {}
unsafe impl Sync for CudaEvent {}

impl CudaBackend {
    pub fn create_stream(&self) -> Result<reflex_stream> {
        let _current = Current::push(self.primary)?;
        let mut stream = std::ptr::null_mut();
        let flags = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        check("cuStreamCreate", unsafe { sys::cuStreamCreate(&mut stream, flags) })?;
        Ok(stream.cast())
    }

    pub fn destroy_stream(&self, stream: reflex_stream) -> Result<()> {
        check("cuStreamDestroy", unsafe { sys::cuStreamDestroy_v2(stream.cast()) })
    }

    pub fn synchronize(&self, stream: reflex_stream) -> Result<()> {
        let _current = Current::of_stream(stream, self.primary)?;
        check("cuStreamSynchronize", unsafe {
            sys::cuStreamSynchronize(stream.cast())
        })
    }

    pub fn create_event(&self) -> Result<CudaEvent> {
        let _current = Current::push(self.primary)?;
        let mut event = std::ptr::null_mut();
        let flags = sys::CUevent_flags::CU_EVENT_DEFAULT as u32;
        check("cuEventCreate", unsafe { sys::cuEventCreate(&mut event, flags) })?;
        Ok(CudaEvent { event })
    }

    pub fn record_event(&self, event: &CudaEvent, stream: reflex_stream) -> Result<()> {
        let _current = Current::of_stream(stream, self.primary)?;
        check("cuEventRecord", unsafe {
            sys::cuEventRecord(event.event, stream.cast())
        })
    }
}

impl CudaEvent {
    pub fn synchronize(&self) -> Result<()> {
        check("cuEventSynchronize", unsafe { sys::cuEventSynchronize(self.event) })
    }

    pub fn elapsed(start: &CudaEvent, end: &CudaEvent) -> Result<f32> {
        let mut milliseconds = 0.0;
        check("cuEventElapsedTime", unsafe {
            sys::cuEventElapsedTime(&mut milliseconds, start.event, end.event)
        })?;
        Ok(milliseconds)
    }
}

impl Drop for CudaEvent {
    fn drop(&mut self) {
        unsafe { sys::cuEventDestroy_v2(self.event) };
    }
}

//! Streams and events of a CUDA device.

use super::backend::CudaBackend;
use super::driver::{Current, Relaxed, check};
use crate::abi::{Result, is_legacy, reflex_stream};
use cudarc::driver::sys;
use std::sync::Mutex;

/// An event can only be recorded in its own context, which is known once it meets a stream.
pub(crate) struct CudaEvent {
    inner: Mutex<Inner>,
}

struct Inner {
    event: sys::CUevent,
    context: sys::CUcontext,
}

// SAFETY: CUDA handles may be used from any thread.
unsafe impl Send for Inner {}

impl CudaBackend {
    pub fn create_stream(&self) -> Result<reflex_stream> {
        let _current = self.current()?;
        let mut stream = std::ptr::null_mut();
        let flags = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        check("cuStreamCreate", unsafe { sys::cuStreamCreate(&mut stream, flags) })?;
        Ok(stream.cast())
    }

    /// A capture on it is ended first: whether destroying does that is not documented.
    pub fn destroy_stream(&self, stream: reflex_stream) -> Result<()> {
        if self.is_capturing(stream)? {
            let mut graph = std::ptr::null_mut();
            // Fails where another thread began the capture.
            let ended = unsafe { sys::cuStreamEndCapture(stream.cast(), &mut graph) };
            if check("cuStreamEndCapture", ended).is_ok() && !graph.is_null() {
                unsafe { sys::cuGraphDestroy(graph) };
            }
        }
        self.forget_capture(stream);
        let _relaxed = Relaxed::enter()?;
        check("cuStreamDestroy", unsafe { sys::cuStreamDestroy_v2(stream.cast()) })
    }

    /// Also of a capture that an error has spoiled and that is still to be ended.
    pub fn is_capturing(&self, stream: reflex_stream) -> Result<bool> {
        if is_legacy(stream) {
            return Ok(false);
        }
        let _current = Current::if_default(stream, self.primary)?;
        let mut status = sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE;
        check("cuStreamIsCapturing", unsafe {
            sys::cuStreamIsCapturing(stream.cast(), &mut status)
        })?;
        Ok(status != sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE)
    }

    pub fn synchronize(&self, stream: reflex_stream) -> Result<()> {
        let _relaxed = Relaxed::enter()?;
        let _current = Current::of_stream(stream, self.primary)?;
        check("cuStreamSynchronize", unsafe {
            sys::cuStreamSynchronize(stream.cast())
        })
    }

    pub fn create_event(&self) -> Result<CudaEvent> {
        let inner = Inner::new(self.primary)?;
        Ok(CudaEvent {
            inner: Mutex::new(inner),
        })
    }

    pub fn record_event(&self, event: &CudaEvent, stream: reflex_stream) -> Result<()> {
        let current = Current::of_stream(stream, self.primary)?;
        let mut inner = event.inner.lock().unwrap();
        if inner.context != current.context() {
            *inner = Inner::new(current.context())?;
        }
        check("cuEventRecord", unsafe {
            sys::cuEventRecord(inner.event, stream.cast())
        })
    }
}

impl Inner {
    fn new(context: sys::CUcontext) -> Result<Inner> {
        let _relaxed = Relaxed::enter()?;
        let _current = Current::push(context)?;
        let mut event = std::ptr::null_mut();
        let flags = sys::CUevent_flags::CU_EVENT_DEFAULT as u32;
        check("cuEventCreate", unsafe { sys::cuEventCreate(&mut event, flags) })?;
        Ok(Inner { event, context })
    }
}

impl CudaEvent {
    fn handle(&self) -> sys::CUevent {
        self.inner.lock().unwrap().event
    }

    pub fn synchronize(&self) -> Result<()> {
        let _relaxed = Relaxed::enter()?;
        check("cuEventSynchronize", unsafe { sys::cuEventSynchronize(self.handle()) })
    }

    pub fn elapsed(start: &CudaEvent, end: &CudaEvent) -> Result<f32> {
        let mut milliseconds = 0.0;
        let _relaxed = Relaxed::enter()?;
        check("cuEventElapsedTime", unsafe {
            sys::cuEventElapsedTime(&mut milliseconds, start.handle(), end.handle())
        })?;
        Ok(milliseconds)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _relaxed = Relaxed::enter();
        unsafe { sys::cuEventDestroy_v2(self.event) };
    }
}

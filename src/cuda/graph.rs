//! Capture and replay.

use super::backend::CudaBackend;
use super::driver::{Current, Relaxed, check};
use crate::abi::process::Guarded;
use crate::abi::{Error, Result, reflex_stream};
use cudarc::driver::sys;
use std::collections::BTreeMap;
use std::thread::{self, ThreadId};

/// Number of the last capture of each stream that was begun here, and the thread that began it. The driver (580) refuses an end in
/// another thread with CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, but the capture is over then: it must not be asked.
static BEGUN: Guarded<BTreeMap<usize, (u64, ThreadId)>> = Guarded::new(BTreeMap::new());

/// Number of the capture that goes on on a stream; 0 without one.
fn capture_number(stream: reflex_stream) -> Result<u64> {
    let mut status = sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE;
    let mut number = 0;
    let nothing = (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
    check("cuStreamGetCaptureInfo", unsafe {
        sys::cuStreamGetCaptureInfo_v2(stream.cast(), &mut status, &mut number, nothing.0, nothing.1, nothing.2)
    })?;
    // A capture that an error has spoiled has none.
    let active = status == sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_ACTIVE;
    Ok(if active { number } else { 0 })
}

pub(crate) struct CudaGraph {
    exec: sys::CUgraphExec,
    nodes: usize,
}

// SAFETY: CUDA handles may be used from any thread; launches of one graph are ordered by the driver.
unsafe impl Send for CudaGraph {}
unsafe impl Sync for CudaGraph {}

impl CudaBackend {
    pub fn begin_capture(&self, stream: reflex_stream) -> Result<()> {
        // Thread-local: what other threads do meanwhile does not break the capture.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        let _current = Current::if_default(stream, self.primary)?;
        check("cuStreamBeginCapture", unsafe {
            sys::cuStreamBeginCapture_v2(stream.cast(), mode)
        })?;
        let begun = (capture_number(stream)?, thread::current().id());
        BEGUN.with(|all| all.insert(stream as usize, begun));
        Ok(())
    }

    /// Whether the capture that goes on on a stream was begun here and by another thread.
    pub fn captured_elsewhere(&self, stream: reflex_stream) -> Result<bool> {
        let begun = BEGUN.with(|all| all.get(&(stream as usize)).copied());
        let Some((number, thread)) = begun else {
            return Ok(false);
        };
        let _current = Current::if_default(stream, self.primary)?;
        Ok(thread != thread::current().id() && number != 0 && capture_number(stream)? == number)
    }

    pub(super) fn forget_capture(&self, stream: reflex_stream) {
        BEGUN.with(|all| all.remove(&(stream as usize)));
    }

    pub fn end_capture(&self, stream: reflex_stream) -> Result<CudaGraph> {
        if self.captured_elsewhere(stream)? {
            return Err(Error::wrong_thread());
        }
        self.forget_capture(stream);
        let mut graph = std::ptr::null_mut();
        let _current = Current::if_default(stream, self.primary)?;
        match unsafe { sys::cuStreamEndCapture(stream.cast(), &mut graph) } {
            // Of a capture that was not begun here.
            sys::CUresult::CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD => return Err(Error::foreign_thread()),
            code => check("cuStreamEndCapture", code)?,
        }
        let mut nodes = 0;
        let mut exec = std::ptr::null_mut();
        // The thread may be capturing another stream.
        let made = self.current().and_then(|_current| {
            check("cuGraphGetNodes", unsafe {
                sys::cuGraphGetNodes(graph, std::ptr::null_mut(), &mut nodes)
            })?;
            check("cuGraphInstantiate", unsafe {
                sys::cuGraphInstantiateWithFlags(&mut exec, graph, 0)
            })
        });
        unsafe { sys::cuGraphDestroy(graph) };
        made.map(|()| CudaGraph { exec, nodes })
    }

    pub fn launch_graph(&self, graph: &CudaGraph, stream: reflex_stream) -> Result<()> {
        let _current = Current::of_stream(stream, self.primary)?;
        check("cuGraphLaunch", unsafe {
            sys::cuGraphLaunch(graph.exec, stream.cast())
        })
    }
}

impl CudaGraph {
    pub fn node_count(&self) -> usize {
        self.nodes
    }
}

impl Drop for CudaGraph {
    fn drop(&mut self) {
        let _relaxed = Relaxed::enter();
        unsafe { sys::cuGraphExecDestroy(self.exec) };
    }
}

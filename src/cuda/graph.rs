//! Capture and replay.

use super::backend::CudaBackend;
use super::driver::{Current, Relaxed, check};
use crate::abi::{Error, Result, reflex_stream};
use cudarc::driver::sys;

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
        })
    }

    pub fn end_capture(&self, stream: reflex_stream) -> Result<CudaGraph> {
        let mut graph = std::ptr::null_mut();
        let _current = Current::if_default(stream, self.primary)?;
        match unsafe { sys::cuStreamEndCapture(stream.cast(), &mut graph) } {
            sys::CUresult::CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD => return Err(Error::wrong_thread()),
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

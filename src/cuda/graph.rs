//! Capture and replay.

use super::backend::CudaBackend;
use super::driver::{Current, check};
use crate::abi::{Result, reflex_stream};
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
        check("cuStreamBeginCapture", unsafe {
            sys::cuStreamBeginCapture_v2(stream.cast(), mode)
        })
    }

    pub fn end_capture(&self, stream: reflex_stream) -> Result<CudaGraph> {
        let mut graph = std::ptr::null_mut();
        check("cuStreamEndCapture", unsafe {
            sys::cuStreamEndCapture(stream.cast(), &mut graph)
        })?;
        let mut nodes = 0;
        let mut exec = std::ptr::null_mut();
        let made = Current::push(self.primary).and_then(|_current| {
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
        unsafe { sys::cuGraphExecDestroy(self.exec) };
    }
}

use super::context::{Backend, reflex_context};
use super::error::{Error, Result};
use super::guard::guard;
use super::params::out_pointer;
use super::status::*;
use super::stream::reflex_stream;
use crate::cpu::CpuGraph;
use crate::cuda::CudaGraph;

/// A captured sequence of launches that can be replayed. Opaque.
pub struct reflex_graph {
    pub(crate) graph: Graph,
}

pub(crate) enum Graph {
    Cpu(CpuGraph),
    Cuda(CudaGraph),
}

/// Starts recording what is launched on `stream` instead of running it, until `reflex_graph_capture_end`.
///
/// Works on any stream but NULL; captures begun with `cudaStreamBeginCapture` work as well. On the CPU backend calls on
/// this stream are recorded in the same way; they use the same pointers at every replay.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_graph_capture_begin(context: *const reflex_context, stream: reflex_stream) -> reflex_status {
    const NAME: &str = "reflex_graph_capture_begin";
    guard(|| {
        let context = reflex_context::get(NAME, context)?;
        if stream.is_null() {
            return Err(Error::invalid(format!(
                "{NAME}: stream is NULL, expected one of reflex_stream_create (the default stream cannot be captured)"
            )));
        }
        match &context.backend {
            Backend::Cpu(cpu) => cpu.begin_capture(stream),
            Backend::Cuda(cuda) => cuda.begin_capture(stream),
        }
    })
}

/// Ends the capture and makes a graph of it, ready to launch. On an error the capture is over too and `*out` is not set.
/// Destroy the graph with `reflex_graph_destroy`, before its context.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_graph_capture_end(
    context: *const reflex_context,
    stream: reflex_stream,
    out: *mut *mut reflex_graph,
) -> reflex_status {
    const NAME: &str = "reflex_graph_capture_end";
    guard(|| {
        out_pointer(NAME, "out", out)?;
        let graph = match &reflex_context::get(NAME, context)?.backend {
            Backend::Cpu(cpu) => Graph::Cpu(cpu.end_capture(stream)?),
            Backend::Cuda(cuda) => Graph::Cuda(cuda.end_capture(stream)?),
        };
        // SAFETY: checked above.
        unsafe { out.write(Box::into_raw(Box::new(reflex_graph { graph }))) };
        Ok(())
    })
}

fn get<'a>(function: &str, graph: *const reflex_graph) -> Result<&'a reflex_graph> {
    // SAFETY: made by `reflex_graph_capture_end`, by contract.
    unsafe { graph.as_ref() }.ok_or_else(|| Error::invalid(format!("{function}: graph is NULL")))
}

/// Puts a replay of the graph on the stream. A graph may be launched again before an earlier launch has finished;
/// launches of one graph run one after another.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_graph_launch(
    context: *const reflex_context,
    graph: *mut reflex_graph,
    stream: reflex_stream,
) -> reflex_status {
    const NAME: &str = "reflex_graph_launch";
    guard(
        || match (&reflex_context::get(NAME, context)?.backend, &get(NAME, graph)?.graph) {
            (Backend::Cpu(cpu), Graph::Cpu(graph)) => cpu.launch_graph(graph, stream),
            (Backend::Cuda(cuda), Graph::Cuda(graph)) => cuda.launch_graph(graph, stream),
            _ => Err(Error::invalid(format!(
                "{NAME}: the graph belongs to a context of another backend"
            ))),
        },
    )
}

/// Number of nodes (launches, copies) in the graph.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_graph_node_count(graph: *const reflex_graph, out: *mut usize) -> reflex_status {
    const NAME: &str = "reflex_graph_node_count";
    guard(|| {
        out_pointer(NAME, "out", out)?;
        let count = match &get(NAME, graph)?.graph {
            Graph::Cpu(graph) => graph.node_count(),
            Graph::Cuda(graph) => graph.node_count(),
        };
        // SAFETY: checked above.
        unsafe { out.write(count) };
        Ok(())
    })
}

/// Destroys a graph whose launches have finished. NULL is ignored.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_graph_destroy(graph: *mut reflex_graph) {
    guard(|| {
        if !graph.is_null() {
            // SAFETY: made by `reflex_graph_capture_end`, by contract.
            drop(unsafe { Box::from_raw(graph) });
        }
        Ok(())
    });
}

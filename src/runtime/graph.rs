//! Graphs: calls that were captured from a stream, to be launched again.

use super::context::{Backend, reflex_context};
use super::cpu::CpuGraph;
use crate::abi::handle::{self, Handle};
use crate::abi::process::OnlyHere;
use crate::abi::{Error, REFLEX_INTERNAL, Result, guard, is_legacy, out_pointer, reflex_status, reflex_stream};
use crate::cuda::CudaGraph;

/// A captured sequence of launches that can be replayed. The type is opaque.
pub struct reflex_graph([u8; 0]);

pub(crate) struct Graph {
    /// Number of its context.
    owner: u64,
    recorded: Recorded,
}

enum Recorded {
    Cpu(CpuGraph),
    Cuda(OnlyHere<CudaGraph>),
}

impl Handle for reflex_graph {
    const KIND: handle::Kind = handle::GRAPH;
    type Body = Graph;
}

impl Graph {
    fn get<'a>(graph: *const reflex_graph) -> Result<&'a Graph> {
        let graph = handle::get("graph", graph)?;
        match &graph.recorded {
            Recorded::Cuda(cuda) if cuda.is_inherited() => Err(Error::inherited("graph")),
            _ => Ok(graph),
        }
    }
}

/// Starts recording what is launched on `stream` instead of running it, until `reflex_graph_capture_end`.
///
/// It works on any stream but NULL; captures begun with `cudaStreamBeginCapture` work as well. On the CPU backend calls
/// on this stream are recorded in the same way. A replay uses the pointers that were recorded.
///
/// While the capture goes on, calls on other streams and the memory functions work as usual. Calls that wait for this
/// stream, a second capture of it and the launch of a graph on it return `REFLEX_INVALID_ARGUMENT`; they do not harm
/// the capture.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_graph_capture_begin(context: *const reflex_context, stream: reflex_stream) -> reflex_status {
    guard("reflex_graph_capture_begin", || {
        let context = reflex_context::get(context)?;
        if is_legacy(stream) {
            return Err(Error::invalid(
                "stream is NULL, expected one of reflex_stream_create (the default stream cannot be captured)",
            ));
        }
        context.must_not_capture(stream)?;
        match &context.backend {
            Backend::Cpu(cpu) => cpu.begin_capture(stream),
            Backend::Cuda(cuda) => cuda.begin_capture(stream),
        }
    })
}

/// Ends the capture and makes a graph of it, ready to launch. Destroy it with `reflex_graph_destroy`, before its
/// context.
///
/// The call returns `REFLEX_INVALID_ARGUMENT` when the stream is not being captured, and when another thread began the
/// capture, because only that thread can end it. Such a capture goes on, unless it was begun with
/// `cudaStreamBeginCapture`: then the driver ends it. After any other error the capture is over. `*out` is set only on
/// success.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_graph_capture_end(
    context: *const reflex_context,
    stream: reflex_stream,
    out: *mut *mut reflex_graph,
) -> reflex_status {
    guard("reflex_graph_capture_end", || {
        out_pointer("out", out)?;
        let context = reflex_context::get(context)?;
        if !context.is_capturing(stream)? {
            return Err(Error::invalid("the stream is not being captured"));
        }
        let graph = handle::create(Graph {
            owner: context.id,
            recorded: match &context.backend {
                Backend::Cpu(cpu) => Recorded::Cpu(cpu.end_capture(stream)?),
                Backend::Cuda(cuda) => Recorded::Cuda(OnlyHere::new(cuda.end_capture(stream)?)),
            },
        });
        // SAFETY: checked above.
        unsafe { out.write(graph) };
        Ok(())
    })
}

/// Puts a replay of the graph on the stream. A graph may be launched again before an earlier launch has finished;
/// launches of one graph run one after another.
///
/// A graph of another context gives `REFLEX_INVALID_ARGUMENT`, and so does a stream that is being captured, because
/// graphs do not nest.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_graph_launch(
    context: *const reflex_context,
    graph: *mut reflex_graph,
    stream: reflex_stream,
) -> reflex_status {
    guard("reflex_graph_launch", || {
        let context = reflex_context::get(context)?;
        let graph = Graph::get(graph)?;
        context.must_own("graph", graph.owner)?;
        context.must_not_capture(stream)?;
        match (&context.backend, &graph.recorded) {
            (Backend::Cpu(cpu), Recorded::Cpu(graph)) => graph.launch(cpu),
            (Backend::Cuda(cuda), Recorded::Cuda(graph)) => cuda.launch_graph(graph, stream)?,
            _ => return Err(Error::new(REFLEX_INTERNAL, "a graph of two backends")),
        }
        Ok(())
    })
}

/// Sets `*out` to the number of nodes (launches, copies) in the graph.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_graph_node_count(graph: *const reflex_graph, out: *mut usize) -> reflex_status {
    guard("reflex_graph_node_count", || {
        out_pointer("out", out)?;
        let count = match &Graph::get(graph)?.recorded {
            Recorded::Cpu(graph) => graph.node_count(),
            Recorded::Cuda(graph) => graph.node_count(),
        };
        // SAFETY: checked above.
        unsafe { out.write(count) };
        Ok(())
    })
}

/// Destroys a graph. NULL is ignored. A launch that is under way runs to its end.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_graph_destroy(graph: *mut reflex_graph) {
    guard("reflex_graph_destroy", || match graph.is_null() {
        true => Ok(()),
        false => handle::take("graph", graph).map(drop),
    });
}

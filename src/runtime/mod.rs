//! What a handle of C is, on either backend: contexts, memory, streams, events and graphs.

mod context;
mod cpu;
mod event;
mod forced;
mod graph;
mod host;
mod memory;
mod owners;
mod ranges;
pub(crate) mod root;
mod stream;

pub use context::*;
pub use event::*;
pub use graph::*;
pub use memory::*;
pub use stream::*;

pub(crate) use context::{Backend, Context};
pub(crate) use cpu::CpuBackend;
pub(crate) use forced::Forced;
pub(crate) use host::{cpu_name, host_memory};

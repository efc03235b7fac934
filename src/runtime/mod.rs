//! Contexts, and what is made through them, on either backend: streams, memory, events and graphs.
//! `reflex_context_create` says what a child process may do with them after `fork`.

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

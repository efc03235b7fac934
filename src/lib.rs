//! Low-latency inference kernels for edge NVIDIA GPUs behind a C ABI.
//!
//! The public interface is `include/reflex/infer.h`. The Rust items below are the same functions and
//! types; they are public so that tests and Rust engines call exactly what C calls.
#![allow(non_camel_case_types)]
// The exports take raw pointers because C does; each is checked, and what cannot be checked is the documented contract.
#![allow(clippy::not_unsafe_ptr_arg_deref)]
#![deny(unsafe_op_in_unsafe_fn)]

// Macros with the rows of kernels/formats.def.
include!(concat!(env!("OUT_DIR"), "/formats.rs"));

mod abi;
mod constants;
mod cpu;
mod cuda;
mod format;
mod ops;
mod runtime;
mod system;
mod tuning;

pub use abi::*;
pub use ops::*;
pub use runtime::*;
pub use system::*;

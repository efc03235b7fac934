//! The types that every call uses: statuses, element types, tensors and streams, and what the library was built with.
//!
//! Beside the C vocabulary here are what checks it: views, guards, handles, errors. This folder imports nothing of the
//! crate.

mod build_info;
mod dtype;
mod error;
mod guard;
pub(crate) mod handle;
mod kv_cache;
mod overlap;
mod params;
pub(crate) mod process;
mod size;
mod status;
mod stream;
mod tensor;
pub(crate) mod thread;
mod view;
mod weight;

pub use build_info::*;
pub use dtype::*;
pub use error::reflex_last_error_message;
pub use kv_cache::*;
pub use size::*;
pub use status::*;
pub use stream::*;
pub use tensor::*;
pub use weight::*;

pub(crate) use dtype::{BlockFormat, Dtype};
pub(crate) use error::{Error, Result};
pub(crate) use guard::guard;
pub(crate) use params::{Array, Element, Params, out_pointer, out_struct, read_array, read_params, read_struct};
pub(crate) use stream::{is_default, is_legacy};
pub(crate) use view::View;

//! What the machine is.

mod device_info;
mod host;

pub use device_info::*;
pub(crate) use host::{cpu_name, host_memory};

//! What the machine is, and how it is doing.

mod device_info;
mod host;
mod jetson;
mod nvml;
mod profile;
mod root;
mod sampler;
mod telemetry;
#[cfg(test)]
mod tests;

pub use device_info::*;
pub(crate) use host::{cpu_name, host_memory};
pub use profile::*;
pub use sampler::*;
pub use telemetry::*;

//! What the device is, and how it is doing: profiles for planning, telemetry, energy.

mod device_info;
mod jetson;
mod nvml;
mod profile;
mod reading;
mod sampler;
mod telemetry;
#[cfg(test)]
mod tests;

pub use device_info::*;
pub use profile::*;
pub use reading::*;
pub use sampler::*;
pub use telemetry::*;

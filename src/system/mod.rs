//! What the device is, and how it is doing: profiles and budgets for planning, telemetry, energy.

mod budget;
mod device_info;
mod jetson;
mod nvml;
mod profile;
mod reading;
mod sampler;
mod telemetry;
#[cfg(test)]
mod tests;

pub use budget::*;
pub use device_info::*;
pub use profile::*;
pub use reading::*;
pub use sampler::*;
pub use telemetry::*;

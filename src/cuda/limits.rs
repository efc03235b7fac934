//! What the library knows of a device.

use crate::tuning::Tuning;

/// What a kernel's launch depends on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DeviceLimits {
    /// Compute capability: major * 10 + minor.
    pub sm: u32,
    pub sm_count: u32,
    /// The kernels that run there have the products of warpgroups: code for SM 9.0a.
    pub wgmma: bool,
    /// Most shared memory a block may ask for.
    pub shared_per_block: u32,
    pub l2_bytes: u32,
    pub integrated: bool,
    pub core_clock_khz: u32,
    pub memory_clock_khz: u32,
    pub memory_bus_bits: u32,
    /// What decides between ways of computing that it has.
    pub tuning: Tuning,
}

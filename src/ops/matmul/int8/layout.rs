//! The tiling of a launch and its shared memory.

use super::MatmulPart;
use super::shape::Shape;
use crate::cuda::DeviceLimits;
use crate::cuda::ceil_div;

pub(super) struct Layout {
    pub(super) shape: Shape,
    /// The panels of a block.
    pub(super) panels: i64,
    pub(super) warps: i64,
    /// The blocks of a cluster, which share k.
    pub(super) cluster: i64,
    /// Bytes of a warp's ring in shared memory.
    pub(super) ring_bytes: i64,
    /// Bytes of the front of shared memory, where the rings of all warps lie. Behind it are the sums of the warps or,
    /// in kernels that share x, x.
    pub(super) front_bytes: i64,
    pub(super) shared: i64,
}

impl Layout {
    /// The number of warps of a block that share the k of a part.
    pub(super) fn splits(&self, part: &MatmulPart) -> i64 {
        self.warps * self.shape.panels(&part.weight) / self.panels
    }
}

/// The shared memory of a block with which an SM has room for no more of so many blocks than an even share of them.
/// Without it blocks are spread unevenly, because blocks of the next launch begin wherever there is room: with room for
/// three blocks where 256 blocks are two for each SM, 68 of 132 SMs had three blocks of a launch and 30 had none.
pub(super) fn exclusive_bytes(blocks: i64, limits: &DeviceLimits) -> i64 {
    if limits.sm < 90 {
        return 0;
    }
    let share = ceil_div(blocks, i64::from(limits.sm_count));
    // An SM has a KiB more shared memory than a block may take, and reserves one KiB for each block.
    let room = i64::from(limits.shared_per_block) + 1024;
    (room / (share + 1) - 1024) / 128 * 128 + 128
}

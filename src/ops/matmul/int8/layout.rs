//! How a launch is cut up.

use super::MatmulPart;
use super::shape::Shape;
use crate::cuda::DeviceLimits;
use crate::cuda::ceil_div;

pub(super) struct Layout {
    pub(super) shape: Shape,
    /// That a block makes.
    pub(super) panels: i64,
    pub(super) warps: i64,
    /// Blocks that share k.
    pub(super) cluster: i64,
    /// Shared memory of a warp's ring.
    pub(super) ring_bytes: i64,
    /// Shared memory before what the warps add up in, or before x, or of whole panels before the sums.
    pub(super) held: i64,
    pub(super) shared: i64,
}

impl Layout {
    /// Warps of a block that share the k of a part.
    pub(super) fn splits(&self, part: &MatmulPart) -> i64 {
        self.warps * self.shape.panels(&part.weight) / self.panels
    }
}

/// Shared memory with which an SM has room for no more of so many blocks than its share: blocks of the next launch begin wherever
/// there is room. With room for three where 256 blocks are two each, 68 of 132 SMs had three blocks of a launch and 30 had none.
pub(super) fn exclusive_bytes(blocks: i64, limits: &DeviceLimits) -> i64 {
    if limits.sm < 90 {
        return 0;
    }
    let share = ceil_div(blocks, i64::from(limits.sm_count));
    // An SM has a KiB more than a block may take, and keeps one for each block.
    let room = i64::from(limits.shared_per_block) + 1024;
    (room / (share + 1) - 1024) / 128 * 128 + 128
}

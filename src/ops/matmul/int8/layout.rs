//! How a launch is cut up.

use super::shape::{Q4_K_ALONE, Shape, blocks, least_panels, long, paired_panels};
use super::{MatmulPart, MatmulPlan, PANEL, STATIC_SHARED, TILE, WARPS, shared};
use crate::cuda::ceil_div;
use crate::system::DeviceLimits;

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
    pub(super) fn new(plan: &MatmulPlan, limits: &DeviceLimits, most_cluster: i64) -> Layout {
        let shape = Shape::of(plan, limits);
        if let Shape::Shared(columns) = shape {
            return shared::layout(plan, limits, columns, most_cluster);
        }
        let panels = match shape {
            Shape::Narrow | Shape::Whole(_) | Shape::Native => least_panels(plan),
            Shape::Wide | Shape::WideNative => 4,
            Shape::Few(..) | Shape::Columns(_) | Shape::Shared(_) => paired_panels(plan),
        };
        let ring_bytes = shape.ring_bytes(plan);
        let sums = |splits: i64, shape: Shape| splits * panels * PANEL * shape.columns() * 4;
        let fits = |bytes: i64| bytes + STATIC_SHARED <= i64::from(limits.shared_per_block);
        let warps = match shape {
            Shape::Wide | Shape::WideNative => {
                // Of a short k more blocks on an SM hide one another's beginnings and ends, where there are enough of them.
                let short = !long(plan) && blocks(plan, panels) >= 4 * i64::from(limits.sm_count);
                if !short && fits(4 * ring_bytes) { 4 } else { 2 }
            }
            _ => {
                // The splits decide the order of the sums: where that must be the same for any number of rows, what the
                // most rows have room for.
                let sized = if plan.batch_invariant {
                    Shape::Columns(64)
                } else {
                    shape
                };
                let in_a_warp = shape.panels(&plan.first().weight);
                let bytes = |splits: i64| {
                    let warps = splits * panels / in_a_warp;
                    let beside = match sized {
                        Shape::Whole(_) | Shape::Few(..) => sums(splits, sized),
                        _ => warps * sized.held_bytes(),
                    };
                    (warps * ring_bytes).max(sums(splits, sized)) + beside
                };
                // Eight warps, or, where every SM has two blocks, four of several rows. Twelve where an SM has one block at most.
                let (blocks, sms) = (blocks(plan, panels), i64::from(limits.sm_count));
                let few = matches!(shape, Shape::Narrow | Shape::Whole(_)) && blocks <= sms;
                // Sixteen of whole panels and a long k.
                let limit = match shape {
                    // The more blocks there are, the smaller they are.
                    Shape::Few(..) if blocks > 4 * sms => WARPS / 4,
                    Shape::Few(..) if blocks > sms => WARPS / 2,
                    Shape::Whole(_) if few && long(plan) => 2 * WARPS,
                    _ if few => WARPS + WARPS / 2,
                    // Twelve where an SM has two blocks, and room for two.
                    Shape::Whole(Q4_K_ALONE) if limits.sm >= 90 && blocks <= 2 * sms => WARPS + WARPS / 2,
                    _ => WARPS,
                };
                let many = matches!(shape, Shape::Columns(_)) && blocks >= 2 * sms;
                let most = limit * in_a_warp / panels / if many { 2 } else { 1 };
                let mut splits = balanced(ceil_div(plan.k, TILE).max(1), most.max(1));
                while splits > 1 && !fits(bytes(splits)) {
                    splits -= 1;
                }
                splits * panels / in_a_warp
            }
        };
        let mut layout = Layout {
            shape,
            panels,
            warps,
            cluster: 1,
            ring_bytes,
            held: 0,
            shared: 0,
        };
        let splits = plan.parts().map(|part| layout.splits(part)).max().unwrap_or(1);
        if let Shape::Whole(_) | Shape::Few(..) = shape {
            // Sums beside the rings: a barrier less.
            layout.held = warps * ring_bytes;
            layout.shared = layout.held + sums(splits, shape);
            // Of a short k the rings hold all that a block reads, and blocks that begin early gain more than an even share.
            if matches!(shape, Shape::Whole(_)) && long(plan) {
                layout.shared = layout.shared.max(exclusive_bytes(blocks(plan, panels), limits));
            }
            return layout;
        }
        layout.held = (warps * ring_bytes).max(sums(splits, shape));
        layout.shared = layout.held + warps * shape.held_bytes();
        layout
    }

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

/// As many splits of the tiles as shorten the longest share, at most `most`.
fn balanced(tiles: i64, most: i64) -> i64 {
    ceil_div(tiles, ceil_div(tiles, most))
}

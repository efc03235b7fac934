//! How products of several rows are cut up whose warps share x (kernels/matmul/int8/shared/product.cuh), and where that pays;
//! and the launch that converts x for them.

use super::layout::{Layout, exclusive_bytes};
use super::shape::{Shape, alike, shared_stages, x_layout};
use super::{MatmulPlan, PANEL, STATIC_SHARED, TILE};
use crate::abi::{Result, View};
use crate::cuda::DeviceLimits;
use crate::cuda::{Grid, Kernel, ceil_div, kernel_args};
use crate::ops::schedule::{Schedule, Takes, only};

/// Clusters are for devices of at least so many SMs: on others there are blocks enough, and a part of a device may not have
/// room for a cluster.
pub(super) const CLUSTER_SMS: u32 = 64;
/// Of a thousand SMs those that clusters of 1 to 8 blocks can take: they do not span the parts that the SMs are grouped in. As
/// an H200 has it.
const IN_CLUSTERS: [i64; 8] = [1000, 1000, 887, 910, 834, 773, 796, 910];
/// Registers of an SM, and shared memory that each block takes beside what it asks for.
const REGISTERS: i64 = 65536;
const BLOCK_SHARED: i64 = 1024;

/// What a kernel is like, and in cycles of an SM what it takes, fitted to measurements of Q4_K on an H200.
struct Costs {
    /// As the kernel is compiled.
    registers: i64,
    most_warps: i64,
    /// A panel's tile and eight columns of a tile of x, where an SM has enough to do.
    panel: i64,
    x: i64,
    /// A tile of a warp that is alone.
    alone: i64,
    /// A block's beginning and end, what each share of its sums adds, and what another block of its cluster does.
    block: i64,
    sums: i64,
    joined: i64,
}

/// Warps of a block at most, as the kernels are compiled.
pub(super) fn most_warps(columns: i64) -> i64 {
    costs(columns).most_warps
}

fn costs(columns: i64) -> Costs {
    let c = |registers, most_warps, [panel, x, alone, block, sums, joined]: [i64; 6]| Costs {
        registers,
        most_warps,
        panel,
        x,
        alone,
        block,
        sums,
        joined,
    };
    match columns {
        16 => c(128, 16, [168, 1, 1471, 5265, 399, 173]),
        32 => c(128, 12, [196, 1, 1760, 4951, 497, 72]),
        _ => c(160, 12, [250, 7, 1945, 6304, 359, 342]),
    }
}

/// Of eight columns of a tile of x, as `x_layout` has it for formats that scale 32 elements and for those that scale 16.
const X_BYTES: [i64; 2] = [8 * 512 + 32 + 256, 8 * 512 + 32 + 512];

/// Shared memory of x.
fn x_bytes(columns: i64) -> i64 {
    columns / 8 * shared_stages(columns) * X_BYTES[1]
}

/// Scratch of either layout, 0 where no weight wants it.
fn scratch(plan: &MatmulPlan, columns: i64) -> [i64; 2] {
    [0, 1].map(|layout| {
        let wanted = plan.parts().any(|part| x_layout(part.weight.dtype) == layout);
        let bytes = ceil_div(plan.rows, columns) * (plan.k / TILE) * (columns / 8) * X_BYTES[layout];
        if wanted { bytes } else { 0 }
    })
}

kernel_args! {
    struct ConvertArgs {
        x: *const u8,
        x_stride: i64,
        tiles: [*mut u8; 2],
        rows: i32,
        k: i32,
        columns: i32,
    } size 48, columns at 40
}

/// Leaves x in the scratch as the products read it.
pub(super) fn convert(plan: &MatmulPlan, x: &View, columns: i64, schedule: &mut Schedule) -> Result<[*const u8; 2]> {
    static KERNEL: Kernel = Kernel::new("matmul_int8_activations", c"reflex_matmul_int8_activations").dependent();
    let tiles = scratch(plan, columns).map(|bytes| match bytes {
        0 => std::ptr::null_mut(),
        _ => schedule.book("x in f16", bytes as usize),
    });
    let args = ConvertArgs {
        x: x.data,
        x_stride: x.stride(0),
        tiles,
        rows: plan.rows as i32,
        k: plan.k as i32,
        columns: (columns / 8) as i32,
    };
    let eights = ceil_div(plan.rows, columns) * (columns / 8);
    schedule.launch(&KERNEL, Grid::new([plan.k / TILE, eights, 1], 64)?, &args);
    Ok(tiles.map(|tiles| tiles.cast_const()))
}

/// Panels of a block, groups of warps that share the tiles of a block along k, blocks that share them. The warps of a group
/// have a panel each and share x.
#[derive(Clone, Copy, Debug)]
struct Cut {
    panels: i64,
    groups: i64,
    cluster: i64,
}

impl Cut {
    fn shared_bytes(&self, ring_bytes: i64, columns: i64) -> i64 {
        let sums = self.groups * self.panels * PANEL * columns * 4;
        let rings = self.panels * ring_bytes + x_bytes(columns);
        sums.max(self.groups * rings)
    }

    /// Cycles that so many blocks take, before they become clusters.
    fn time(&self, blocks: i64, shared_bytes: i64, tiles: i64, limits: &DeviceLimits, columns: i64) -> i64 {
        let costs = costs(columns);
        let by_registers = REGISTERS / (costs.registers * 32 * self.panels * self.groups);
        let shared = shared_bytes + BLOCK_SHARED + STATIC_SHARED;
        let at_once = by_registers
            .min((i64::from(limits.shared_per_block) + BLOCK_SHARED) / shared)
            .max(1);
        let sms = i64::from(limits.sm_count) * IN_CLUSTERS[self.cluster as usize - 1];
        let on_an_sm = ceil_div(blocks * self.cluster * 1000, sms);
        let rounds = ceil_div(on_an_sm, at_once);
        let tiles = ceil_div(tiles, self.groups * self.cluster);
        let x = costs.x * columns / 8;
        let busy = on_an_sm * self.groups * (self.panels * costs.panel + x);
        let alone = rounds * (costs.alone + 2 * x / self.panels);
        // Of several blocks on an SM one begins while others multiply.
        let ends = (costs.block + costs.sums * self.groups * self.cluster) * (at_once + rounds - 1) / at_once;
        tiles * busy.max(alone) + ends + costs.joined * (self.cluster - 1)
    }
}

fn fits(shared_bytes: i64, limits: &DeviceLimits) -> bool {
    shared_bytes + STATIC_SHARED <= i64::from(limits.shared_per_block)
}

/// Thread blocks of so many panels.
fn blocks(plan: &MatmulPlan, panels: i64, columns: i64) -> i64 {
    let (share, parts) = match plan.gate {
        Some(_) => (panels / 2, 1),
        None => (panels, 3),
    };
    let of_parts = plan.parts().take(parts).map(|part| ceil_div(part.n(), PANEL));
    of_parts.map(|panels| ceil_div(panels, share)).sum::<i64>() * ceil_div(plan.rows, columns)
}

/// What takes the least time.
fn cut(plan: &MatmulPlan, limits: &DeviceLimits, columns: i64, ring_bytes: i64, most_cluster: i64) -> Cut {
    let most_warps = most_warps(columns);
    let mut best = smallest(limits);
    if limits.sm_count < CLUSTER_SMS {
        return best;
    }
    let tiles = (plan.k / TILE).max(1);
    let mut least = i64::MAX;
    // Outputs come in blocks of 32; of a gated pair a block makes half of them of each.
    for panels in (4..=most_warps).step_by(4) {
        let blocks = blocks(plan, panels, columns);
        for groups in 1..=(most_warps / panels).min(tiles).min(4) {
            for cluster in 1..=most_cluster.min(8).min(tiles / groups) {
                let cut = Cut {
                    panels,
                    groups,
                    cluster,
                };
                let shared_bytes = cut.shared_bytes(ring_bytes, columns);
                // Clusters are for launches of too few blocks.
                let enough = cluster > 1 && blocks * cluster > 3 * i64::from(limits.sm_count);
                if enough || !fits(shared_bytes, limits) {
                    continue;
                }
                let time = cut.time(blocks, shared_bytes, tiles, limits, columns);
                if time < least {
                    (least, best) = (time, cut);
                }
            }
        }
    }
    best
}

/// What there is always room for where this pays. Of eight panels on few SMs: several such blocks on each of 8 SMs of an H200
/// did most, of any number of rows.
fn smallest(limits: &DeviceLimits) -> Cut {
    Cut {
        panels: if limits.sm_count < CLUSTER_SMS { 8 } else { 4 },
        groups: 1,
        cluster: 1,
    }
}

pub(super) fn columns_of(rows: i64) -> i64 {
    match rows {
        0..=8 => 8,
        9..=16 => 16,
        17..=32 => 32,
        _ => 64,
    }
}

/// What the kernels can multiply.
pub(super) fn takes(plan: &MatmulPlan, limits: &DeviceLimits) -> Takes {
    let columns = columns_of(plan.rows);
    only(columns > 8, "more than 8 rows")?;
    // The two kernels' sums differ in their last bits.
    only(!plan.batch_invariant, "products without REFLEX_MATMUL_BATCH_INVARIANT")?;
    let whole = plan.parts().all(|part| part.weight.packed && part.n() >= PANEL);
    only(whole, "packed weights of 16 rows or more")?;
    only(plan.k / TILE >= 2, "a k of 512 or more")?;
    only(plan.gate.is_none() || alike(plan), "gated pairs of one format")?;
    let bytes = smallest(limits).shared_bytes(Shape::Shared(columns).ring_bytes(plan), columns);
    only(fits(bytes, limits), "devices with more shared memory")
}

/// Whether this is faster than warps on their own, as measured on an H200 and on 8 of its SMs.
pub(super) fn pays(plan: &MatmulPlan, limits: &DeviceLimits) -> Takes {
    let panels: i64 = plan.parts().map(|part| part.n() / PANEL).sum();
    // Without clusters long sums of few outputs leave SMs idle.
    let worth = limits.sm_count < CLUSTER_SMS || limits.sm >= 90 || panels >= 8 * i64::from(limits.sm_count);
    only(worth, "more outputs for so many SMs without clusters")
}

pub(super) fn layout(plan: &MatmulPlan, limits: &DeviceLimits, columns: i64, most_cluster: i64) -> Layout {
    let ring_bytes = Shape::Shared(columns).ring_bytes(plan);
    let cut = cut(plan, limits, columns, ring_bytes, most_cluster);
    let warps = cut.panels * cut.groups;
    let blocks = blocks(plan, cut.panels, columns) * cut.cluster;
    Layout {
        shape: Shape::Shared(columns),
        panels: cut.panels,
        warps,
        cluster: cut.cluster,
        ring_bytes,
        held: warps * ring_bytes,
        shared: cut
            .shared_bytes(ring_bytes, columns)
            .max(exclusive_bytes(blocks, limits)),
    }
}

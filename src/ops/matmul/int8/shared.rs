//! The tiling of products of several rows whose warps share x (kernels/matmul/int8/shared/product.cuh), where such
//! products pay, and the launch that converts x for them.

use super::layout::{Layout, exclusive_bytes};
use super::shape::{Shape, alike, shared_stages, x_layout};
use super::{MatmulPlan, PANEL, TILE};
use crate::abi::{Result, View};
use crate::constants::{
    INT8_CONVERT_THREADS, INT8_SHARED_GROUPS, INT8_SHARED_WARPS, INT8_SHARED32_REGISTERS, INT8_STATIC_SHARED,
    int8_x_bytes,
};
use crate::cuda::DeviceLimits;
use crate::cuda::families::INT8_CONVERT;
use crate::cuda::{Grid, Kernel, ceil_div, kernel_args};
use crate::ops::schedule::{Schedule, Takes, only};

/// The registers of an SM, and the shared memory that each block takes beside what it asks for.
const REGISTERS: i64 = 65536;
const BLOCK_SHARED: i64 = 1024;

/// The costs of a kernel in cycles of an SM.
struct Costs {
    /// A panel's tile and eight columns of a tile of x, where an SM has enough to do.
    panel: i64,
    x: i64,
    /// A tile of a warp that is alone on its SM.
    alone: i64,
    /// A block's beginning and end, each share of its sums, and each further block of its cluster.
    block: i64,
    sums: i64,
    joined: i64,
}

/// The most warps of a block for which the kernel is compiled.
pub(super) fn most_warps(columns: i64) -> i64 {
    INT8_SHARED_WARPS[columns.trailing_zeros() as usize - 4]
}

/// The most registers of a thread with which the kernel is compiled.
fn registers(columns: i64) -> i64 {
    match columns {
        32 => INT8_SHARED32_REGISTERS,
        // What the launch bounds leave a thread: registers come by eights.
        _ => REGISTERS / (most_warps(columns) * 32) / 8 * 8,
    }
}

fn costs(columns: i64, limits: &DeviceLimits) -> Costs {
    let tuning = &limits.tuning.matmul;
    let kernel = match columns {
        16 => 0,
        32 => 1,
        _ => 2,
    };
    Costs {
        panel: tuning.shared_panel[kernel],
        x: tuning.shared_x[kernel],
        alone: tuning.shared_alone[kernel],
        block: tuning.shared_block[kernel],
        sums: tuning.shared_sums[kernel],
        joined: tuning.shared_joined[kernel],
    }
}

/// The bytes of eight columns of a tile of x, in the two layouts of `x_layout`: for formats with scale groups of 32
/// elements, and of 16.
const X_BYTES: [i64; 2] = [int8_x_bytes(32), int8_x_bytes(16)];

/// The bytes of x in shared memory.
fn x_bytes(columns: i64) -> i64 {
    columns / 8 * shared_stages(columns) * X_BYTES[1]
}

/// The bytes of scratch of each layout of x, 0 where no weight reads it.
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

/// Converts x and leaves it in the scratch in the layouts that the products read.
pub(super) fn convert(plan: &MatmulPlan, x: &View, columns: i64, schedule: &mut Schedule) -> Result<[*const u8; 2]> {
    static KERNEL: Kernel = INT8_CONVERT[0].kernel().dependent();
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
    schedule.launch(
        &KERNEL,
        Grid::new([plan.k / TILE, eights, 1], INT8_CONVERT_THREADS as u32)?,
        &args,
    );
    Ok(tiles.map(|tiles| tiles.cast_const()))
}

/// The panels of a block, the groups of warps that divide the tiles of a block along k, and the blocks of a cluster,
/// which divide them, too. The warps of a group have a panel each and share x.
#[derive(Clone, Copy, Debug)]
struct Tiling {
    panels: i64,
    groups: i64,
    cluster: i64,
}

impl Tiling {
    fn shared_bytes(&self, ring_bytes: i64, columns: i64) -> i64 {
        let sums = self.groups * self.panels * PANEL * columns * 4;
        let rings = self.panels * ring_bytes + x_bytes(columns);
        sums.max(self.groups * rings)
    }

    /// The cycles that so many clusters of blocks take.
    fn time(&self, blocks: i64, shared_bytes: i64, tiles: i64, limits: &DeviceLimits, columns: i64) -> i64 {
        let costs = costs(columns, limits);
        let by_registers = REGISTERS / (registers(columns) * 32 * self.panels * self.groups);
        let shared = shared_bytes + BLOCK_SHARED + INT8_STATIC_SHARED;
        let at_once = by_registers
            .min((i64::from(limits.shared_per_block) + BLOCK_SHARED) / shared)
            .max(1);
        let sms = i64::from(limits.sm_count) * limits.tuning.matmul.in_clusters[self.cluster as usize - 1];
        let on_an_sm = ceil_div(blocks * self.cluster * 1000, sms);
        let rounds = ceil_div(on_an_sm, at_once);
        let tiles = ceil_div(tiles, self.groups * self.cluster);
        let x = costs.x * columns / 8;
        let busy = on_an_sm * self.groups * (self.panels * costs.panel + x);
        let alone = rounds * (costs.alone + 2 * x / self.panels);
        // Where an SM runs several blocks, one begins while others multiply.
        let ends = (costs.block + costs.sums * self.groups * self.cluster) * (at_once + rounds - 1) / at_once;
        tiles * busy.max(alone) + ends + costs.joined * (self.cluster - 1)
    }
}

/// On fewer SMs there are enough blocks without clusters, and a part of a device may not have room for a cluster.
fn clusters(limits: &DeviceLimits) -> bool {
    i64::from(limits.sm_count) >= limits.tuning.matmul.cluster_sms
}

fn fits(shared_bytes: i64, limits: &DeviceLimits) -> bool {
    shared_bytes + INT8_STATIC_SHARED <= i64::from(limits.shared_per_block)
}

/// The number of thread blocks of so many panels.
fn blocks(plan: &MatmulPlan, panels: i64, columns: i64) -> i64 {
    let (share, parts) = match plan.gate {
        Some(_) => (panels / 2, 1),
        None => (panels, 3),
    };
    let of_parts = plan.parts().take(parts).map(|part| ceil_div(part.n(), PANEL));
    of_parts.map(|panels| ceil_div(panels, share)).sum::<i64>() * ceil_div(plan.rows, columns)
}

/// The tiling that takes the least time.
fn tiling(plan: &MatmulPlan, limits: &DeviceLimits, columns: i64, ring_bytes: i64, most_cluster: i64) -> Tiling {
    let most_warps = most_warps(columns);
    let mut best = smallest(limits);
    if !clusters(limits) {
        return best;
    }
    let tiles = (plan.k / TILE).max(1);
    let mut least = i64::MAX;
    // Outputs come in blocks of 32; with a gated pair, half of the panels of a thread block are of each weight.
    for panels in (4..=most_warps).step_by(4) {
        let blocks = blocks(plan, panels, columns);
        for groups in 1..=(most_warps / panels).min(tiles).min(INT8_SHARED_GROUPS) {
            for cluster in 1..=most_cluster.min(8).min(tiles / groups) {
                let tiling = Tiling {
                    panels,
                    groups,
                    cluster,
                };
                let shared_bytes = tiling.shared_bytes(ring_bytes, columns);
                // Clusters are for launches of too few blocks.
                let enough =
                    cluster > 1 && blocks * cluster > limits.tuning.matmul.cluster_blocks * i64::from(limits.sm_count);
                if enough || !fits(shared_bytes, limits) {
                    continue;
                }
                let time = tiling.time(blocks, shared_bytes, tiles, limits, columns);
                if time < least {
                    (least, best) = (time, tiling);
                }
            }
        }
    }
    best
}

/// The tiling for which there is always room where this pays.
fn smallest(limits: &DeviceLimits) -> Tiling {
    Tiling {
        panels: match clusters(limits) {
            true => 4,
            false => limits.tuning.matmul.shared_panels,
        },
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

/// Takes what the kernels can multiply.
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

/// Whether this is faster than warps on their own.
pub(super) fn pays(plan: &MatmulPlan, limits: &DeviceLimits) -> Takes {
    let panels: i64 = plan.parts().map(|part| part.n() / PANEL).sum();
    // Without clusters, few outputs with long sums leave SMs idle.
    let least = limits.tuning.matmul.shared_least_panels * i64::from(limits.sm_count);
    let worth = !clusters(limits) || limits.sm >= 90 || panels >= least;
    only(worth, "more outputs for so many SMs without clusters")
}

pub(super) fn layout(plan: &MatmulPlan, limits: &DeviceLimits, columns: i64, most_cluster: i64) -> Layout {
    let ring_bytes = Shape::Shared(columns).ring_bytes(plan);
    let tiling = tiling(plan, limits, columns, ring_bytes, most_cluster);
    let warps = tiling.panels * tiling.groups;
    let blocks = blocks(plan, tiling.panels, columns) * tiling.cluster;
    Layout {
        shape: Shape::Shared(columns),
        panels: tiling.panels,
        warps,
        cluster: tiling.cluster,
        ring_bytes,
        front_bytes: warps * ring_bytes,
        shared: tiling
            .shared_bytes(ring_bytes, columns)
            .max(exclusive_bytes(blocks, limits)),
    }
}

//! The kernels, and which of them a launch gets.

use super::{MatmulPart, MatmulPlan, PANEL, TILE, shared};
use crate::abi::{Dtype, View};
use crate::cuda::ceil_div;
use crate::system::DeviceLimits;

/// The kernels, and what the launch has to know of how each is compiled.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Shape {
    /// One row of x. A warp takes one panel.
    Narrow,
    /// The same of whole panels, with code for the formats of this one of `GROUPS` alone.
    Whole(usize),
    /// The same, where a weight is not packed.
    Native,
    /// One row of x. A warp takes four panels of the smaller formats, two of the larger.
    Wide,
    /// The same of weights that are not packed: two panels.
    WideNative,
    /// Up to so many rows of x times whole panels of the formats of this one of `GROUPS`. A warp takes two.
    Few(usize, i64),
    /// This many rows of x, which every warp converts for itself.
    Columns(i64),
    /// This many rows of x, which a launch in front converts for all warps.
    Shared(i64),
}

impl Shape {
    pub(super) fn columns(self) -> i64 {
        match self {
            Shape::Few(_, n) | Shape::Columns(n) | Shape::Shared(n) => n,
            _ => 1,
        }
    }

    /// Panels that a warp takes.
    pub(super) fn panels(self, weight: &View) -> i64 {
        match self {
            Shape::Narrow | Shape::Whole(_) | Shape::Native | Shape::Shared(_) => 1,
            Shape::Few(..) => 2,
            Shape::Wide if tile_bytes(weight.dtype) <= 2560 => 4,
            _ => 2,
        }
    }

    /// Tiles of a panel that a warp keeps on the way.
    pub(super) fn stages(self, dtype: Dtype) -> i64 {
        match self {
            Shape::Shared(columns) => shared::stages(columns),
            Shape::Narrow | Shape::Whole(_) | Shape::Native => 3,
            // Where two blocks of them fit an SM of 164 KB.
            Shape::WideNative if staged_bytes(dtype) <= 3456 => 3,
            _ => 2,
        }
    }

    /// What a warp keeps of a panel's 256 columns.
    pub(super) fn kept_bytes(self, part: &MatmulPart) -> i64 {
        let (packed, staged) = (tile_bytes(part.weight.dtype), staged_bytes(part.weight.dtype));
        match self {
            Shape::WideNative => staged,
            // Rows of packed weights that fill no panel are native.
            Shape::Native if !part.weight.packed => staged,
            Shape::Native if part.n() % PANEL != 0 => packed.max(staged),
            _ => packed,
        }
    }

    /// Shared memory of a warp's ring, which has room for any part.
    pub(super) fn ring_bytes(self, plan: &MatmulPlan) -> i64 {
        plan.parts()
            .map(|part| {
                let dtype = part.weight.dtype;
                let (panels, stages) = (self.panels(&part.weight), self.stages(dtype));
                let weights = stages * panels * self.kept_bytes(part);
                match self {
                    Shape::Few(_, columns) => weights + stages * columns * FEW_X_ROW + panels * exchanged_bytes(dtype),
                    _ => weights,
                }
            })
            .max()
            .unwrap_or(0)
    }

    /// Shared memory in which a warp adds up, beside its ring.
    pub(super) fn held_bytes(self) -> i64 {
        match self {
            Shape::Columns(columns) => 2 * PANEL * columns * 4,
            _ => 0,
        }
    }

    pub(super) fn of(plan: &MatmulPlan, limits: &DeviceLimits) -> Shape {
        match plan.rows {
            1 if !plan.batch_invariant => {
                let packed = plan.parts().all(|part| part.weight.packed);
                let native = plan.parts().all(|part| !part.weight.packed);
                match wide_fits(plan, limits) {
                    true if packed => Shape::Wide,
                    true if native => Shape::WideNative,
                    _ if packed => whole(plan),
                    _ => Shape::Native,
                }
            }
            rows => {
                let columns = shared::columns_of(rows);
                if let Some(group) = few(plan, limits, columns) {
                    return Shape::Few(group, columns);
                }
                match shared::pays(plan, limits, columns) {
                    true => Shape::Shared(columns),
                    false => Shape::Columns(columns),
                }
            }
        }
    }
}

/// The kernels of `Shape::Whole`: formats that files mix in one launch. Of those that have a launch's formats it takes the first.
const GROUPS: [&[Dtype]; 12] = [
    &[Dtype::Q4_K, Dtype::Q6_K],
    &[Dtype::Q5_K, Dtype::Q6_K],
    &[Dtype::Q3_K, Dtype::Q5_K],
    &[Dtype::Q2_K, Dtype::Q3_K],
    &[Dtype::IQ4_XS, Dtype::Q5_K],
    &[Dtype::IQ4_NL],
    &[Dtype::MXFP4],
    &[Dtype::Q4_0],
    &[Dtype::Q4_1],
    &[Dtype::Q5_0],
    &[Dtype::Q5_1],
    &[Dtype::Q8_0],
];
/// Instead of the first, of one row, Q4_K alone and a long k: where k is short, code that other launches of a token have fetched is
/// worth more than the registers it takes.
pub(super) const Q4_K_ALONE: usize = GROUPS.len();

/// Which of `GROUPS` multiplies these packed weights, if blocks of so many panels have nothing but whole ones.
fn group(plan: &MatmulPlan, panels: i64) -> Option<usize> {
    let outputs = PANEL * panels / if plan.gate.is_some() { 2 } else { 1 };
    if plan.k % TILE != 0 || plan.parts().any(|part| part.n() % outputs != 0) {
        return None;
    }
    GROUPS
        .iter()
        .position(|formats| plan.parts().all(|part| formats.contains(&part.weight.dtype)))
}

/// More tiles than the rings of a block's eight warps hold.
pub(super) fn long(plan: &MatmulPlan) -> bool {
    ceil_div(plan.k, TILE) > 24
}

/// Which kernel multiplies one row with these packed weights.
fn whole(plan: &MatmulPlan) -> Shape {
    let q4_k = plan.parts().all(|part| part.weight.dtype == Dtype::Q4_K);
    match group(plan, least_panels(plan)) {
        Some(_) if q4_k && long(plan) => Shape::Whole(Q4_K_ALONE),
        Some(group) => Shape::Whole(group),
        None => Shape::Narrow,
    }
}

/// As `few_x::ROW`: a row's 256 elements of x in shared memory.
const FEW_X_ROW: i64 = TILE + 8 * 8 + 32;

/// As `few_scales::BYTES`: scales of a panel's tile, which the lanes of a warp exchange.
fn exchanged_bytes(dtype: Dtype) -> i64 {
    let group = if shared::x_layout(dtype) == 0 { 32 } else { 16 };
    PANEL * TILE / group * 4
}

/// Panels of a block whose warps take two, both of one weight unless the pair is alike.
pub(super) fn paired_panels(plan: &MatmulPlan) -> i64 {
    match plan.gate {
        Some(_) if !alike(plan) => 4,
        _ => least_panels(plan).max(2),
    }
}

/// Thread blocks of so many panels.
pub(super) fn blocks(plan: &MatmulPlan, panels: i64) -> i64 {
    plan.parts().map(|part| ceil_div(part.n(), PANEL * panels)).sum()
}

/// Which of `GROUPS` multiplies a few rows of x with these packed weights, where it is faster than warps that share x, as measured
/// on an H200 and on 8 of its SMs.
fn few(plan: &MatmulPlan, limits: &DeviceLimits, columns: i64) -> Option<usize> {
    let (panels, sms) = (paired_panels(plan), i64::from(limits.sm_count));
    let worth = match columns {
        8 => true,
        // Many panels are more instructions than one conversion of x saves.
        16 => limits.sm_count < shared::CLUSTER_SMS || blocks(plan, panels) <= 2 * sms,
        _ => false,
    };
    let packed = plan.parts().all(|part| part.weight.packed);
    if limits.sm < 80 || !worth || !packed || plan.batch_invariant {
        return None;
    }
    group(plan, panels)
}

/// Panels that a block makes at least: a block of ACT_I8 is 32 outputs, and a gated pair takes twice the panels for the same outputs.
pub(super) fn least_panels(plan: &MatmulPlan) -> i64 {
    let quantised = plan.normed.is_some() || plan.parts().any(|part| part.y.dtype == Dtype::ACT_I8);
    let least = if quantised { 2 } else { 1 };
    if plan.gate.is_some() { 2 * least } else { least }
}

/// A panel's 256 columns.
pub(super) fn tile_bytes(dtype: Dtype) -> i64 {
    PANEL * TILE / dtype.block_elements() as i64 * dtype.block_bytes() as i64
}

/// The same of native rows in a ring: for each the 16-byte words that cover it wherever it begins, an odd number of them.
pub(super) fn staged_bytes(dtype: Dtype) -> i64 {
    let align = (16 | dtype.block_bytes() as i64).trailing_zeros();
    let words = (tile_bytes(dtype) / PANEL + 30 - (1 << align)) / 16;
    PANEL * (words | 1) * 16
}

/// Enough blocks for every SM, and a pair that one warp can take together.
fn wide_fits(plan: &MatmulPlan, limits: &DeviceLimits) -> bool {
    let panels: i64 = plan.parts().map(|part| ceil_div(part.n(), PANEL)).sum();
    // On many SMs time is lost while a launch begins and ends: many small warps shorten that.
    let blocks = if limits.sm_count > 32 { 4 } else { 2 };
    (plan.gate.is_none() || alike(plan)) && panels >= blocks * 4 * i64::from(limits.sm_count)
}

/// One warp can take panels of both weights of a pair.
pub(super) fn alike(plan: &MatmulPlan) -> bool {
    let first = &plan.first().weight;
    plan.parts()
        .all(|part| part.weight.dtype == first.dtype && part.weight.packed == first.packed)
}

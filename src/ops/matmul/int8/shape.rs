//! The int8 kernels, and what a launch has to know of how each is compiled.

use super::{MatmulPart, MatmulPlan, PANEL, TILE};
use crate::abi::{Dtype, View};
use crate::constants::*;

/// The int8 kernels by their tile shape.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Shape {
    /// One row of x. A warp takes one panel.
    Narrow,
    /// The same for complete panels, with code for the formats of this one of `GROUPS` alone.
    Whole(usize),
    /// The same, where a weight is not packed.
    Native,
    /// One row of x. A warp takes four panels of the smaller formats, two of the larger.
    Wide,
    /// The same for weights that are not packed, with two panels for each warp.
    WideNative,
    /// Up to so many rows of x, and complete panels of the formats of this one of `GROUPS`. A warp takes two panels.
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
            Shape::Few(..) => INT8_FEW_PANELS,
            Shape::Wide if tile_bytes(weight.dtype) <= INT8_WIDE_TILE_BYTES => INT8_WIDE_PANELS,
            Shape::Wide | Shape::WideNative => INT8_WIDE_LARGE_PANELS,
            Shape::Columns(_) => INT8_COLUMNS_PANELS,
        }
    }

    /// The number of stages in a warp's ring: tiles of a panel that are in flight.
    pub(super) fn stages(self, dtype: Dtype) -> i64 {
        match self {
            Shape::Shared(columns) => shared_stages(columns),
            Shape::Narrow | Shape::Whole(_) | Shape::Native => INT8_NARROW_STAGES,
            // Three stages are used where two blocks with them fit an SM of 164 KB.
            Shape::WideNative if staged_bytes(dtype) <= INT8_WIDE_NATIVE_BYTES => INT8_WIDE_NATIVE_STAGES,
            Shape::Wide | Shape::WideNative => INT8_WIDE_STAGES,
            Shape::Few(..) => INT8_FEW_STAGES,
            Shape::Columns(_) => INT8_COLUMNS_STAGES,
        }
    }

    /// The bytes of a stage: a panel's 256 columns.
    pub(super) fn stage_bytes(self, part: &MatmulPart) -> i64 {
        let (packed, staged) = (tile_bytes(part.weight.dtype), staged_bytes(part.weight.dtype));
        match self {
            Shape::WideNative => staged,
            // Rows of packed weights that fill no panel are native.
            Shape::Native if !part.weight.packed => staged,
            Shape::Native if part.n() % PANEL != 0 => packed.max(staged),
            _ => packed,
        }
    }

    /// The bytes of a warp's ring, which has room for any part.
    pub(super) fn ring_bytes(self, plan: &MatmulPlan) -> i64 {
        plan.parts()
            .map(|part| {
                let dtype = part.weight.dtype;
                let (panels, stages) = (self.panels(&part.weight), self.stages(dtype));
                let weights = stages * panels * self.stage_bytes(part);
                match self {
                    Shape::Few(_, columns) => {
                        weights + stages * columns * INT8_FEW_X_ROW + panels * int8_few_scale_bytes(scale_group(dtype))
                    }
                    _ => weights,
                }
            })
            .max()
            .unwrap_or(0)
    }

    /// The bytes of shared memory in which a warp adds up its sums, beside its ring.
    pub(super) fn sum_bytes(self) -> i64 {
        match self {
            Shape::Columns(columns) => INT8_COLUMNS_PANELS * PANEL * columns * 4,
            _ => 0,
        }
    }
}

/// The tiles in flight where warps share so many columns of x.
pub(super) fn shared_stages(columns: i64) -> i64 {
    INT8_SHARED_STAGES[columns as usize / 32]
}

/// The one of the two layouts of x that a format reads.
pub(super) fn x_layout(dtype: Dtype) -> usize {
    dtype
        .block()
        .map_or(0, |format| usize::from(format.scale_group() == 16))
}

/// The elements that share a scale.
fn scale_group(dtype: Dtype) -> i64 {
    if x_layout(dtype) == 0 { 32 } else { 16 }
}

/// The bytes of a panel's 256 columns.
pub(super) fn tile_bytes(dtype: Dtype) -> i64 {
    PANEL * TILE / dtype.block_elements() as i64 * dtype.block_bytes() as i64
}

/// The bytes of the same columns of native rows in a ring. Each row takes the 16-byte words that cover it wherever it
/// begins, and an odd number of them.
pub(super) fn staged_bytes(dtype: Dtype) -> i64 {
    let align = 1 << (16 | dtype.block_bytes() as i64).trailing_zeros();
    int8_staged_bytes(tile_bytes(dtype) / PANEL, align)
}

/// Whether one warp can take panels of both weights of a pair.
pub(super) fn alike(plan: &MatmulPlan) -> bool {
    let first = &plan.first().weight;
    plan.parts()
        .all(|part| part.weight.dtype == first.dtype && part.weight.packed == first.packed)
}

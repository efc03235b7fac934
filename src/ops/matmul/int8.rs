//! Int8 products on the tensor cores: all weights of a call in one launch, whatever their formats.

use super::{MatmulPart, MatmulPlan};
use crate::abi::{Dtype, Result, View};
use crate::constants::{ACT_I8_BLOCK, ACT_I8_RECORD, INT8_WARPS, PANEL_ROWS, PANEL_TILE};
use crate::cuda::families::*;
use crate::cuda::{Grid, Instance, Kernel, ceil_div, kernel_args};
use crate::ops::norm::{Norm, NormPlan};
use crate::ops::quantize::{Quantize, QuantizePlan};
use crate::ops::schedule::Schedule;
use layout::Layout;
pub(super) use select::{COUNT, and_others};
use select::{GROUPS, Q4_K_ALONE};
use shape::{Shape, tile_bytes};

const PANEL: i64 = PANEL_ROWS;
const TILE: i64 = PANEL_TILE;
/// The most warps of a block for which the kernels are compiled. Those with a single panel per warp take more.
const WARPS: i64 = INT8_WARPS;

/// The kernels of a family of `kernels/instances.def`.
const fn kernels<const N: usize>(family: &[Instance; N]) -> [Kernel; N] {
    let mut all = [const { Kernel::none() }; N];
    let mut i = 0;
    while i < N {
        all[i] = family[i].kernel().dependent().large_shared().clusters();
        i += 1;
    }
    all
}

/// A kernel for each of `GROUPS`.
static WHOLE: [Kernel; GROUPS.len()] = kernels(&INT8_NARROW_GROUPS);
static FEW8: [Kernel; GROUPS.len()] = kernels(&INT8_FEW8);
static FEW16: [Kernel; GROUPS.len()] = kernels(&INT8_FEW16);
static Q4_K_ONLY: [Kernel; 1] = kernels(&INT8_NARROW_Q4_K);
static NARROW: [Kernel; 1] = kernels(&INT8_VECTOR_NARROW);
static NATIVE: [Kernel; 1] = kernels(&INT8_VECTOR_NATIVE);
static WIDE: [Kernel; 1] = kernels(&INT8_VECTOR_WIDE);
static WIDE_NATIVE: [Kernel; 1] = kernels(&INT8_VECTOR_WIDE_NATIVE);
/// They take 8, 16, 32 and 64 rows of x.
static COLUMNS: [Kernel; 4] = kernels(&INT8_COLUMNS);
/// They take 16, 32 and 64 rows of x.
static SHARED: [Kernel; 3] = kernels(&INT8_SHARED);

impl Shape {
    fn kernel(self) -> &'static Kernel {
        // The indices of 8, 16, 32 and 64 columns are 0 to 3.
        let step = |columns: i64| columns.trailing_zeros() as usize - 3;
        match self {
            Shape::Narrow => &NARROW[0],
            Shape::Native => &NATIVE[0],
            Shape::Wide => &WIDE[0],
            Shape::WideNative => &WIDE_NATIVE[0],
            Shape::Whole(Q4_K_ALONE) => &Q4_K_ONLY[0],
            Shape::Whole(group) => &WHOLE[group],
            Shape::Few(group, 8) => &FEW8[group],
            Shape::Few(group, _) => &FEW16[group],
            Shape::Columns(columns) => &COLUMNS[step(columns)],
            Shape::Shared(columns) => &SHARED[step(columns) - 1],
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Int8Part {
    weight: *const u8,
    bias: *const u8,
    residual: *const u8,
    y: *mut u8,
    weight_stride: i64,
    residual_stride: i64,
    y_stride: i64,
    weight_type: u32,
    bias_type: u32,
    residual_type: u32,
    y_type: u32,
    n: i32,
    first_block: i32,
    tile_bytes: i32,
    splits: i32,
}

kernel_args! {
    struct Int8Args {
        x: *const u8,
        x_stride: i64,
        x_squares: *const u8,
        x_squares_stride: i64,
        x_tiles: [*const u8; 2],
        part: [Int8Part; 3],
        y_norm: *const u8,
        y_normed: *mut u8,
        y_squares: *mut u8,
        y_normed_stride: i64,
        y_squares_stride: i64,
        y_norm_type: u32,
        epsilon: f32,
        rows: i32,
        k: i32,
        parts: i32,
        gate: i32,
        panels: i32,
        prefetch: i32,
        ring_bytes: i32,
        front_bytes: i32,
    } size 392, front_bytes at 388
}

/// The bytes of a row of the quantised x.
fn quantised_stride(plan: &MatmulPlan) -> i64 {
    (plan.k + plan.k / ACT_I8_BLOCK * ACT_I8_RECORD + 15) / 16 * 16
}

/// The bytes of the quantised x, where the caller gives a floating-point one.
fn quantised_bytes(plan: &MatmulPlan) -> i64 {
    match plan.x.dtype {
        Dtype::ACT_I8 => 0,
        _ => plan.rows * quantised_stride(plan),
    }
}

/// Adds the launches of a product with the tiling of `shape`.
fn schedule(p: &MatmulPlan, shape: Shape, to: &mut Schedule) -> Result<()> {
    let kernel = shape.kernel();
    let layout = Layout::new(p, shape, to.limits(), to.device.most_cluster(kernel)?);
    let scratch = to.book("x in 8 bits", quantised_bytes(p) as usize);
    let x = match p.x.dtype {
        Dtype::ACT_I8 => p.x,
        // Nothing of it is read, and there is no scratch for a quantised x.
        _ if p.k == 0 => p.x,
        _ => {
            let y = p.x.matrix_at(scratch, Dtype::ACT_I8, quantised_stride(p));
            match p.norm {
                Some(norm) => to.add::<Norm>(&NormPlan::of(p.x, Some(norm), p.norm_epsilon, y)?)?,
                None => to.add::<Quantize>(&QuantizePlan::of(p.x, y)?)?,
            }
            y
        }
    };
    // SAFETY: plain data, valid when zero.
    let mut args: Int8Args = unsafe { std::mem::zeroed() };
    args.x = x.data;
    args.x_stride = x.stride(0);
    if let Shape::Shared(columns) = layout.shape {
        args.x_tiles = shared::convert(p, &x, columns, to)?;
    }
    args.rows = p.rows as i32;
    args.k = p.k as i32;
    args.gate = p.gate.map_or(0, |kind| 1 + kind.0 as i32);
    args.panels = layout.panels as i32;
    args.prefetch = i32::from(p.constant_weights);
    args.ring_bytes = layout.ring_bytes as i32;
    args.front_bytes = layout.front_bytes as i32;
    args.epsilon = p.norm_epsilon;
    // With a k of 0 the sums are 0, whatever they are divided by.
    if let Some(squares) = p.x_squares.as_ref().filter(|_| p.k > 0) {
        args.x_squares = squares.data;
        args.x_squares_stride = squares.stride(0);
    }
    if let Some(normed) = &p.normed {
        args.y_norm = normed.weight.data;
        args.y_norm_type = normed.weight.dtype.abi().0;
        args.y_normed = normed.y.data;
        args.y_normed_stride = normed.y.stride(0);
        args.y_squares = normed.squares.data;
        args.y_squares_stride = normed.squares.stride(0);
    }
    let data = |v: &Option<View>| v.map_or(std::ptr::null(), |v| v.data.cast_const());
    let dtype = |v: &Option<View>| v.map_or(0, |v| v.dtype.abi().0);
    // A block takes half of its panels from each weight of a gated pair.
    let share = if p.gate.is_some() {
        layout.panels / 2
    } else {
        layout.panels
    };
    let mut blocks = 0;
    for (slot, part) in args.part.iter_mut().zip(p.parts()) {
        *slot = Int8Part {
            weight: part.weight.data,
            bias: data(&part.bias),
            residual: data(&part.residual),
            y: part.y.data,
            weight_stride: part.weight.stride(0),
            residual_stride: part.residual.map_or(0, |v| v.stride(0)),
            y_stride: part.y.stride(0),
            weight_type: part.weight.dtype.abi().0,
            bias_type: dtype(&part.bias),
            residual_type: dtype(&part.residual),
            y_type: part.y.dtype.abi().0,
            n: part.n() as i32,
            first_block: blocks as i32,
            tile_bytes: if part.weight.packed {
                tile_bytes(part.weight.dtype) as i32
            } else {
                0
            },
            splits: layout.splits(part) as i32,
        };
        args.parts += 1;
        if p.gate.is_none() || args.parts == 1 {
            blocks += ceil_div(ceil_div(part.n(), PANEL), share);
        }
    }
    let grid = Grid::new(
        [blocks * layout.cluster, ceil_div(p.rows, layout.shape.columns()), 1],
        layout.warps as u32 * 32,
    )?;
    let grid = grid.shared(layout.shared as u32).cluster(layout.cluster as u32);
    to.main(kernel, grid, &args);
    Ok(())
}

mod layout;
mod select;
mod shape;
mod shared;
#[cfg(test)]
mod tests;

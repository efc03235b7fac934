//! Int8 products on the tensor cores: all weights of a call in one launch, whatever their formats.

use super::{MatmulPart, MatmulPlan};
use crate::abi::{Dtype, Result, View};
use crate::cuda::{Grid, Kernel, ceil_div, kernel_args, symbol};
use crate::ops::norm::{Norm, NormPlan};
use crate::ops::quantize::{Quantize, QuantizePlan};
use crate::ops::schedule::Schedule;
use layout::Layout;
pub(super) use select::CANDIDATES;
use select::{GROUPS, Q4_K_ALONE};
use shape::{Shape, tile_bytes};
use std::ffi::CStr;

const PANEL: i64 = 16;
const TILE: i64 = 256;
/// The most static shared memory that a kernel has beside the dynamic one of its launch.
const STATIC_SHARED: i64 = 1024;
/// The most warps of a block for which the kernels are compiled. Those with a single panel per warp take more.
#[cfg(test)]
const WARPS: i64 = 8;

const fn kernel(file: &'static str, symbol: &'static CStr) -> Kernel {
    Kernel::new(file, symbol).dependent().large_shared().clusters()
}

/// A kernel for each of `GROUPS`.
macro_rules! of_groups {
    ($file:literal: $($group:literal)*) => {
        [$(kernel($file, symbol(concat!("reflex_", $file, "_", $group, "\0")))),*]
    };
}
macro_rules! narrow_of_groups {
    ($({ $group:literal $($NAME:ident)* })*) => { of_groups!("matmul_int8_narrow": $($group)*) };
}
macro_rules! few8_of_groups {
    ($({ $group:literal $($NAME:ident)* })*) => { of_groups!("matmul_int8_few8": $($group)*) };
}
macro_rules! few16_of_groups {
    ($({ $group:literal $($NAME:ident)* })*) => { of_groups!("matmul_int8_few16": $($group)*) };
}

static WHOLE: [Kernel; GROUPS.len()] = int8_groups!(narrow_of_groups);
static FEW8: [Kernel; GROUPS.len()] = int8_groups!(few8_of_groups);
static FEW16: [Kernel; GROUPS.len()] = int8_groups!(few16_of_groups);
static Q4_K_ONLY: Kernel = kernel("matmul_int8_narrow", c"reflex_matmul_int8_narrow_q4_k");
static NARROW: Kernel = kernel("matmul_int8_vector", c"reflex_matmul_int8_vector_narrow");
static NATIVE: Kernel = kernel("matmul_int8_native", c"reflex_matmul_int8_vector_native");
static WIDE: Kernel = kernel("matmul_int8_wide", c"reflex_matmul_int8_vector_wide");
static WIDE_NATIVE: Kernel = kernel("matmul_int8_wide_native", c"reflex_matmul_int8_vector_wide_native");
/// They take 8, 16, 32 and 64 rows of x.
static COLUMNS: [Kernel; 4] = [
    kernel("matmul_int8_columns8", c"reflex_matmul_int8_columns8"),
    kernel("matmul_int8_columns16", c"reflex_matmul_int8_columns16"),
    kernel("matmul_int8_columns32", c"reflex_matmul_int8_columns32"),
    kernel("matmul_int8_columns64", c"reflex_matmul_int8_columns64"),
];
/// They take 16, 32 and 64 rows of x.
static SHARED: [Kernel; 3] = [
    kernel("matmul_int8_shared16", c"reflex_matmul_int8_shared16"),
    kernel("matmul_int8_shared32", c"reflex_matmul_int8_shared32"),
    kernel("matmul_int8_shared64", c"reflex_matmul_int8_shared64"),
];

impl Shape {
    fn kernel(self) -> &'static Kernel {
        // The indices of 8, 16, 32 and 64 columns are 0 to 3.
        let step = |columns: i64| columns.trailing_zeros() as usize - 3;
        match self {
            Shape::Narrow => &NARROW,
            Shape::Native => &NATIVE,
            Shape::Wide => &WIDE,
            Shape::WideNative => &WIDE_NATIVE,
            Shape::Whole(Q4_K_ALONE) => &Q4_K_ONLY,
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
        held: i32,
    } size 392, held at 388
}

/// The bytes of a row of the quantised x.
fn quantised_stride(plan: &MatmulPlan) -> i64 {
    (plan.k / 32 * 40 + 15) / 16 * 16
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
    args.held = layout.front_bytes as i32;
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

//! The op `softmax`: exponentials of rows, divided by their sum, or the logarithms of these.

use super::call;
use super::fields::{expect_not_negative, expect_reserved};
use super::op::Op;
use super::operands::{InPlace, Operands};
use super::rows::{FOR_VEC8, Rows, data, dtype, vec8};
use super::schedule::{Candidate, Schedule, Takes, only};
use crate::abi::{Dtype, Error, Params, Result, View, reflex_status, reflex_stream, reflex_tensor};
use crate::constants::{
    SOFTMAX_BLOCK_COLUMNS, SOFTMAX_BLOCK_THREADS, SOFTMAX_LONG_THREADS, SOFTMAX_WARP_COLUMNS, SOFTMAX_WARPS,
};
use crate::cuda::{Grid, Kernel, ceil_div, kernel_args};
use crate::runtime::reflex_context;
use std::ffi::c_char;

/// y is the natural logarithm of the softmax.
pub const REFLEX_SOFTMAX_LOG: u32 = 1;
/// Row i of the T rows along the second-last dimension sees the columns 0 ..= n - T + i, as a query of
/// `reflex_attention` sees its keys. The columns behind are not read.
pub const REFLEX_SOFTMAX_CAUSAL: u32 = 2;

const FLAGS: u32 = REFLEX_SOFTMAX_LOG | REFLEX_SOFTMAX_CAUSAL;

/// Operands of `reflex_softmax`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_softmax_params {
    pub struct_size: u32,
    /// `REFLEX_SOFTMAX_*` bits.
    pub flags: u32,
    /// The factor of `x`. It is finite and not negative; 0 selects 1.
    pub scale: f32,
    pub reserved: u32,
    /// `[.., n]`, rank 1 to 4, F32, F16 or BF16; rows are dense, outer strides are free.
    pub x: reflex_tensor,
    /// Optional, `[.., n]`, F32, F16 or BF16, which is added to the scaled `x`. Its rank is at most that of `x`. Each of
    /// its outer dimensions, counted from the last one, is that of `x`, or 1 for one that serves all. Where it is minus
    /// infinity the column is masked.
    pub mask: reflex_tensor,
    /// The shape of `x`, F32, F16 or BF16. It may be `x` itself.
    pub y: reflex_tensor,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_softmax_params {
    const MIN_SIZE: usize = 256;
}

#[derive(Clone, Copy)]
pub(crate) struct SoftmaxPlan {
    pub rows: Rows,
    pub n: i64,
    pub scale: f32,
    pub log: bool,
    pub causal: bool,
    pub x: View,
    pub mask: Option<View>,
    pub y: View,
}

impl SoftmaxPlan {
    fn vec8(&self) -> bool {
        vec8([Some(&self.x), self.mask.as_ref(), Some(&self.y)])
    }

    fn fits_warp(&self) -> Takes {
        only(self.n <= SOFTMAX_WARP_COLUMNS, "rows of at most 1024 elements")
    }

    fn fits_block(&self) -> Takes {
        only(self.n <= SOFTMAX_BLOCK_COLUMNS, "rows of at most 8192 elements")
    }

    /// The byte strides of the mask along the outer dimensions of `x`: 0 where one row serves all.
    pub fn mask_strides(&self) -> [i64; 3] {
        self.mask.as_ref().map_or([0; 3], |mask| {
            let mut strides = Rows::strides(mask);
            let outer = mask.rank() - 1;
            (0..outer)
                .filter(|&i| mask.dim(i) <= 1)
                .for_each(|i| strides[3 - outer + i] = 0);
            strides
        })
    }
}

pub(crate) struct Softmax;

/// Checks that a mask goes with `x`.
fn check_mask(mask: &View, x: &View) -> Result<()> {
    mask.expect_dtype(Dtype::FLOATS)?
        .expect_rank(1..=x.rank())?
        .expect_dense_rows()?;
    let last = mask.rank() - 1;
    let of_x = &x.dims()[x.rank() - mask.rank()..];
    let fits = |i: usize| mask.dim(i) == of_x[i] || i < last && mask.dim(i) == 1;
    match (0..=last).all(fits) {
        true => Ok(()),
        false => Err(mask.invalid(format!(
            "shape is {:?}, expected {of_x:?} (of x), or 1 in place of a dimension before the last",
            mask.dims()
        ))),
    }
}

impl Op for Softmax {
    const NAME: &'static str = "softmax";
    type Params = reflex_softmax_params;
    type Plan = SoftmaxPlan;

    fn plan(p: &reflex_softmax_params) -> Result<SoftmaxPlan> {
        if p.flags & !FLAGS != 0 {
            return Err(Error::invalid(format!(
                "flags is {:#x}, expected REFLEX_SOFTMAX_* bits ({FLAGS:#x})",
                p.flags
            )));
        }
        expect_not_negative("scale", p.scale)?;
        expect_reserved(p.reserved)?;
        let x = View::required("x", &p.x)?;
        x.expect_dtype(Dtype::FLOATS)?.expect_dense_rows()?;
        let mask = View::optional("mask", &p.mask)?;
        mask.iter().try_for_each(|mask| check_mask(mask, &x))?;
        let y = View::required("y", &p.y)?;
        y.expect_dtype(Dtype::FLOATS)?
            .expect_shape(x.dims(), "the shape of x")?
            .expect_dense_rows()?;
        Ok(SoftmaxPlan {
            rows: Rows::of(&x)?,
            n: x.last_dim(),
            scale: if p.scale == 0.0 { 1.0 } else { p.scale },
            log: p.flags & REFLEX_SOFTMAX_LOG != 0,
            causal: p.flags & REFLEX_SOFTMAX_CAUSAL != 0,
            x,
            mask,
            y,
        })
    }

    fn operands<'a>(plan: &'a SoftmaxPlan, to: &mut Operands<'a>) {
        to.read(&plan.x).read(plan.mask.as_ref());
        to.write(&plan.y, InPlace::of(&["x"]));
    }

    fn is_empty(plan: &SoftmaxPlan) -> bool {
        plan.x.is_empty()
    }

    fn candidates() -> &'static [Candidate<SoftmaxPlan>] {
        &CANDIDATES
    }
}

static WARP_VEC8: Kernel = Kernel::new("softmax", c"reflex_softmax_warp_vec8").dependent();
static WARP: Kernel = Kernel::new("softmax", c"reflex_softmax_warp").dependent();
static BLOCK_VEC8: Kernel = Kernel::new("softmax", c"reflex_softmax_block_vec8").dependent();
static BLOCK: Kernel = Kernel::new("softmax", c"reflex_softmax_block").dependent();
static LONG_VEC8: Kernel = Kernel::new("softmax", c"reflex_softmax_long_vec8").dependent();
static LONG: Kernel = Kernel::new("softmax", c"reflex_softmax_long").dependent();

static CANDIDATES: [Candidate<SoftmaxPlan>; 6] = [
    Candidate::new(
        "warp_vec8",
        |p, _| p.fits_warp().and(only(p.vec8(), FOR_VEC8)),
        |p, to| schedule_warp(p, to, &WARP_VEC8),
    ),
    Candidate::new("warp", |p, _| p.fits_warp(), |p, to| schedule_warp(p, to, &WARP)),
    Candidate::new(
        "block_vec8",
        |p, _| p.fits_block().and(only(p.vec8(), FOR_VEC8)),
        |p, to| schedule_block(p, to, &BLOCK_VEC8, 8, SOFTMAX_BLOCK_THREADS),
    ),
    Candidate::new(
        "block",
        |p, _| p.fits_block(),
        |p, to| schedule_block(p, to, &BLOCK, 4, SOFTMAX_BLOCK_THREADS),
    ),
    Candidate::new(
        "long_vec8",
        |p, _| only(p.vec8(), FOR_VEC8),
        |p, to| schedule_block(p, to, &LONG_VEC8, 8, SOFTMAX_LONG_THREADS),
    ),
    Candidate::new(
        "long",
        |_, _| Ok(()),
        |p, to| schedule_block(p, to, &LONG, 4, SOFTMAX_LONG_THREADS),
    ),
];

kernel_args! {
    struct SoftmaxArgs {
        x: *const u8,
        mask: *const u8,
        y: *mut u8,
        x_stride: [i64; 3],
        mask_stride: [i64; 3],
        y_stride: [i64; 3],
        rows: u32,
        extent1: i32,
        extent2: i32,
        n: i32,
        x_type: u32,
        mask_type: u32,
        y_type: u32,
        log: u32,
        causal: u32,
        scale: f32,
    } size 136, scale at 132
}

impl SoftmaxArgs {
    fn new(p: &SoftmaxPlan) -> SoftmaxArgs {
        SoftmaxArgs {
            x: p.x.data,
            mask: data(&p.mask),
            y: p.y.data,
            x_stride: Rows::strides(&p.x),
            mask_stride: p.mask_strides(),
            y_stride: Rows::strides(&p.y),
            rows: p.rows.count as u32,
            extent1: p.rows.extent[1],
            extent2: p.rows.extent[2],
            n: p.n as i32,
            x_type: p.x.dtype.abi().0,
            mask_type: dtype(&p.mask),
            y_type: p.y.dtype.abi().0,
            log: u32::from(p.log),
            causal: u32::from(p.causal),
            scale: p.scale,
        }
    }
}

/// A warp for each row.
fn schedule_warp(p: &SoftmaxPlan, to: &mut Schedule, kernel: &'static Kernel) -> Result<()> {
    let grid = Grid::new([ceil_div(p.rows.count, SOFTMAX_WARPS), 1, 1], SOFTMAX_WARPS as u32 * 32)?;
    to.main(kernel, grid, &SoftmaxArgs::new(p));
    Ok(())
}

/// A block for each row, of as many threads as have `per_thread` elements, up to `most`.
fn schedule_block(
    p: &SoftmaxPlan,
    to: &mut Schedule,
    kernel: &'static Kernel,
    per_thread: i64,
    most: i64,
) -> Result<()> {
    let threads = (ceil_div(p.n, per_thread * 32) * 32).clamp(32, most);
    let grid = Grid::new([p.rows.count, 1, 1], threads as u32)?;
    to.main(kernel, grid, &SoftmaxArgs::new(p));
    Ok(())
}

/// Computes the softmax of rows, or its logarithm, with an optional mask: probabilities of logits, weights of scores.
///
/// With `t[j] = scale * x[j] + mask[j]` and `m` the largest t of a row: `y[j] = e^(t[j] - m) / sum_i e^(t[i] - m)` over
/// the last dimension, or with `REFLEX_SOFTMAX_LOG` `y[j] = (t[j] - m) - ln(sum_i e^(t[i] - m))`.
///
/// A column is masked where t is minus infinity, where the mask is, whatever x is there, and where
/// `REFLEX_SOFTMAX_CAUSAL` hides it: the first `max(n - T + i + 1, 0)` columns of row i are seen, and the row of an x of rank 1
/// sees all. A masked column gives 0, or minus infinity with `REFLEX_SOFTMAX_LOG`, and so does every column of
/// a row in which all are masked.
///
/// Shapes and types: see `reflex_softmax_params`; every operand may have its own float type. Computed in f32, and
/// rounded once to the type of `y`. Rows that are 16-byte aligned, with n a multiple of 8, are faster.
///
/// Error: before the rounding to the type of `y`, an element is off by at most `2^-17 + 2^-22 |t[j] - m|` of itself, or
/// with `REFLEX_SOFTMAX_LOG` by `2^-17 + 2^-22 |y|`, for rows of any width and the t that f32 holds. e^d is computed as 2^(d log2 e); an
/// exponential below 2^-126 is 0.
///
/// Aliasing: `y` may be exactly `x` (in place). It shares no other byte with an input, nor with itself. The op needs no
/// workspace. The call is asynchronous on `stream`, capturable and thread-safe. Results are deterministic, and those of
/// a row do not depend on the rows beside it.
///
/// Limits: a row has at most 2^30 - 1 elements, and there are at most 2^31 - 1 rows.
///
/// Infinities and NaN: a NaN or a plus infinity among the t of a row makes all columns of the row NaN but those that
/// `REFLEX_SOFTMAX_CAUSAL` hides. What lies in masked columns has no effect.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
/// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Rows of more than 8192 elements: Milakov and Gimelshein, "Online
/// normalizer calculation for softmax", 2018.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_softmax(
    context: *const reflex_context,
    params: *const reflex_softmax_params,
    stream: reflex_stream,
) -> reflex_status {
    call::launch::<Softmax>(context, params, stream)
}

/// Says by its status whether `reflex_softmax` would take these params on this context. It does the validation and the
/// selection of `reflex_softmax`, without a launch.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_softmax_supported(
    context: *const reflex_context,
    params: *const reflex_softmax_params,
) -> reflex_status {
    call::supported::<Softmax>(context, params)
}

/// Sets `*name` to the kernel that `reflex_softmax` would launch. The name is a static string: `"cpu"` on the CPU
/// backend, `"none"` when there is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_softmax_selected_kernel(
    context: *const reflex_context,
    params: *const reflex_softmax_params,
    name: *mut *const c_char,
) -> reflex_status {
    call::selected_kernel::<Softmax>(context, params, name)
}

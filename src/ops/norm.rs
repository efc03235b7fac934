//! The op `norm`: RMS norm of rows, with an optional sum with a residual before it.

use super::call;
use super::fields::expect_not_negative;
use super::op::Op;
use super::operands::{InPlace, Operands};
use super::rows::{FOR_VEC8, Rows, data, dtype, strides, vec8};
use super::schedule::{Candidate, Schedule, Takes, only};
use crate::abi::{Dtype, Params, Result, View, reflex_status, reflex_stream, reflex_tensor};
use crate::constants::{NORM_BLOCK_THREADS, NORM_WARPS};
use crate::cuda::{DeviceLimits, Grid, Kernel, ceil_div, kernel_args};
use crate::runtime::reflex_context;
use std::ffi::c_char;

/// Operands of `reflex_norm`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_norm_params {
    pub struct_size: u32,
    /// The number that is added to the mean square. It is finite and not negative; 0 selects 1e-6.
    pub epsilon: f32,
    /// `[.., dim]`, rank 1 to 4, F32, F16 or BF16; rows are dense, outer strides are free.
    pub x: reflex_tensor,
    /// Optional, the shape of `x`: it is added to `x` before the norm.
    pub residual: reflex_tensor,
    /// Optional, the shape of `x`: receives x + residual. It may be `x` or `residual` itself.
    pub residual_out: reflex_tensor,
    /// Optional, `[dim]`: the factors of the normalised elements.
    pub weight: reflex_tensor,
    /// The shape of `x`, F32, F16, BF16 or ACT_I8. It may be `x` or `residual` itself.
    pub y: reflex_tensor,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_norm_params {
    const MIN_SIZE: usize = 408;
}

#[derive(Clone, Copy)]
pub(crate) struct NormPlan {
    pub rows: Rows,
    pub dim: i64,
    pub epsilon: f32,
    pub x: View,
    pub residual: Option<View>,
    pub residual_out: Option<View>,
    pub weight: Option<View>,
    pub y: View,
}

impl NormPlan {
    /// A plan of views whose types and shapes go together.
    pub fn of(x: View, weight: Option<View>, epsilon: f32, y: View) -> Result<NormPlan> {
        Ok(NormPlan {
            rows: Rows::of(&x)?,
            dim: x.dim(x.rank() - 1),
            epsilon,
            x,
            residual: None,
            residual_out: None,
            weight,
            y,
        })
    }

    fn vec8(&self) -> bool {
        vec8([
            Some(&self.x),
            self.residual.as_ref(),
            self.residual_out.as_ref(),
            self.weight.as_ref(),
            Some(&self.y),
        ])
    }

    fn short(&self) -> Takes {
        only(self.dim <= NormPlan::WARP_DIM, "rows of at most 3056 elements")
    }

    /// The longest rows that a warp takes: a block keeps those of four warps in shared memory.
    const WARP_DIM: i64 = (NormPlan::CACHED_DIM - 64) / NORM_WARPS;
    /// Rows of at most this many elements are kept in shared memory.
    const CACHED_DIM: i64 = 12 * 1024;
}

pub(crate) struct Norm;

impl Op for Norm {
    const NAME: &'static str = "norm";
    type Params = reflex_norm_params;
    type Plan = NormPlan;

    fn plan(p: &reflex_norm_params) -> Result<NormPlan> {
        expect_not_negative("epsilon", p.epsilon)?;
        let x = View::required("x", &p.x)?;
        x.expect_dtype(Dtype::FLOATS)?.expect_dense_rows()?;
        let like_x = |view: &View, allowed| {
            view.expect_dtype(allowed)?
                .expect_shape(x.dims(), "the shape of x")?
                .expect_dense_rows()
                .map(drop)
        };
        let residual = View::optional("residual", &p.residual)?;
        residual.iter().try_for_each(|view| like_x(view, Dtype::FLOATS))?;
        let weight = View::optional("weight", &p.weight)?;
        if let Some(weight) = &weight {
            weight
                .expect_dtype(Dtype::FLOATS)?
                .expect_shape(&[x.dim(x.rank() - 1)], "[dim] of x")?
                .expect_dense_rows()?;
        }
        let residual_out = View::optional("residual_out", &p.residual_out)?;
        residual_out.iter().try_for_each(|view| like_x(view, Dtype::FLOATS))?;
        let y = View::required("y", &p.y)?;
        like_x(&y, Dtype::ACTIVATIONS)?;
        let epsilon = if p.epsilon == 0.0 { 1e-6 } else { p.epsilon };
        Ok(NormPlan {
            rows: Rows::of(&x)?,
            dim: x.dim(x.rank() - 1),
            epsilon,
            x,
            residual,
            residual_out,
            weight,
            y,
        })
    }

    fn operands<'a>(plan: &'a NormPlan, to: &mut Operands<'a>) {
        const IN_PLACE: InPlace = InPlace::of(&["x", "residual"]);
        to.read(&plan.x).read(plan.residual.as_ref()).read(plan.weight.as_ref());
        to.write(plan.residual_out.as_ref(), IN_PLACE).write(&plan.y, IN_PLACE);
    }

    fn is_empty(plan: &NormPlan) -> bool {
        plan.x.is_empty()
    }

    fn candidates() -> &'static [Candidate<NormPlan>] {
        &CANDIDATES
    }
}

static WARP_VEC8: Kernel = Kernel::new("norm", c"reflex_norm_warp_vec8").dependent();
static WARP: Kernel = Kernel::new("norm", c"reflex_norm_warp").dependent();
static BLOCK_VEC8: Kernel = Kernel::new("norm", c"reflex_norm_block_vec8").dependent();
static BLOCK: Kernel = Kernel::new("norm", c"reflex_norm_block").dependent();

static CANDIDATES: [Candidate<NormPlan>; 4] = [
    Candidate::new(
        "warp_vec8",
        |p: &NormPlan, _| p.short().and(only(p.vec8(), FOR_VEC8)),
        |p, to| schedule_warp(p, to, &WARP_VEC8),
    )
    .where_it_pays(warp_pays),
    Candidate::new("warp", |p: &NormPlan, _| p.short(), |p, to| schedule_warp(p, to, &WARP)).where_it_pays(warp_pays),
    Candidate::new(
        "block_vec8",
        |p, _| only(p.vec8(), FOR_VEC8),
        |p, to| schedule_block(p, to, &BLOCK_VEC8, 8),
    ),
    Candidate::new("block", |_, _| Ok(()), |p, to| schedule_block(p, to, &BLOCK, 1)),
];

fn warp_pays(p: &NormPlan, limits: &DeviceLimits) -> Takes {
    only(p.dim <= limits.tuning.norm.warp_dim, "short rows")
}

kernel_args! {
    struct NormArgs {
        x: *const u8,
        residual: *const u8,
        weight: *const u8,
        residual_out: *mut u8,
        y: *mut u8,
        x_stride: [i64; 3],
        residual_stride: [i64; 3],
        residual_out_stride: [i64; 3],
        y_stride: [i64; 3],
        rows: i64,
        extent1: i32,
        extent2: i32,
        dim: i32,
        x_type: u32,
        residual_type: u32,
        residual_out_type: u32,
        weight_type: u32,
        y_type: u32,
        cached: i32,
        epsilon: f32,
    } size 184, epsilon at 180
}

impl NormArgs {
    fn new(p: &NormPlan, cached: bool) -> NormArgs {
        NormArgs {
            x: p.x.data,
            residual: data(&p.residual),
            weight: data(&p.weight),
            residual_out: data(&p.residual_out),
            y: p.y.data,
            x_stride: Rows::strides(&p.x),
            residual_stride: strides(&p.residual),
            residual_out_stride: strides(&p.residual_out),
            y_stride: Rows::strides(&p.y),
            rows: p.rows.count,
            extent1: p.rows.extent[1],
            extent2: p.rows.extent[2],
            dim: p.dim as i32,
            x_type: p.x.dtype.abi().0,
            residual_type: dtype(&p.residual),
            residual_out_type: dtype(&p.residual_out),
            weight_type: dtype(&p.weight),
            y_type: p.y.dtype.abi().0,
            cached: i32::from(cached),
            epsilon: p.epsilon,
        }
    }
}

fn schedule_warp(p: &NormPlan, to: &mut Schedule, kernel: &'static Kernel) -> Result<()> {
    let grid = Grid::new([ceil_div(p.rows.count, NORM_WARPS), 1, 1], NORM_WARPS as u32 * 32)?;
    let shared = (NORM_WARPS * p.dim * 4) as u32;
    to.main(kernel, grid.shared(shared), &NormArgs::new(p, true));
    Ok(())
}

fn schedule_block(p: &NormPlan, to: &mut Schedule, kernel: &'static Kernel, per_thread: i64) -> Result<()> {
    let cached = p.dim <= NormPlan::CACHED_DIM - 64;
    let threads = ((p.dim / per_thread + 31) / 32 * 32).clamp(64, NORM_BLOCK_THREADS);
    let grid = Grid::new([p.rows.count, 1, 1], threads as u32)?;
    let shared = if cached { p.dim as u32 * 4 } else { 0 };
    to.main(kernel, grid.shared(shared), &NormArgs::new(p, cached));
    Ok(())
}

/// Computes the RMS norm of rows, with an optional sum with a residual before it.
///
/// `h = x + residual; residual_out = h; y[i] = h[i] / sqrt(mean(h^2) + epsilon) * weight[i]`, over the last dimension.
///
/// Shapes and types: see `reflex_norm_params`; every operand may have its own float type. The sum, the mean and the
/// scale are f32, and they are computed from h before it is rounded to `residual_out`. A `y` in ACT_I8 is quantised
/// from f32 as `reflex_quantize` does it, but without a launch and a pass over memory of its own. For a norm of each
/// head of q or k, give `x` as `[tokens, heads, head_dim]` with the strides of the buffer.
///
/// Aliasing: `y` and `residual_out` may each be exactly `x` or `residual` (in place). They share no other byte with an
/// input, with one another or with themselves. The op needs no workspace. The call is asynchronous on `stream`,
/// capturable and thread-safe.
///
/// Limits: a row has at most 2^30 - 1 elements, and there are at most 2^31 - 1 rows.
///
/// Infinities and NaN: a NaN in a row of h makes that row of y NaN. Infinities become NaN, and the other elements of
/// their row become 0. A row whose squares sum up to more than f32 holds, as one with an element beyond 1.8e19 does,
/// becomes 0 throughout.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
/// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_norm(
    context: *const reflex_context,
    params: *const reflex_norm_params,
    stream: reflex_stream,
) -> reflex_status {
    call::launch::<Norm>(context, params, stream)
}

/// Says by its status whether `reflex_norm` would take these params on this context. It does the validation and the
/// selection of `reflex_norm`, without a launch.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_norm_supported(
    context: *const reflex_context,
    params: *const reflex_norm_params,
) -> reflex_status {
    call::supported::<Norm>(context, params)
}

/// Sets `*name` to the kernel that `reflex_norm` would launch. The name is a static string: `"cpu"` on the CPU backend,
/// `"none"` when there is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_norm_selected_kernel(
    context: *const reflex_context,
    params: *const reflex_norm_params,
    name: *mut *const c_char,
) -> reflex_status {
    call::selected_kernel::<Norm>(context, params, name)
}

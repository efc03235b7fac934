//! The op `softcap`: values kept within a bound by a hyperbolic tangent.

use super::call;
use super::op::Op;
use super::operands::{InPlace, Operands};
use super::rows::{FOR_VEC8, Rows, vec8};
use super::schedule::{Candidate, Schedule, only};
use crate::abi::{Dtype, Error, Params, Result, View, reflex_status, reflex_stream, reflex_tensor};
use crate::cuda::{Kernel, kernel_args};
use crate::runtime::reflex_context;
use std::ffi::c_char;

/// Operands of `reflex_softcap`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_softcap_params {
    pub struct_size: u32,
    /// The bound: greater than 0, normal in f32 as is its reciprocal.
    pub cap: f32,
    /// `[.., n]`, rank 1 to 4, F32, F16 or BF16; rows are dense, outer strides are free.
    pub x: reflex_tensor,
    /// The shape of `x`, F32, F16 or BF16. May be `x` itself.
    pub y: reflex_tensor,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_softcap_params {
    const MIN_SIZE: usize = 168;
}

#[derive(Clone, Copy)]
pub(crate) struct SoftcapPlan {
    pub rows: Rows,
    pub n: i64,
    pub cap: f32,
    pub x: View,
    pub y: View,
}

impl SoftcapPlan {
    fn vec8(&self) -> bool {
        vec8([Some(&self.x), Some(&self.y)])
    }
}

pub(crate) struct Softcap;

impl Op for Softcap {
    const NAME: &'static str = "softcap";
    type Params = reflex_softcap_params;
    type Plan = SoftcapPlan;

    fn plan(p: &reflex_softcap_params) -> Result<SoftcapPlan> {
        if !(p.cap > 0.0 && p.cap.is_normal() && (1.0 / p.cap).is_normal()) {
            return Err(Error::invalid(format!(
                "cap is {}, expected a number greater than 0, normal in f32 as is its reciprocal",
                p.cap
            )));
        }
        let x = View::required("x", &p.x)?;
        x.expect_dtype(Dtype::FLOATS)?.expect_dense_rows()?;
        let y = View::required("y", &p.y)?;
        y.expect_dtype(Dtype::FLOATS)?
            .expect_shape(x.dims(), "the shape of x")?
            .expect_dense_rows()?;
        Ok(SoftcapPlan {
            rows: Rows::of(&x)?,
            n: x.dim(x.rank() - 1),
            cap: p.cap,
            x,
            y,
        })
    }

    fn operands<'a>(plan: &'a SoftcapPlan, to: &mut Operands<'a>) {
        to.read(&plan.x);
        to.write(&plan.y, InPlace::of(&["x"]));
    }

    fn is_empty(plan: &SoftcapPlan) -> bool {
        plan.x.is_empty()
    }

    fn candidates() -> &'static [Candidate<SoftcapPlan>] {
        &CANDIDATES
    }
}

static VEC8: Kernel = Kernel::new("softcap", c"reflex_softcap_vec8").dependent();
static SCALAR: Kernel = Kernel::new("softcap", c"reflex_softcap_scalar").dependent();

static CANDIDATES: [Candidate<SoftcapPlan>; 2] = [
    Candidate::new(
        "vec8",
        |p, _| only(p.vec8(), FOR_VEC8),
        |p, to| schedule(p, to, &VEC8, 8),
    ),
    Candidate::new("scalar", |_, _| Ok(()), |p, to| schedule(p, to, &SCALAR, 1)),
];

kernel_args! {
    struct SoftcapArgs {
        x: *const u8,
        y: *mut u8,
        x_stride: [i64; 3],
        y_stride: [i64; 3],
        extent1: i32,
        extent2: i32,
        n: i32,
        chunks: i32,
        x_type: u32,
        y_type: u32,
        cap: f32,
        inverse: f32,
    } size 96, inverse at 92
}

fn schedule(p: &SoftcapPlan, to: &mut Schedule, kernel: &'static Kernel, per_thread: i64) -> Result<()> {
    let (grid, chunks) = p.rows.elementwise(p.n, per_thread)?;
    let args = SoftcapArgs {
        x: p.x.data,
        y: p.y.data,
        x_stride: Rows::strides(&p.x),
        y_stride: Rows::strides(&p.y),
        extent1: p.rows.extent[1],
        extent2: p.rows.extent[2],
        n: p.n as i32,
        chunks,
        x_type: p.x.dtype.abi().0,
        y_type: p.y.dtype.abi().0,
        cap: p.cap,
        inverse: 1.0 / p.cap,
    };
    to.main(kernel, grid, &args);
    Ok(())
}

/// Keeps values between -cap and cap, smoothly: `y = cap * tanh(x / cap)`, element by element.
///
/// Gemma 2 caps its logits so (30), and its attention scores (50); small values pass nearly unchanged.
///
/// Shapes and types: see `reflex_softcap_params`; each operand may have its own float type. Computed in f32, rounded once to the
/// type of `y`. Alignment: rows that are 16-byte aligned, with n a multiple of 8, are faster.
///
/// Aliasing: `y` may be exactly `x` (in place); it shares no other byte with it, nor with itself. No workspace. Asynchronous on
/// `stream`, capturable, thread-safe.
///
/// Limits: rows of up to 2^30 - 1 elements, up to 2^31 - 1 of them.
///
/// Infinities and NaN: infinities become cap and -cap, NaN stays NaN.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
/// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Gemma Team, "Gemma 2: Improving Open Language Models at a Practical Size", 2024.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_softcap(
    context: *const reflex_context,
    params: *const reflex_softcap_params,
    stream: reflex_stream,
) -> reflex_status {
    call::launch::<Softcap>(context, params, stream)
}

/// Whether `reflex_softcap` would take these params on this context: its own validation and selection, without a launch.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_softcap_supported(
    context: *const reflex_context,
    params: *const reflex_softcap_params,
) -> reflex_status {
    call::supported::<Softcap>(context, params)
}

/// Name of the kernel that `reflex_softcap` would launch: a static string, `"cpu"` on the CPU backend, `"none"` when empty.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_softcap_selected_kernel(
    context: *const reflex_context,
    params: *const reflex_softcap_params,
    name: *mut *const c_char,
) -> reflex_status {
    call::selected_kernel::<Softcap>(context, params, name)
}

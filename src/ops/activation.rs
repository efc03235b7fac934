//! The op `activation`: an activation function of one tensor, times another where there is one.

use super::call;
use super::op::Op;
use super::operands::{InPlace, Operands};
use super::rows::{FOR_VEC8, Rows, data, dtype, strides, vec8};
use super::schedule::{Candidate, Schedule, only};
use crate::abi::{Dtype, Error, Params, Result, View, reflex_status, reflex_stream, reflex_tensor};
use crate::cuda::{Kernel, kernel_args};
use crate::runtime::reflex_context;
use std::ffi::c_char;

/// The function that `reflex_activation` applies.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct reflex_activation_kind(pub u32);

/// x * sigmoid(x); with `up` this is SwiGLU.
pub const REFLEX_ACTIVATION_SILU: reflex_activation_kind = reflex_activation_kind(0);
/// GELU in its tanh form; with `up` this is GeGLU as Gemma uses it.
pub const REFLEX_ACTIVATION_GELU_TANH: reflex_activation_kind = reflex_activation_kind(1);
/// GELU by the error function.
pub const REFLEX_ACTIVATION_GELU_ERF: reflex_activation_kind = reflex_activation_kind(2);

/// Operands of `reflex_activation`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_activation_params {
    pub struct_size: u32,
    /// `REFLEX_ACTIVATION_*`.
    pub kind: reflex_activation_kind,
    /// `[.., n]`, rank 1 to 4, F32, F16 or BF16; rows are dense, outer strides are free, so that `gate` and `up` may be
    /// halves of a merged buffer.
    pub gate: reflex_tensor,
    /// Optional, the shape of `gate`: multiplies the activated gate.
    pub up: reflex_tensor,
    /// The shape of `gate`, F32, F16, BF16 or ACT_I8. It may be `gate` or `up` itself.
    pub y: reflex_tensor,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_activation_params {
    const MIN_SIZE: usize = 248;
}

#[derive(Clone, Copy)]
pub(crate) struct ActivationPlan {
    pub kind: reflex_activation_kind,
    pub rows: Rows,
    pub n: i64,
    pub gate: View,
    pub up: Option<View>,
    pub y: View,
}

impl ActivationPlan {
    /// A plan of views whose types and shapes go together.
    pub fn of(kind: reflex_activation_kind, gate: View, up: Option<View>, y: View) -> Result<ActivationPlan> {
        let last = gate.rank() - 1;
        Ok(ActivationPlan {
            kind,
            rows: Rows::of(&gate)?,
            n: gate.dim(last),
            gate,
            up,
            y,
        })
    }

    fn vec8(&self) -> bool {
        vec8([Some(&self.gate), self.up.as_ref(), Some(&self.y)])
    }
}

pub(crate) struct Activation;

impl Op for Activation {
    const NAME: &'static str = "activation";
    type Params = reflex_activation_params;
    type Plan = ActivationPlan;

    fn plan(p: &reflex_activation_params) -> Result<ActivationPlan> {
        if p.kind.0 > REFLEX_ACTIVATION_GELU_ERF.0 {
            return Err(Error::invalid(format!(
                "kind is {}, expected REFLEX_ACTIVATION_SILU, _GELU_TANH or _GELU_ERF",
                p.kind.0
            )));
        }
        let gate = View::required("gate", &p.gate)?;
        gate.expect_dtype(Dtype::FLOATS)?.expect_dense_rows()?;
        let like_gate = |view: &View, allowed| {
            view.expect_dtype(allowed)?
                .expect_shape(gate.dims(), "the shape of gate")?
                .expect_dense_rows()
                .map(drop)
        };
        let up = View::optional("up", &p.up)?;
        up.iter().try_for_each(|view| like_gate(view, Dtype::FLOATS))?;
        let y = View::required("y", &p.y)?;
        like_gate(&y, Dtype::ACTIVATIONS)?;
        ActivationPlan::of(p.kind, gate, up, y)
    }

    fn operands<'a>(plan: &'a ActivationPlan, to: &mut Operands<'a>) {
        to.read(&plan.gate).read(plan.up.as_ref());
        to.write(&plan.y, InPlace::of(&["gate", "up"]));
    }

    fn is_empty(plan: &ActivationPlan) -> bool {
        plan.gate.is_empty()
    }

    fn candidates() -> &'static [Candidate<ActivationPlan>] {
        &CANDIDATES
    }
}

static VEC8: Kernel = Kernel::new("activation", c"reflex_activation_vec8").dependent();
static SCALAR: Kernel = Kernel::new("activation", c"reflex_activation_scalar").dependent();

static CANDIDATES: [Candidate<ActivationPlan>; 2] = [
    Candidate::new(
        "vec8",
        |p, _| only(p.vec8(), FOR_VEC8),
        |p, to| schedule(p, to, &VEC8, 8),
    ),
    Candidate::new("scalar", |_, _| Ok(()), |p, to| schedule(p, to, &SCALAR, 1)),
];

kernel_args! {
    struct ActivationArgs {
        gate: *const u8,
        up: *const u8,
        y: *mut u8,
        gate_stride: [i64; 3],
        up_stride: [i64; 3],
        y_stride: [i64; 3],
        extent1: i32,
        extent2: i32,
        n: i32,
        chunks: i32,
        gate_type: u32,
        up_type: u32,
        y_type: u32,
        kind: u32,
    } size 128, kind at 124
}

fn schedule(p: &ActivationPlan, to: &mut Schedule, kernel: &'static Kernel, per_thread: i64) -> Result<()> {
    let (grid, chunks) = p.rows.elementwise(p.n, per_thread)?;
    let args = ActivationArgs {
        gate: p.gate.data,
        up: data(&p.up),
        y: p.y.data,
        gate_stride: Rows::strides(&p.gate),
        up_stride: strides(&p.up),
        y_stride: Rows::strides(&p.y),
        extent1: p.rows.extent[1],
        extent2: p.rows.extent[2],
        n: p.n as i32,
        chunks,
        gate_type: p.gate.dtype.abi().0,
        up_type: dtype(&p.up),
        y_type: p.y.dtype.abi().0,
        kind: p.kind.0,
    };
    to.main(kernel, grid, &args);
    Ok(())
}

/// Applies an activation function to a gate, and multiplies the result with an optional second operand.
///
/// `y = f(gate) * up`, or `f(gate)` without `up`. SiLU: `f(x) = x / (1 + e^-x)`. GELU tanh:
/// `f(x) = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`. GELU erf: `f(x) = x (1 + erf(x / sqrt 2)) / 2`.
///
/// Shapes and types: see `reflex_activation_params`; every operand may have its own float type. The function is
/// computed in f32, in forms without cancellation for negative x. A `y` in ACT_I8 is quantised from f32 as
/// `reflex_quantize` does it, but without a launch and a pass over memory of its own.
///
/// Aliasing: `y` may be exactly `gate` or `up` (in place). It shares no other byte with either, nor with itself. The op
/// needs no workspace. The call is asynchronous on `stream`, capturable and thread-safe.
///
/// Limits: a row has at most 2^30 - 1 elements, and there are at most 2^31 - 1 rows.
///
/// Infinities and NaN: f(gate) is 0 where the gate is minus infinity, infinity where it is infinity, and NaN where it
/// is NaN. The product with `up` follows IEEE 754.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
/// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Shazeer, "GLU Variants Improve Transformer", 2020; Hendrycks and
/// Gimpel, "Gaussian Error Linear Units", 2016.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_activation(
    context: *const reflex_context,
    params: *const reflex_activation_params,
    stream: reflex_stream,
) -> reflex_status {
    call::launch::<Activation>(context, params, stream)
}

/// Says by its status whether `reflex_activation` would take these params on this context. It does the validation and
/// the selection of `reflex_activation`, without a launch.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_activation_supported(
    context: *const reflex_context,
    params: *const reflex_activation_params,
) -> reflex_status {
    call::supported::<Activation>(context, params)
}

/// Sets `*name` to the kernel that `reflex_activation` would launch. The name is a static string: `"cpu"` on the CPU
/// backend, `"none"` when there is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_activation_selected_kernel(
    context: *const reflex_context,
    params: *const reflex_activation_params,
    name: *mut *const c_char,
) -> reflex_status {
    call::selected_kernel::<Activation>(context, params, name)
}

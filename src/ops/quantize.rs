//! The op `quantize`: quantisation of activations to 8 bits.

use super::call;
use super::fields::expect_reserved;
use super::op::Op;
use super::operands::{InPlace, Operands};
use super::rows::Rows;
use super::schedule::{Candidate, Schedule, only};
use crate::abi::{Dtype, Params, Result, View, reflex_status, reflex_stream, reflex_tensor};
use crate::cuda::{Kernel, kernel_args};
use crate::runtime::reflex_context;
use std::ffi::c_char;

/// Operands of `reflex_quantize`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_quantize_params {
    pub struct_size: u32,
    pub reserved: u32,
    /// `[.., k]`, rank 1 to 4, F32, F16 or BF16; rows are dense, outer strides are free. k is a multiple of 32.
    pub x: reflex_tensor,
    /// The shape of `x`, ACT_I8; outer strides are multiples of 16.
    pub y: reflex_tensor,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_quantize_params {
    const MIN_SIZE: usize = 168;
}

#[derive(Clone, Copy)]
pub(crate) struct QuantizePlan {
    pub rows: Rows,
    pub k: i64,
    pub x: View,
    pub y: View,
}

impl QuantizePlan {
    /// A plan of views whose types and shapes go together.
    pub fn of(x: View, y: View) -> Result<QuantizePlan> {
        let last = x.rank() - 1;
        Ok(QuantizePlan {
            rows: Rows::of(&x)?,
            k: x.dim(last),
            x,
            y,
        })
    }
}

pub(crate) struct Quantize;

impl Op for Quantize {
    const NAME: &'static str = "quantize";
    type Params = reflex_quantize_params;
    type Plan = QuantizePlan;

    fn plan(p: &reflex_quantize_params) -> Result<QuantizePlan> {
        expect_reserved(p.reserved)?;
        let x = View::required("x", &p.x)?;
        x.expect_dtype(Dtype::FLOATS)?.expect_dense_rows()?;
        let y = View::required("y", &p.y)?;
        y.expect_dtype(&[Dtype::ACT_I8])?
            .expect_shape(x.dims(), "the shape of x")?
            .expect_dense_rows()?;
        QuantizePlan::of(x, y)
    }

    fn operands<'a>(plan: &'a QuantizePlan, to: &mut Operands<'a>) {
        to.read(&plan.x);
        to.write(&plan.y, InPlace::NO);
    }

    fn is_empty(plan: &QuantizePlan) -> bool {
        plan.x.is_empty()
    }

    fn candidates() -> &'static [Candidate<QuantizePlan>] {
        &CANDIDATES
    }
}

static VEC8: Kernel = Kernel::new("quantize", c"reflex_quantize_vec8");
static SCALAR: Kernel = Kernel::new("quantize", c"reflex_quantize_scalar");

static CANDIDATES: [Candidate<QuantizePlan>; 2] = [
    Candidate::new(
        "vec8",
        |p, _| only(p.x.rows_aligned(16), "rows of x that are 16-byte aligned"),
        |p, to| schedule(p, to, &VEC8, 8),
    ),
    Candidate::new("scalar", |_, _| Ok(()), |p, to| schedule(p, to, &SCALAR, 1)),
];

kernel_args! {
    struct QuantizeArgs {
        x: *const u8,
        y: *mut u8,
        x_stride: [i64; 3],
        y_stride: [i64; 3],
        extent1: i32,
        extent2: i32,
        k: i32,
        chunks: i32,
        x_type: u32,
    } size 88, x_type at 80
}

fn schedule(p: &QuantizePlan, to: &mut Schedule, kernel: &'static Kernel, per_thread: i64) -> Result<()> {
    let (grid, chunks) = p.rows.elementwise(p.k, per_thread)?;
    let args = QuantizeArgs {
        x: p.x.data,
        y: p.y.data,
        x_stride: Rows::strides(&p.x),
        y_stride: Rows::strides(&p.y),
        extent1: p.rows.extent[1],
        extent2: p.rows.extent[2],
        k: p.k as i32,
        chunks,
        x_type: p.x.dtype.abi().0,
    };
    to.main(kernel, grid, &args);
    Ok(())
}

/// Quantises activations to 8 bits, once for all the products that read them.
///
/// For each 32 elements of a row, with `a = max |x|`: `d = a / 127`, `q = round(x * (127 / a))` with ties to even, in
/// f32, and `y = d * q`. `REFLEX_DTYPE_ACT_I8` describes the layout of y, and what NaN, infinities and tiny numbers
/// give.
///
/// Shapes and types: see `reflex_quantize_params`. The bits are the same on every backend and for every alignment of x.
/// `reflex_norm`, `reflex_activation` and `reflex_attention_decode` write ACT_I8 themselves, which saves this launch.
///
/// Aliasing: `y` shares no byte with `x`, nor with itself. The op needs no workspace. The call is asynchronous on
/// `stream`, capturable and thread-safe.
///
/// Limits: a row has at most 2^30 - 1 elements, and there are at most 2^31 - 1 rows.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
/// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Jacob et al., "Quantization and Training of Neural Networks for
/// Efficient Integer-Arithmetic-Only Inference", 2018.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_quantize(
    context: *const reflex_context,
    params: *const reflex_quantize_params,
    stream: reflex_stream,
) -> reflex_status {
    call::launch::<Quantize>(context, params, stream)
}

/// Says by its status whether `reflex_quantize` would take these params on this context. It does the validation and the
/// selection of `reflex_quantize`, without a launch.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_quantize_supported(
    context: *const reflex_context,
    params: *const reflex_quantize_params,
) -> reflex_status {
    call::supported::<Quantize>(context, params)
}

/// Sets `*name` to the kernel that `reflex_quantize` would launch. The name is a static string: `"cpu"` on the CPU
/// backend, `"none"` when there is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_quantize_selected_kernel(
    context: *const reflex_context,
    params: *const reflex_quantize_params,
    name: *mut *const c_char,
) -> reflex_status {
    call::selected_kernel::<Quantize>(context, params, name)
}

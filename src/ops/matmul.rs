//! The op `matmul`: products of one x with up to three weights, fused with norm, bias, activation, residual and
//! quantisation.

mod exact;
mod int8;
mod plan;

pub(crate) use plan::{MatmulPart, MatmulPlan, SQUARES};

use super::activation::reflex_activation_kind;
use super::call;
use super::op::Op;
use super::operands::{InPlace, Operands};
use super::schedule::Candidate;
use super::workspace::workspace_fields;
use crate::abi::{Element, Params, Result, reflex_status, reflex_stream};
use crate::abi::{reflex_tensor, reflex_weight};
use crate::runtime::reflex_context;
use std::ffi::{c_char, c_void};

/// A row's result has the same bits whatever the number of rows beside it.
pub const REFLEX_MATMUL_BATCH_INVARIANT: u32 = 1;
/// A floating-point x may be multiplied with block formats in 8-bit integers: x is first quantised to ACT_I8, once for
/// all weights of the call. The flag takes effect if every weight of the call is a block format and x has at most
/// 262144 rows, or at most 64 rows when a weight is not packed. With `REFLEX_MATMUL_BATCH_INVARIANT` the number of rows
/// has no say: the flag takes effect if every weight is a block format, and more than 262144 rows are refused. Where
/// the flag does not take effect, and without it, a floating-point x is multiplied with the exact values of the
/// weights. An x of ACT_I8 is multiplied in integers with or without the flag, with weights of any block format and at
/// most 262144 rows.
pub const REFLEX_MATMUL_INT8: u32 = 2;
/// The caller promises that the weights were written before the launch in front of this one on the stream began, as is
/// the case when they are loaded once. The kernel may then read them while that launch still runs.
pub const REFLEX_MATMUL_CONSTANT_WEIGHTS: u32 = 4;
/// The two products of the call are a gated pair and have one y:
/// `y = activation(x W0^T + b0) * (x W1^T + b1) + residual`. `W0`, `b0`, `residual` and `y` belong to `products[0]`,
/// `W1` and `b1` to `products[1]`, whose own residual and y are absent.
pub const REFLEX_MATMUL_GATED: u32 = 8;

/// A weight that `reflex_matmul` multiplies x with, and the epilogue of the product: bias, residual and output.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_matmul_product {
    /// `[n, k]`, any weight type, any n; block formats may be packed (`reflex_weights_pack`) or native. The data of a
    /// block format is 16-byte aligned, and so are the row strides of Q4_K and Q5_K.
    pub weight: reflex_weight,
    /// Optional, `[n]`, F32, F16 or BF16: added to each row of the product.
    pub bias: reflex_tensor,
    /// Optional, `[rows, n]`, F32, F16 or BF16: added to the product. It may be `y` itself.
    pub residual: reflex_tensor,
    /// `[rows, n]`, F32, F16 or BF16. The y of an int8 product may also be ACT_I8, if n is a multiple of 32.
    pub y: reflex_tensor,
    /// Reserved for mixtures of experts, where it will say which part of the weight each row of x is multiplied with.
    /// It has to be absent: this version multiplies every row with the whole weight, and refuses a product with expert
    /// ids (`REFLEX_UNSUPPORTED`).
    pub expert_ids: reflex_tensor,
}

// SAFETY: repr(C), no padding, zero is valid.
unsafe impl Element for reflex_matmul_product {
    const MIN_SIZE: usize = 728;
}

/// Operands of `reflex_matmul`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reflex_matmul_params {
    pub struct_size: u32,
    /// `REFLEX_MATMUL_*` bits.
    pub flags: u32,
    /// `[rows, k]`, F32, F16, BF16 or ACT_I8.
    pub x: reflex_tensor,
    /// The products of x, as an array in host memory. The call reads the array before it returns and keeps no pointer
    /// to it: a captured launch has a copy of its own.
    pub products: *const reflex_matmul_product,
    /// The number of products: 1 to 3, and 2 with `REFLEX_MATMUL_GATED`. More are refused with `REFLEX_UNSUPPORTED`; a
    /// second call takes the rest.
    pub product_count: u32,
    /// `sizeof(reflex_matmul_product)`: the bytes from one product to the next, by which the library knows the caller's
    /// header.
    pub product_size: u32,
    /// Scratch of `reflex_matmul_workspace_size` bytes, 256-byte aligned. It may be NULL when that size is 0. The
    /// library keeps nothing in it from one call to the next: one workspace with the largest size that any call asks
    /// for serves all calls of a stream, of every op. Calls that may run at the same time need a workspace each.
    pub workspace: *mut c_void,
    pub workspace_size: usize,
    /// The activation of the gated pair. It is 0 without `REFLEX_MATMUL_GATED`.
    pub activation: reflex_activation_kind,
    pub reserved: u32,
    /// Optional, `[k]`, F32, F16 or BF16: x first gets an RMS norm with this weight, as `reflex_norm` computes it. It
    /// has to be absent when x is ACT_I8.
    pub norm: reflex_tensor,
    /// The epsilon of the RMS norm that `norm` or `x_squares` asks for: it is added to the mean square. It is finite
    /// and not negative; 0 selects 1e-6. It is 0 when both `norm` and `x_squares` are absent.
    pub norm_epsilon: f32,
    pub reserved2: u32,
    /// Optional, `[rows, k / 32]`, F32: the `y_squares` of an earlier product whose `y_normed` is the `x` of this call,
    /// in ACT_I8. This call completes the deferred norm between the two.
    pub x_squares: reflex_tensor,
    /// Optional, `[n]` of the first product, F32, F16 or BF16: the weight of a deferred norm, which is the RMS norm
    /// through which a later product reads the `y` of this call. The products of this call are then int8, n is a
    /// multiple of 32, and there is one `y` alone: that of a single product, or that of a gated pair.
    pub y_norm: reflex_tensor,
    /// `[rows, n]`, ACT_I8, present exactly when `y_norm` is: receives y times `y_norm`, the `x` of the later product.
    pub y_normed: reflex_tensor,
    /// `[rows, n / 32]`, F32, present exactly when `y_norm` is: receives sums of squares of y, the `x_squares` of the
    /// later product.
    pub y_squares: reflex_tensor,
}

impl Default for reflex_matmul_params {
    fn default() -> Self {
        // SAFETY: plain data, valid when zero.
        unsafe { std::mem::zeroed() }
    }
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_matmul_params {
    const MIN_SIZE: usize = 536;
}

pub(crate) struct Matmul;

impl Op for Matmul {
    const NAME: &'static str = "matmul";
    type Params = reflex_matmul_params;
    type Plan = MatmulPlan;

    fn plan(p: &reflex_matmul_params) -> Result<MatmulPlan> {
        MatmulPlan::new(p)
    }

    fn operands<'a>(plan: &'a MatmulPlan, to: &mut Operands<'a>) {
        to.read(&plan.x).read(plan.norm.as_ref()).read(plan.x_squares.as_ref());
        for (i, (part, fields)) in plan.parts().zip(&plan::FIELDS).enumerate() {
            to.read(&part.weight)
                .read(part.bias.as_ref())
                .read(part.residual.as_ref());
            // A gated pair has one y.
            if i == 0 || plan.gate.is_none() {
                to.write(&part.y, fields.own_residual);
            }
        }
        if let Some(normed) = &plan.normed {
            to.read(&normed.weight);
            to.write(&normed.squares, InPlace::NO).write(&normed.y, InPlace::NO);
        }
    }

    fn is_empty(plan: &MatmulPlan) -> bool {
        plan.parts().all(|part| part.y.is_empty())
    }

    fn candidates() -> &'static [Candidate<MatmulPlan>] {
        &CANDIDATES
    }

    workspace_fields!(reflex_matmul_params);
}

/// The candidates in integers come before the exact ones.
static CANDIDATES: [Candidate<MatmulPlan>; int8::COUNT + exact::CANDIDATES.len()] =
    int8::and_others(&exact::CANDIDATES);

/// Multiplies the rows of x with the transpose of one to three weight matrices: a linear layer, or up to three of the
/// same x.
///
/// `y[r][o] = sum_i x[r][i] * weight[o][i] + bias[o] + residual[r][o]` for each of `products`. With `norm`, x is first
/// normalised as `reflex_norm` does it: `x[r][i] * norm[i] / sqrt(mean(x[r]^2) + norm_epsilon)` takes the place of
/// `x[r][i]`. With `REFLEX_MATMUL_GATED`, two products have one y.
///
/// Deferred norm: an RMS norm between two products needs no launch of its own. The first product, with `y_norm`, also
/// leaves `y_normed[r][o] = y[r][o] * y_norm[o]` and `y_squares[r][b]`, which is the sum of `y[r][o]^2` over the 32
/// outputs `o` of block `b`. Both are computed from y in f32, before y is rounded to its type. The second product takes
/// them as `x` and `x_squares`, and divides its sums by `sqrt(sum_b x_squares[r][b] / k + norm_epsilon)` before it adds
/// bias and residual.
///
/// Shapes and types: see `reflex_matmul_params` and `reflex_matmul_product`. Sums are f32. There are two ways to
/// compute:
///
/// - Exact products multiply a floating-point x. For up to 8 rows, and for any number of rows with
///   `REFLEX_MATMUL_BATCH_INVARIANT`, they are computed in f32 from weights that are expanded to f32. More rows are
///   multiplied on tensor cores where the GPU has them for TF32 (SM 8.0): both factors are first rounded to TF32, each
///   by at most 2^-11 of itself. Each weight takes a launch of its own.
/// - Int8 products multiply block formats. They take an x of ACT_I8 with any number of rows, and weights that are
///   packed or not. With `REFLEX_MATMUL_INT8` they also take a floating-point x, if the weights are packed, if there
///   are at most 64 rows, or if `REFLEX_MATMUL_BATCH_INVARIANT` is set. x is, or is rounded to, 8 bits with a scale for
///   every 32 elements: each element is at most 1/254 of the largest of these 32 from its value. Products with one row,
///   or with weights that are not packed, are summed in 32-bit integers within each block; after that only the f32 sums
///   round. Several rows may be multiplied with packed weights in f16: both factors are rounded to it, in units that
///   their row or column has for 256 elements of k, by at most 2^-10 of themselves and 2^-24 of the largest of these.
///   One launch takes all weights, whatever their formats. A launch in front of it quantises x where that is needed,
///   and for more than eight rows of packed weights another one may convert x to f16.
///
/// With `k = 0` the sums of the products are 0 in every mode, with `norm` and `x_squares` too; bias, activation and
/// residual are applied to these zeros.
///
/// All products of a call are computed in one way. With a floating-point x all of them are exact, whatever
/// `REFLEX_MATMUL_INT8` allows, if one weight is plain (F32, F16, BF16), or if one weight is not packed, there are more
/// than 64 rows, and `REFLEX_MATMUL_BATCH_INVARIANT` is not set. With an x of ACT_I8 all of them are int8, and a plain
/// weight is refused.
///
/// With `REFLEX_MATMUL_BATCH_INVARIANT` a row's result has the same bits in a call of one row and in a call of many.
/// Whether `REFLEX_MATMUL_INT8` takes effect then depends on the types of the weights alone.
///
/// Alignment: every operand is aligned to its elements. The data of a block format is aligned to 16 bytes, and so is
/// the row stride of Q4_K and Q5_K. Rows of x and of plain weights are read faster if they are 16-byte aligned and k is
/// a multiple of 8. Rows are dense; row strides are free. Packed weights are faster in int8 products, while exact
/// products have to unpack them first.
///
/// Aliasing: a `y` may be exactly the `residual` of its own product (in place). Apart from that, `y`, `y_normed` and
/// `y_squares` share no byte with any operand, nor with themselves. Workspace: see `reflex_matmul_workspace_size`; it
/// shares no byte with an operand. The call is asynchronous on `stream`, capturable and thread-safe.
///
/// Limits: rows, n and k are at most 2^30. In exact products `rows * ((n + 7) / 8)` is at most 2^31 - 1; int8 products
/// have at most 2^18 rows.
///
/// Infinities and NaN: a NaN in a row of x makes that row of y NaN. Exact products follow IEEE 754: infinity times a
/// weight of 0 is NaN, and a sum beyond f32 is infinite. In int8 products an infinity in a row of x makes all of that
/// row of y infinite or NaN. With `norm` a row of x is first what `reflex_norm` makes of it. A value beyond the type of
/// y is infinite.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_WORKSPACE_TOO_SMALL`, `REFLEX_ABI_MISMATCH`,
/// `REFLEX_UNSUPPORTED`, `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Block formats: the GGUF specification (ggml).
#[unsafe(no_mangle)]
pub extern "C" fn reflex_matmul(
    context: *const reflex_context,
    params: *const reflex_matmul_params,
    stream: reflex_stream,
) -> reflex_status {
    call::launch::<Matmul>(context, params, stream)
}

/// Sets `*bytes` to the scratch that `reflex_matmul` needs for these params on this context. The function does not look
/// at the workspace fields of the params.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_matmul_workspace_size(
    context: *const reflex_context,
    params: *const reflex_matmul_params,
    bytes: *mut usize,
) -> reflex_status {
    call::workspace_size::<Matmul>(context, params, bytes)
}

/// Says by its status whether `reflex_matmul` would take these params on this context. It does the validation and the
/// selection of `reflex_matmul`, without a launch.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_matmul_supported(
    context: *const reflex_context,
    params: *const reflex_matmul_params,
) -> reflex_status {
    call::supported::<Matmul>(context, params)
}

/// Sets `*name` to the kernel that `reflex_matmul` would launch. The name is a static string: `"cpu"` on the CPU
/// backend, `"none"` when there is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_matmul_selected_kernel(
    context: *const reflex_context,
    params: *const reflex_matmul_params,
    name: *mut *const c_char,
) -> reflex_status {
    call::selected_kernel::<Matmul>(context, params, name)
}

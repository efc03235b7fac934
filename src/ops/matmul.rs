//! The op `matmul`: products of up to three weights and one x, with what an engine fuses to them.

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

/// A row's result does not depend, bit for bit, on how many other rows there are.
pub const REFLEX_MATMUL_BATCH_INVARIANT: u32 = 1;
/// Products of a floating-point x and block formats may be computed in 8-bit integers, of packed weights with up to 262144 rows,
/// of others with at most 64: x is quantised to ACT_I8 first, once for all weights of the call. Where one weight of the call is F32,
/// F16 or BF16, or one that is not packed meets more rows, no product of the call is. With `REFLEX_MATMUL_BATCH_INVARIANT` too the
/// number of rows has no say: all products are, unless a weight is F32, F16 or BF16. Without the flag a floating-point x is
/// multiplied with the weights' exact values. An x of ACT_I8 is multiplied in integers with or without it, 262144 rows at most of
/// any block format.
pub const REFLEX_MATMUL_INT8: u32 = 2;
/// The weights were written before the launch in front of this one on the stream began, as when they are loaded once: they
/// may be read while it still runs.
pub const REFLEX_MATMUL_CONSTANT_WEIGHTS: u32 = 4;
/// The two products of the call are a gated pair with one y: `y = activation(x W0^T + b0) * (x W1^T + b1) + residual`. `W0`, `b0`,
/// `residual` and `y` are of `products[0]`, `W1` and `b1` of `products[1]`, which has no residual and no y.
pub const REFLEX_MATMUL_GATED: u32 = 8;

/// A weight that `reflex_matmul` multiplies x with, and what is made of the product.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_matmul_product {
    /// `[n, k]`, any weight type, any n; block formats packed (`reflex_weights_pack`) or not. Data is 16-byte aligned for block
    /// formats, row strides too for Q4_K and Q5_K.
    pub weight: reflex_weight,
    /// Optional, `[n]`, F32, F16 or BF16.
    pub bias: reflex_tensor,
    /// Optional, `[rows, n]`, F32, F16 or BF16: added to the product. May be `y` itself.
    pub residual: reflex_tensor,
    /// `[rows, n]`, F32, F16, BF16, or, of an int8 product with n a multiple of 32, ACT_I8.
    pub y: reflex_tensor,
    /// Reserved for mixtures of experts: which part of the weight each row of x is multiplied with. Absent: this version multiplies
    /// every row with the whole weight, and refuses a product with expert ids (`REFLEX_UNSUPPORTED`).
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
    /// One or more products of x, one behind the other in memory of the host. The call reads them before it returns, and keeps no
    /// pointer to them: a captured launch has a copy of its own.
    pub products: *const reflex_matmul_product,
    /// 1 to 3; 2 with `REFLEX_MATMUL_GATED`. `REFLEX_UNSUPPORTED` for more: a second call takes the rest.
    pub product_count: u32,
    /// `sizeof(reflex_matmul_product)`: the bytes from one product to the next, by which the library knows the caller's header.
    pub product_size: u32,
    /// Scratch of `reflex_matmul_workspace_size` bytes, 256-byte aligned; may be NULL when that is 0.
    /// Nothing in it is kept from one call to the next: one as large as any of them asks for serves all calls of a stream,
    /// of every op. Calls that may run at the same time need one each.
    pub workspace: *mut c_void,
    pub workspace_size: usize,
    /// Activation of the gated pair; 0 without `REFLEX_MATMUL_GATED`.
    pub activation: reflex_activation_kind,
    pub reserved: u32,
    /// Optional, `[k]`, F32, F16 or BF16: x is normalised first, as `reflex_norm` does it with this weight. Not of a ACT_I8 x.
    pub norm: reflex_tensor,
    /// Of the norm, added to the mean square; 0 selects 1e-6. Finite and not negative; 0 without `norm` and `x_squares`.
    pub norm_epsilon: f32,
    pub reserved2: u32,
    /// Optional, `[rows, k / 32]`, F32: `x`, which is ACT_I8, is the `y_normed` of an earlier product, and these are its
    /// `y_squares`.
    pub x_squares: reflex_tensor,
    /// Optional, `[n]` of the first product, F32, F16 or BF16: weight of the RMS norm through which a later product reads its `y`.
    /// The call is int8, that n is a multiple of 32, and that `y` is the only one: there is one product, or a gated pair.
    pub y_norm: reflex_tensor,
    /// Present exactly when `y_norm` is: `[rows, n]`, ACT_I8.
    pub y_normed: reflex_tensor,
    /// Present exactly when `y_norm` is: `[rows, n / 32]`, F32.
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

/// Those in integers, then the others.
static CANDIDATES: [Candidate<MatmulPlan>; int8::CANDIDATES.len() + exact::CANDIDATES.len()] = {
    let (first, then) = (int8::CANDIDATES, exact::CANDIDATES);
    let mut all = [first[0]; int8::CANDIDATES.len() + exact::CANDIDATES.len()];
    let mut i = 0;
    while i < all.len() {
        all[i] = if i < first.len() {
            first[i]
        } else {
            then[i - first.len()]
        };
        i += 1;
    }
    all
};

/// Rows of x times the transpose of weight matrices: a linear layer, or up to three of the same x.
///
/// `y[r][o] = sum_i x[r][i] * weight[o][i] + bias[o] + residual[r][o]` for each of `products`. With `norm`, x is first what
/// `reflex_norm` makes of it: `x[r][i] * norm[i] / sqrt(mean(x[r]^2) + norm_epsilon)`. With `REFLEX_MATMUL_GATED`, two products
/// have one y.
///
/// An RMS norm between two products needs no launch of its own: the first one, with `y_norm`, also leaves
/// `y_normed[r][o] = y[r][o] * y_norm[o]` and `y_squares[r][b]`, the sum of `y[r][o]^2` over the 32 outputs `o` of block `b`, both of y in
/// f32 before it is rounded to its type. The second one takes them as `x` and `x_squares`, and divides the sums of
/// its products by `sqrt(sum_b x_squares[r][b] / k + norm_epsilon)` before it adds bias and residual.
///
/// Shapes and types: see `reflex_matmul_params` and `reflex_matmul_product`. Sums are f32. There are two ways to compute:
///
/// - Exact, of a floating-point x: up to 8 rows, and any number with `REFLEX_MATMUL_BATCH_INVARIANT`, products are f32, of
///   weights expanded to f32. More rows are multiplied on tensor cores where there are any for it (SM 8.0): both factors are
///   rounded to TF32 first, each by at most 2^-11 of itself. A launch for each weight.
/// - Int8, for block formats, of an x of ACT_I8 with any number of rows, packed weights or not; and with `REFLEX_MATMUL_INT8` of a
///   floating-point x, where weights are packed or there are at most 64 rows, or `REFLEX_MATMUL_BATCH_INVARIANT` is set: x is (or is
///   rounded to) 8 bits with a scale for every 32 elements, at most 1/254 of the largest of these from its value. Products
///   with one row, or with weights that are not packed, are summed in 32-bit integers for each block and are exact from
///   there on but for the f32 sums. Several rows are multiplied with packed weights as f16: both factors are rounded to
///   that, in units that their row or column has for 256 elements of k, by at most 2^-10 of themselves and 2^-24 of the
///   largest of these. One launch for all weights, whatever their formats, one before it when x has to be quantised, and one
///   for more than eight rows of packed weights, which makes x f16.
///
/// `k = 0` gives what is left: the sums of the products are 0 in every mode, with `norm` and `x_squares` too, before bias,
/// activation and residual.
///
/// One mode holds for all products of a call. Of a floating-point x a plain weight (F32, F16, BF16) among them, or, without
/// `REFLEX_MATMUL_BATCH_INVARIANT`, one that is not packed beside more than 64 rows, makes every product exact, whatever
/// `REFLEX_MATMUL_INT8` allows. Of an x of ACT_I8 every product is of integers, and a plain weight is refused.
///
/// `REFLEX_MATMUL_BATCH_INVARIANT`: a row's result has the same bits in a call of one row and in a call of many. With it
/// `REFLEX_MATMUL_INT8` depends on the types of the weights alone.
///
/// Alignment: elements, and 16 bytes for the data of a block format, for Q4_K and Q5_K for its row stride too. Rows of x
/// and of plain weights that are 16-byte aligned, with k a multiple of 8, are read faster. Rows are dense; row strides are
/// free. Packed weights are the faster ones in int8, and in exact products cost an unpacking.
///
/// Aliasing: a `y` may be exactly the `residual` of its own product (in place); neither it nor `y_normed` and `y_squares` share
/// another byte with any operand or with themselves. Workspace: see `reflex_matmul_workspace_size`; it shares no byte with an
/// operand. Asynchronous on `stream`, capturable, thread-safe.
///
/// Limits: rows, n and k up to 2^30; exact products `rows * ((n + 7) / 8)` up to 2^31 - 1, int8 ones up to 2^18 rows.
///
/// Infinities and NaN: a NaN in a row of x makes that row of y NaN. Exact products follow IEEE 754: infinity times a weight of
/// 0 is NaN, a sum beyond f32 infinite. In int8 an infinity in a row of x makes all of that row of y infinite or NaN. With
/// `norm` a row is what `reflex_norm` makes of it. A y beyond its type is infinite.
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

/// Bytes of scratch that `reflex_matmul` needs for these params on this context; the workspace fields are not looked at.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_matmul_workspace_size(
    context: *const reflex_context,
    params: *const reflex_matmul_params,
    bytes: *mut usize,
) -> reflex_status {
    call::workspace_size::<Matmul>(context, params, bytes)
}

/// Whether `reflex_matmul` would take these params on this context: its own validation and selection, without a launch.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_matmul_supported(
    context: *const reflex_context,
    params: *const reflex_matmul_params,
) -> reflex_status {
    call::supported::<Matmul>(context, params)
}

/// Name of the kernel that `reflex_matmul` would launch: a static string, `"cpu"` on the CPU backend, `"none"` when empty.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_matmul_selected_kernel(
    context: *const reflex_context,
    params: *const reflex_matmul_params,
    name: *mut *const c_char,
) -> reflex_status {
    call::selected_kernel::<Matmul>(context, params, name)
}

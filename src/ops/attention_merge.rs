//! The op `attention_merge`: the attention of queries over two sets of keys, put together from that over each.

use super::call;
use super::fields::expect_reserved;
use super::op::Op;
use super::operands::{InPlace, Operands};
use super::rows::{FOR_VEC8, Rows, data, vec8};
use super::schedule::{Candidate, Schedule, only};
use crate::abi::{Dtype, Params, Result, View, reflex_status, reflex_stream, reflex_tensor};
use crate::constants::ATTENTION_MERGE_THREADS;
use crate::cuda::{Grid, Kernel, ceil_div, kernel_args};
use crate::runtime::reflex_context;
use std::ffi::c_char;

/// Operands of `reflex_attention_merge`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_attention_merge_params {
    pub struct_size: u32,
    pub reserved: u32,
    /// `[.., heads, dim]`, rank 2 to 4, F32, F16 or BF16: the attention over the first set of keys. Rows are dense,
    /// outer strides are free.
    pub a: reflex_tensor,
    /// `[.., heads]`, the outer dimensions of `a`, F32: the natural logarithm of the sum of the exponentials of each
    /// row's scores. All strides are free. It is minus infinity where the row has no keys.
    pub a_lse: reflex_tensor,
    /// The shape of `a`, F32, F16 or BF16: the attention over the second set of keys, which shares no key with the
    /// first.
    pub b: reflex_tensor,
    /// The shape of `a_lse`, F32: the logarithms that belong to `b`.
    pub b_lse: reflex_tensor,
    /// The shape of `a`, F32, F16 or BF16. It may be `a` or `b` itself.
    pub y: reflex_tensor,
    /// Optional, the shape of `a_lse`, F32: receives the logarithms that belong to `y`. It may be `a_lse` or `b_lse`
    /// itself.
    pub y_lse: reflex_tensor,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_attention_merge_params {
    const MIN_SIZE: usize = 488;
}

#[derive(Clone, Copy)]
pub(crate) struct AttentionMergePlan {
    /// A row is one head of one query.
    pub rows: Rows,
    pub dim: i64,
    pub a: View,
    pub a_lse: View,
    pub b: View,
    pub b_lse: View,
    pub y: View,
    pub y_lse: Option<View>,
}

impl AttentionMergePlan {
    fn vec8(&self) -> bool {
        vec8([Some(&self.a), Some(&self.b), Some(&self.y)])
    }
}

pub(crate) struct AttentionMerge;

impl Op for AttentionMerge {
    const NAME: &'static str = "attention_merge";
    type Params = reflex_attention_merge_params;
    type Plan = AttentionMergePlan;

    fn plan(p: &reflex_attention_merge_params) -> Result<AttentionMergePlan> {
        expect_reserved(p.reserved)?;
        let a = View::required("a", &p.a)?;
        a.expect_dtype(Dtype::FLOATS)?.expect_rank(2..=4)?.expect_dense_rows()?;
        let like_a = |view: &View| {
            view.expect_dtype(Dtype::FLOATS)?
                .expect_shape(a.dims(), "the shape of a")?
                .expect_dense_rows()
                .map(drop)
        };
        let heads = &a.dims()[..a.rank() - 1];
        let lse = |view: &View| {
            view.expect_dtype(&[Dtype::F32])?
                .expect_shape(heads, "the outer dimensions of a")
                .map(drop)
        };
        let a_lse = View::required("a_lse", &p.a_lse)?;
        lse(&a_lse)?;
        let b = View::required("b", &p.b)?;
        like_a(&b)?;
        let b_lse = View::required("b_lse", &p.b_lse)?;
        lse(&b_lse)?;
        let y = View::required("y", &p.y)?;
        like_a(&y)?;
        let y_lse = View::optional("y_lse", &p.y_lse)?;
        y_lse.iter().try_for_each(lse)?;
        Ok(AttentionMergePlan {
            rows: Rows::of(&a)?,
            dim: a.last_dim(),
            a,
            a_lse,
            b,
            b_lse,
            y,
            y_lse,
        })
    }

    fn operands<'a>(plan: &'a AttentionMergePlan, to: &mut Operands<'a>) {
        to.read(&plan.a).read(&plan.a_lse).read(&plan.b).read(&plan.b_lse);
        to.write(&plan.y, InPlace::of(&["a", "b"]));
        to.write(plan.y_lse.as_ref(), InPlace::of(&["a_lse", "b_lse"]));
    }

    fn is_empty(plan: &AttentionMergePlan) -> bool {
        // Rows without elements have logarithms.
        plan.rows.count == 0 || plan.dim == 0 && plan.y_lse.is_none()
    }

    fn candidates() -> &'static [Candidate<AttentionMergePlan>] {
        &CANDIDATES
    }
}

static VEC8: Kernel = Kernel::new("attention_merge", c"reflex_attention_merge_vec8").dependent();
static SCALAR: Kernel = Kernel::new("attention_merge", c"reflex_attention_merge_scalar").dependent();

static CANDIDATES: [Candidate<AttentionMergePlan>; 2] = [
    Candidate::new(
        "vec8",
        |p, _| only(p.vec8(), FOR_VEC8),
        |p, to| schedule(p, to, &VEC8, 8),
    ),
    Candidate::new("scalar", |_, _| Ok(()), |p, to| schedule(p, to, &SCALAR, 1)),
];

kernel_args! {
    struct AttentionMergeArgs {
        a: *const u8,
        b: *const u8,
        y: *mut u8,
        a_lse: *const u8,
        b_lse: *const u8,
        y_lse: *mut u8,
        a_stride: [i64; 3],
        b_stride: [i64; 3],
        y_stride: [i64; 3],
        a_lse_stride: [i64; 3],
        b_lse_stride: [i64; 3],
        y_lse_stride: [i64; 3],
        rows: u32,
        extent1: i32,
        extent2: i32,
        dim: i32,
        lane_bits: u32,
        a_type: u32,
        b_type: u32,
        y_type: u32,
    } size 224, y_type at 220
}

fn schedule(p: &AttentionMergePlan, to: &mut Schedule, kernel: &'static Kernel, per_thread: i64) -> Result<()> {
    // As many lanes of a warp as a row has work for: short heads share a warp.
    let lanes = (ceil_div(p.dim, per_thread) as u64).next_power_of_two().min(32) as i64;
    let rows_per_block = ATTENTION_MERGE_THREADS / lanes;
    let grid = Grid::new(
        [ceil_div(p.rows.count, rows_per_block), 1, 1],
        ATTENTION_MERGE_THREADS as u32,
    )?;
    // A logarithm has no dimension of its own.
    let lse_strides = |lse: &View| Rows::behind_zeros(lse.strides());
    let args = AttentionMergeArgs {
        a: p.a.data,
        b: p.b.data,
        y: p.y.data,
        a_lse: p.a_lse.data,
        b_lse: p.b_lse.data,
        y_lse: data(&p.y_lse),
        a_stride: Rows::strides(&p.a),
        b_stride: Rows::strides(&p.b),
        y_stride: Rows::strides(&p.y),
        a_lse_stride: lse_strides(&p.a_lse),
        b_lse_stride: lse_strides(&p.b_lse),
        y_lse_stride: p.y_lse.as_ref().map_or([0; 3], lse_strides),
        rows: p.rows.count as u32,
        extent1: p.rows.extent[1],
        extent2: p.rows.extent[2],
        dim: p.dim as i32,
        lane_bits: lanes.trailing_zeros(),
        a_type: p.a.dtype.abi().0,
        b_type: p.b.dtype.abi().0,
        y_type: p.y.dtype.abi().0,
    };
    to.main(kernel, grid, &args);
    Ok(())
}

/// Merges the attention of the same queries over two sets of keys that share none: the keys of a prefix that many
/// sequences share and those of each sequence, or two parts of a long context.
///
/// With `m = max(a_lse, b_lse)`, `u = e^(a_lse - m)` and `v = e^(b_lse - m)` of each row:
/// `y = (u a + v b) / (u + v)` and `y_lse = m + ln(u + v)`. So y is the attention over all keys, and y_lse the
/// logarithm that belongs to it: results can be merged one after the other.
///
/// Shapes and types: see `reflex_attention_merge_params`; `a`, `b` and `y` may each have their own float type.
/// Computed in f32, and rounded once to the type of `y`. Rows that are 16-byte aligned, with dim a multiple of 8, are
/// faster. Where another library gives logarithms to base 2, as FlashInfer does, multiply them with ln 2 first; one
/// that keeps them as `[heads, tokens]`, as vLLM does, has them in these shapes with other strides.
///
/// A row of a or b whose logarithm is minus infinity has no keys: its elements are not used, whatever they are, and y
/// and y_lse are those of the other part. Of two such rows y is 0 and y_lse minus infinity.
///
/// Aliasing: `y` may be exactly `a` or `b`, and `y_lse` exactly `a_lse` or `b_lse` (in place). They share no other byte
/// with an input, with one another or with themselves. The op needs no workspace. The call is asynchronous on `stream`,
/// capturable and thread-safe. Results are deterministic.
///
/// Limits: a row has at most 2^30 - 1 elements, and there are at most 2^31 - 1 rows.
///
/// Infinities and NaN: a logarithm of plus infinity or NaN makes its row of y and its y_lse NaN. A part whose weight is
/// 0 adds nothing, whatever it holds: the weight is 0 where its logarithm is some 87 below the other one. Other
/// infinities and NaN of a and b reach y by IEEE 754.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
/// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Ye et al., "Cascade Inference: Memory Bandwidth Efficient Shared
/// Prefix Batch Decoding", 2024 (`merge_state` of FlashInfer); `merge_attn_states` of vLLM, where a logarithm of plus
/// infinity is a part without keys, too.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_attention_merge(
    context: *const reflex_context,
    params: *const reflex_attention_merge_params,
    stream: reflex_stream,
) -> reflex_status {
    call::launch::<AttentionMerge>(context, params, stream)
}

/// Says by its status whether `reflex_attention_merge` would take these params on this context. It does the validation
/// and the selection of `reflex_attention_merge`, without a launch.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_attention_merge_supported(
    context: *const reflex_context,
    params: *const reflex_attention_merge_params,
) -> reflex_status {
    call::supported::<AttentionMerge>(context, params)
}

/// Sets `*name` to the kernel that `reflex_attention_merge` would launch. The name is a static string: `"cpu"` on the
/// CPU backend, `"none"` when there is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_attention_merge_selected_kernel(
    context: *const reflex_context,
    params: *const reflex_attention_merge_params,
    name: *mut *const c_char,
) -> reflex_status {
    call::selected_kernel::<AttentionMerge>(context, params, name)
}

//! The op `attention_decode`: attention of a decode step over contiguous caches, with its rotation and append where asked for.

mod kernels;
mod splits;
mod step;

pub(crate) use step::Step;

use super::attention::KvCache;
use super::call;
use super::op::Op;
use super::operands::{InPlace, Operands};
use super::rope::reflex_rope_mode;
use super::schedule::Candidate;
use super::workspace::workspace_fields;
use crate::abi::{Dtype, Params, REFLEX_DTYPE_ACT_I8, Result, View};
use crate::abi::{reflex_status, reflex_stream, reflex_tensor};
use crate::runtime::reflex_context;
use std::ffi::{c_char, c_void};

/// Operands of `reflex_attention_decode`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reflex_attention_decode_params {
    pub struct_size: u32,
    /// Multiplies q k^T; finite and not negative; 0 selects 1 / sqrt(head_dim).
    pub scale: f32,
    /// `[batch, q_heads, head_dim]`, F32, F16 or BF16: one query a sequence, which sees every key of it; head_dim is a
    /// multiple of 8, up to 256.
    pub q: reflex_tensor,
    /// `[batch, capacity, kv_heads, head_dim]`, F32, F16 or BF16. q_heads is a multiple of kv_heads. Dense, it is a `k_cache`
    /// of `reflex_rope` with `slot = b * capacity + position`.
    pub k: reflex_tensor,
    /// `[batch, capacity, kv_heads, v_head_dim]`, the type of `k`; v_head_dim is a multiple of 8, up to 256.
    pub v: reflex_tensor,
    /// Optional, `[batch]`, I32, read on the device: keys of each sequence, the new token's included; a value outside
    /// 0..=capacity is clamped. Absent: capacity.
    pub kv_lengths: reflex_tensor,
    /// `[batch, q_heads, v_head_dim]`, F32, F16 or BF16; may be `q` itself. Or `[batch, q_heads * v_head_dim]`, ACT_I8, with
    /// v_head_dim a multiple of 32: a row holds the heads one after the other. A sequence without keys gives zeros.
    pub y: reflex_tensor,
    /// Scratch of `reflex_attention_decode_workspace_size` bytes, 256-byte aligned; may be NULL when that is 0.
    /// The size depends on shapes alone, never on `kv_lengths`.
    /// Nothing in it is kept from one call to the next: one as large as any of them asks for serves all calls of a stream,
    /// of every op. Calls that may run at the same time need one each.
    pub workspace: *mut c_void,
    pub workspace_size: usize,
    /// Of the rotation, as in `reflex_rope_params`: `REFLEX_ROPE_*`.
    pub mode: reflex_rope_mode,
    /// Base of the frequencies, finite, 1 or more; 0 selects 10000.
    pub theta_base: f32,
    /// Multiplies the position; finite and not negative; 0 selects 1.
    pub freq_scale: f32,
    /// Multiplies cosine and sine; finite and not negative; 0 selects 1.
    pub magnitude: f32,
    /// Leading elements of a head that are rotated, even, at most head_dim; 0 selects all of them.
    pub rotary_dim: u32,
    /// Of both norms, added to the mean square; 0 selects 1e-6. Finite and not negative.
    pub norm_epsilon: f32,
    /// Optional, with `v_new`: `[batch, kv_heads, head_dim]`, F32, F16 or BF16: the new token's k, written to row
    /// length - 1 of the sequence in `k` after norm and rotation, and seen by the query.
    pub k_new: reflex_tensor,
    /// Optional, with `k_new`: `[batch, kv_heads, v_head_dim]`, F32, F16 or BF16, written to that row of `v`.
    pub v_new: reflex_tensor,
    /// Optional, `[batch]`, I32, read on the device: q and `k_new` are rotated. Absent: they are not.
    pub positions: reflex_tensor,
    /// Optional, with `positions`: `[rotary_dim / 2]`, F32: divides the frequencies.
    pub freq_factors: reflex_tensor,
    /// Optional, `[head_dim]`, F32, F16 or BF16: each head of q gets an RMS norm with this weight before it is rotated.
    pub q_norm: reflex_tensor,
    /// Optional, with `k_new`: the same for `k_new`.
    pub k_norm: reflex_tensor,
}

impl Default for reflex_attention_decode_params {
    fn default() -> Self {
        // SAFETY: plain data, valid when zero.
        unsafe { std::mem::zeroed() }
    }
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_attention_decode_params {
    const MIN_SIZE: usize = 424;
}

#[derive(Clone, Copy)]
pub(crate) struct AttentionDecodePlan {
    pub cache: KvCache,
    pub q: View,
    pub y: View,
    /// What comes before the attention.
    pub step: Option<Step>,
}

pub(crate) struct AttentionDecode;

impl Op for AttentionDecode {
    const NAME: &'static str = "attention_decode";
    type Params = reflex_attention_decode_params;
    type Plan = AttentionDecodePlan;

    fn plan(p: &reflex_attention_decode_params) -> Result<AttentionDecodePlan> {
        let q = View::required("q", &p.q)?;
        q.expect_dtype(Dtype::FLOATS)?.expect_rank(3..=3)?.expect_dense_rows()?;
        let cache = KvCache::new(&q, [&p.k, &p.v, &p.kv_lengths], p.scale)?;
        let step = Step::new(p, &q, &cache)?;
        let y = match p.y.dtype {
            REFLEX_DTYPE_ACT_I8 => cache.quantized_output(&p.y)?,
            _ => cache.output(&q, &p.y)?,
        };
        Ok(AttentionDecodePlan { cache, q, y, step })
    }

    fn operands<'a>(plan: &'a AttentionDecodePlan, to: &mut Operands<'a>) {
        let c = &plan.cache;
        to.read(&plan.q).read(c.lengths.as_ref());
        for cache in [&c.k, &c.v] {
            match &plan.step {
                Some(step) if step.k_new.is_some() => to.write(cache, InPlace::NO),
                _ => to.read(cache),
            };
        }
        for input in plan.step.iter().flat_map(Step::inputs) {
            to.read(input);
        }
        to.write(&plan.y, InPlace::of(&["q"]));
    }

    fn is_empty(plan: &AttentionDecodePlan) -> bool {
        let appended = plan.step.and_then(|step| step.k_new);
        plan.y.is_empty() && appended.is_none_or(|k_new| k_new.is_empty())
    }

    fn candidates() -> &'static [Candidate<AttentionDecodePlan>] {
        &kernels::CANDIDATES
    }

    workspace_fields!(reflex_attention_decode_params);
}

/// Attention of one query per sequence over a contiguous cache: a decode step.
///
/// `y[b][h] = softmax(scale * q[b][h] . k[b][j][h'])_j . v[b][j][h']` over the keys `j` of the sequence, with
/// `h' = h / (q_heads / kv_heads)`.
///
/// With the operands from `k_new` on it is all that lies between the QKV product of a layer and its output projection: what
/// `reflex_rope` would do comes first, with `k[b][length - 1] = rope(k_new[b])` and `v[b][length - 1] = v_new[b]`, where
/// length counts the new token, and `rope(q)` in the place of q. `rope(x)` is x with an RMS norm of each head, if there is a
/// weight for it, and rotated, if there are positions: `reflex_rope` has the formulas. The rows of the cache get the very bits that
/// `reflex_rope` gives. `q` and `k_new` stay as they are. A sequence of length 0 gets no row. An operand that belongs to another
/// one is refused without it: `k_new` and `v_new` without each other, `k_norm` without `k_new`, `freq_factors` without `positions`.
/// The other fields are checked by themselves whatever is given: without `positions` those of the rotation, and without a norm
/// `norm_epsilon`, have no effect. Beside an aligned cache of F16
/// or BF16 no launch of its own does that, if heads and norms are aligned to 16 bytes, too; else one of rope comes first, and
/// a rotated q passes through the workspace in F32.
///
/// The query heads of a kv head are computed together, so that each key and value is read once for all of them (for up
/// to 16 of them; 8 outside the tensor core kernels). The keys of a sequence are shared among several blocks, whose
/// results are put together by themselves, as a cluster (from SM 9.0 on, with 64 SMs or more), or by a second launch; how many
/// depends on shapes and the device alone, so that a captured graph stays right as `kv_lengths` grows, and each takes its
/// part of the length that it finds there.
///
/// Shapes and types: see `reflex_attention_decode_params`. Strides of the outer dimensions are free, rows are dense. Sums
/// are f32. With K and V in F16 or BF16, 16-byte aligned and a GPU with tensor cores for the type (F16 from SM 7.5, BF16
/// from SM 8.0), q and the softmax weights are rounded to that type first: a q beyond 65504 is infinite beside an F16
/// cache. Other types and alignments are computed in f32.
///
/// A `y` in ACT_I8 is quantised from f32, as by `reflex_quantize` but without a launch of its own; its row is what a matmul
/// with the output projection takes.
///
/// A sequence without keys gives zeros. Memory beyond a sequence's length is not read.
///
/// Aliasing: `y` may be exactly `q` (in place); it shares no other byte with another operand, nor with itself. With `k_new`
/// nor do `k` and `v`; they may interleave in one allocation. Workspace: see `reflex_attention_decode_workspace_size`; it shares no
/// byte with an operand, its contents need not be kept, and launches that may run at the same time need one each. Asynchronous on `stream`,
/// capturable (`kv_lengths` is read at each replay), thread-safe. Deterministic.
///
/// Limits: head sizes as in the params; batch, capacity and heads up to 2^30 each, heads up to 16384 with operands from `k_new`
/// on; batch * q_heads up to 2^31 - 1.
///
/// Infinities and NaN: a score of plus infinity or NaN makes its query's y NaN, one of minus infinity has the weight 0; where
/// every score is minus infinity y is 0. NaN and infinities in v reach y in their own element, those under a weight of 0 as NaN.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_WORKSPACE_TOO_SMALL`, `REFLEX_ABI_MISMATCH`,
/// `REFLEX_UNSUPPORTED` (head sizes that are no multiple of 8 or above 256), `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since
/// 0.1. Dao et al., "Flash-Decoding for long-context inference", 2023.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_attention_decode(
    context: *const reflex_context,
    params: *const reflex_attention_decode_params,
    stream: reflex_stream,
) -> reflex_status {
    call::launch::<AttentionDecode>(context, params, stream)
}

/// Bytes of scratch that `reflex_attention_decode` needs for these params on this context, from their shapes alone; the
/// workspace fields are not looked at. 0 on the CPU backend, and where the keys are not split and q is taken as it is.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_attention_decode_workspace_size(
    context: *const reflex_context,
    params: *const reflex_attention_decode_params,
    bytes: *mut usize,
) -> reflex_status {
    call::workspace_size::<AttentionDecode>(context, params, bytes)
}

/// Whether `reflex_attention_decode` would take these params on this context: its own validation and selection, without
/// a launch.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_attention_decode_supported(
    context: *const reflex_context,
    params: *const reflex_attention_decode_params,
) -> reflex_status {
    call::supported::<AttentionDecode>(context, params)
}

/// Name of the kernel in which `reflex_attention_decode` would meet the keys: a static string, `"cpu"` on the CPU backend,
/// `"none"` when empty.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_attention_decode_selected_kernel(
    context: *const reflex_context,
    params: *const reflex_attention_decode_params,
    name: *mut *const c_char,
) -> reflex_status {
    call::selected_kernel::<AttentionDecode>(context, params, name)
}

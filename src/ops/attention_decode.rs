//! The op `attention_decode`: attention of a decode step over a KV cache, optionally fused with the norms of the heads, the
//! rotation and the append of the new key and value.

mod kernels;
mod splits;
mod step;

pub(crate) use step::Step;

use super::attention::AttentionCache;
use super::call;
use super::op::Op;
use super::operands::{InPlace, Operands};
use super::rope::reflex_rope_mode;
use super::schedule::Candidate;
use super::workspace::workspace_fields;
use crate::abi::{Dtype, Params, REFLEX_DTYPE_ACT_I8, Result, View};
use crate::abi::{reflex_kv_cache, reflex_status, reflex_stream, reflex_tensor};
use crate::runtime::reflex_context;
use std::ffi::{c_char, c_void};

/// Operands of `reflex_attention_decode`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reflex_attention_decode_params {
    pub struct_size: u32,
    /// The factor of q k^T. It is finite and not negative; 0 selects 1 / sqrt(head_dim).
    pub scale: f32,
    /// `[batch, q_heads, head_dim]`, F32, F16 or BF16; head_dim is a multiple of 8, up to 256. Each sequence has one
    /// query, which sees every key of the sequence.
    pub q: reflex_tensor,
    /// The keys and values, contiguous or paged, which count those of the new token. q_heads is a multiple of its
    /// kv_heads; its v_head_dim is a multiple of 8, up to 256.
    pub cache: *const reflex_kv_cache,
    /// `[batch, q_heads, v_head_dim]`, F32, F16 or BF16, which may be `q` itself; or `[batch, q_heads * v_head_dim]`,
    /// ACT_I8, with v_head_dim a multiple of 32, whose rows hold the heads one after the other. A sequence without keys
    /// gives zeros.
    pub y: reflex_tensor,
    /// Scratch of `reflex_attention_decode_workspace_size` bytes, 256-byte aligned. It may be NULL when that size is 0.
    /// The size depends on shapes alone, never on the lengths of the cache. The library keeps nothing in it from one
    /// call to the next: one workspace with the largest size that any call asks for serves all calls of a stream, of
    /// every op. Calls that may run at the same time need a workspace each.
    pub workspace: *mut c_void,
    pub workspace_size: usize,
    /// The pairing of elements in the rotation, `REFLEX_ROPE_*`, as in `reflex_rope_params`.
    pub mode: reflex_rope_mode,
    /// The base of the frequencies of the rotation. It is finite and 1 or more; 0 selects 10000.
    pub theta_base: f32,
    /// The factor of the positions in the rotation. It is finite and not negative; 0 selects 1.
    pub freq_scale: f32,
    /// The factor of cosine and sine in the rotation. It is finite and not negative; 0 selects 1.
    pub magnitude: f32,
    /// The number of leading elements of a head that are rotated. It is even and at most head_dim; 0 selects all of
    /// them.
    pub rotary_dim: u32,
    /// The epsilon of the RMS norms of `q_norm` and `k_norm`: it is added to the mean square. It is finite and not
    /// negative; 0 selects 1e-6.
    pub norm_epsilon: f32,
    /// Optional, with `v_new`: `[batch, kv_heads, head_dim]`, F32, F16 or BF16, the k of the new token. After norm and
    /// rotation it is written to the cache as the last key of the sequence, where the query sees it.
    pub k_new: reflex_tensor,
    /// Optional, with `k_new`: `[batch, kv_heads, v_head_dim]`, F32, F16 or BF16, the v of the new token. It is written
    /// to the cache as the last value.
    pub v_new: reflex_tensor,
    /// Optional, `[batch]`, I32, read on the device: the positions of the new tokens, by which q and `k_new` are
    /// rotated. When absent, neither is rotated.
    pub positions: reflex_tensor,
    /// Optional, with `positions`: `[rotary_dim / 2]`, F32, by which the frequencies are divided.
    pub freq_factors: reflex_tensor,
    /// Optional, `[head_dim]`, F32, F16 or BF16: each head of q gets an RMS norm with this weight before it is rotated.
    pub q_norm: reflex_tensor,
    /// Optional, with `k_new`: `[head_dim]`, F32, F16 or BF16; each head of `k_new` gets an RMS norm with this weight
    /// before it is rotated.
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
    const MIN_SIZE: usize = 192;
}

#[derive(Clone, Copy)]
pub(crate) struct AttentionDecodePlan {
    pub cache: AttentionCache,
    pub q: View,
    pub y: View,
    /// The norms, the rotation and the append that come before the attention.
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
        let cache = AttentionCache::new(&q, p.cache, p.scale)?;
        let step = Step::new(p, &q, &cache)?;
        let y = match p.y.dtype {
            REFLEX_DTYPE_ACT_I8 => cache.quantized_output(&p.y)?,
            _ => cache.output(&q, &p.y)?,
        };
        Ok(AttentionDecodePlan { cache, q, y, step })
    }

    fn operands<'a>(plan: &'a AttentionDecodePlan, to: &mut Operands<'a>) {
        let c = &plan.cache;
        to.read(&plan.q);
        c.read_places(to);
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
        kernels::CANDIDATES
    }

    workspace_fields!(reflex_attention_decode_params);
}

/// Computes the attention of one query per sequence over a cache: a decode step.
///
/// `y[b][h] = softmax(scale * q[b][h] . k[b][j][h'])_j . v[b][j][h']` over the keys `j` of the sequence, with
/// `h' = h / (q_heads / kv_heads)`; in a paged cache key `j` is where the block table says.
///
/// With the operands from `k_new` on, the op does all that lies between the QKV product of a layer and its output
/// projection. It first does what `reflex_rope` would do: `k[b][length - 1] = rope(k_new[b])` and
/// `v[b][length - 1] = v_new[b]`, where length counts the new token, and `rope(q)` takes the place of q. `rope(x)` is x
/// with an RMS norm of each head, if there is a weight for it, and then rotated, if there are positions; `reflex_rope`
/// has the formulas. The rows of the cache get the very bits that `reflex_rope` gives. `q` and `k_new` stay as they
/// are. A sequence of length 0 gets no row, nor does one whose last page the cache does not have.
///
/// An operand that belongs to another one is refused without it: `k_new` and `v_new` without each other, `k_norm`
/// without `k_new`, `freq_factors` without `positions`. The other fields are checked by themselves, whether they have
/// an effect or not: those of the rotation have none without `positions`, and `norm_epsilon` has none without a norm.
///
/// Beside an aligned cache of F16 or BF16, norms, rotation and append take no launch of their own if heads and norms
/// are aligned to 16 bytes, too. Otherwise a launch of rope comes first, and a rotated q passes through the workspace
/// in F32.
///
/// The query heads of a kv head, a GQA group, are computed together, so that each key and value is read once for up to
/// 16 of them (for up to 8 outside the tensor core kernels). Several blocks share the keys of a sequence. Either they
/// combine their results by themselves, as a cluster (from SM 9.0 on, with 64 SMs or more), or a second launch combines
/// them. The number of blocks depends on shapes and the device alone, so that a captured graph stays right as
/// the lengths grow: each block takes its part of the length that it finds.
///
/// Shapes and types: see `reflex_attention_decode_params` and `reflex_kv_cache`. Strides of the outer dimensions are
/// free, rows are dense. On CUDA the cache is contiguous, and K and V have one type. Sums are f32. If K and V are F16
/// or BF16 and 16-byte aligned, and the GPU has tensor cores for their type (F16 from SM 7.5, BF16 from SM 8.0), q and
/// the softmax weights are first rounded to that type; beside an F16 cache, an element of q beyond 65504 becomes
/// infinite by this rounding. Other types and alignments are computed in f32.
///
/// A `y` in ACT_I8 is quantised from f32 as `reflex_quantize` does it, but without a launch of its own. Its row is what
/// a `reflex_matmul` with the output projection takes as x.
///
/// A sequence without keys gives zeros. Memory beyond a sequence's length is not read, nor are pages that the cache
/// does not have.
///
/// Aliasing: `y` may be exactly `q` (in place). It shares no other byte with another operand, nor with itself. With
/// `k_new` the same holds for k and v of the cache: they share no byte with another operand, nor with themselves,
/// though they may interleave in one allocation. Workspace: see `reflex_attention_decode_workspace_size`; it shares no
/// byte with an operand, its contents need not be kept, and launches that may run at the same time need one each. The
/// call is asynchronous on `stream`, capturable (the lengths and the block table of the cache are read at each replay)
/// and thread-safe. Results are deterministic.
///
/// Limits: the params say which head sizes are possible. batch, capacity and heads are at most 2^30 each; with operands
/// from `k_new` on, heads are at most 16384. batch * q_heads is at most 2^31 - 1.
///
/// Infinities and NaN: a score of plus infinity or NaN makes its query's y NaN. A score of minus infinity has the
/// weight 0, and a query whose scores are all minus infinity gives 0. A NaN or an infinity in v reaches y in its own
/// element, and as NaN where its weight is 0.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_WORKSPACE_TOO_SMALL`, `REFLEX_ABI_MISMATCH`,
/// `REFLEX_UNSUPPORTED` (head sizes that are no multiple of 8 or above 256; on CUDA paged caches),
/// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Dao et al., "Flash-Decoding for long-context inference", 2023.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_attention_decode(
    context: *const reflex_context,
    params: *const reflex_attention_decode_params,
    stream: reflex_stream,
) -> reflex_status {
    call::launch::<AttentionDecode>(context, params, stream)
}

/// Sets `*bytes` to the scratch that `reflex_attention_decode` needs for these params on this context, which depends on
/// their shapes alone. It is 0 on the CPU backend, and where the keys are not split and q is taken as it is. The
/// function does not look at the workspace fields of the params.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_attention_decode_workspace_size(
    context: *const reflex_context,
    params: *const reflex_attention_decode_params,
    bytes: *mut usize,
) -> reflex_status {
    call::workspace_size::<AttentionDecode>(context, params, bytes)
}

/// Says by its status whether `reflex_attention_decode` would take these params on this context. It does the validation
/// and the selection of `reflex_attention_decode`, without a launch.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_attention_decode_supported(
    context: *const reflex_context,
    params: *const reflex_attention_decode_params,
) -> reflex_status {
    call::supported::<AttentionDecode>(context, params)
}

/// Sets `*name` to the kernel in which `reflex_attention_decode` would read the keys. The name is a static string:
/// `"cpu"` on the CPU backend, `"none"` when there is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_attention_decode_selected_kernel(
    context: *const reflex_context,
    params: *const reflex_attention_decode_params,
    name: *mut *const c_char,
) -> reflex_status {
    call::selected_kernel::<AttentionDecode>(context, params, name)
}

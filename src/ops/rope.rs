//! The op `rope`: rotary position embedding of queries and keys, fused with the norms of the heads and the append to a
//! cache.

mod kernels;
mod rotation;

pub(crate) use rotation::{
    RopeAngles, Rotation, RotationParams, expect_head_norm, expect_heads, expect_pairs, norm_epsilon, rotation_params,
};

use super::call;
use super::fields::expect_reserved;
use super::kv_cache::KvCache;
use super::op::Op;
use super::operands::{InPlace, Operands};
use super::rows::vec8;
use super::schedule::{Candidate, Takes, only};
use crate::abi::{Dtype, Error, Params, Result, View, reflex_kv_cache, reflex_status, reflex_stream, reflex_tensor};
use crate::constants::ROPE_HEADS_PAIRS;
use crate::runtime::reflex_context;
use std::ffi::c_char;

/// How `reflex_rope` pairs the elements of a head.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct reflex_rope_mode(pub u32);

/// The pairs are (i, i + rotary_dim / 2), as in GPT-NeoX, Qwen and the Hugging Face Llama.
pub const REFLEX_ROPE_NEOX: reflex_rope_mode = reflex_rope_mode(0);
/// The pairs are (2i, 2i + 1), as in the original Llama and in GGUF files of architecture `llama`.
pub const REFLEX_ROPE_INTERLEAVED: reflex_rope_mode = reflex_rope_mode(1);

/// Operands of `reflex_rope`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reflex_rope_params {
    pub struct_size: u32,
    /// `REFLEX_ROPE_*`.
    pub mode: reflex_rope_mode,
    /// The base of the frequencies. It is finite and 1 or more; 0 selects 10000.
    pub theta_base: f32,
    /// The factor of the positions (1 / factor of linear scaling). It is finite and not negative; 0 selects 1.
    pub freq_scale: f32,
    /// The factor of cosine and sine (YaRN's magnitude). It is finite and not negative; 0 selects 1.
    pub magnitude: f32,
    /// The number of leading elements of a head of q and k that are rotated. It is even and at most head_dim and 1024;
    /// 0 selects all of them.
    pub rotary_dim: u32,
    /// Optional, `[tokens, q_heads, head_dim]`, F32, F16 or BF16.
    pub q: reflex_tensor,
    /// Optional, `[tokens, kv_heads, head_dim]`, F32, F16 or BF16.
    pub k: reflex_tensor,
    /// Optional, with `cache`: `[tokens, kv_heads, v_head_dim]`, F32, F16 or BF16: copied to the cache without a
    /// rotation.
    pub v: reflex_tensor,
    /// Optional, the shape of `q`: receives the rotated q. When absent, q is rotated in place.
    pub q_out: reflex_tensor,
    /// Optional, the shape of `k`: receives the rotated k. When absent, k is rotated in place, or, with `cache`, is
    /// written there alone.
    pub k_out: reflex_tensor,
    /// `[tokens]`, I32, read on the device: the position of each token, which may be any number, also a negative one. A
    /// call with v alone has to give it, too.
    pub positions: reflex_tensor,
    /// Optional, `[rotary_dim / 2]`, F32, by which the frequencies are divided (Llama 3's `rope_freqs`). A factor that
    /// is 0 or not finite makes its pair NaN; any other is taken, also a negative or a subnormal one.
    pub freq_factors: reflex_tensor,
    /// Optional, with `k` or `v`: receives the rotated k and v at each token's slot. Its slots are the keys of the
    /// sequences one after the other, `b * capacity + position`, or, of a paged cache, those of the pages,
    /// `page * page_size + position % page_size`. Its block table and lengths are checked and not read: `slots` says
    /// where tokens go.
    pub cache: *const reflex_kv_cache,
    /// Optional, with `cache`: `[tokens]`, I32, read on the device: the slot of each token. When absent, that is the
    /// token's position, as in a cache of one sequence; a paged cache needs it. A slot outside the cache is skipped
    /// (give -1 to padding tokens).
    pub slots: reflex_tensor,
    /// Optional, `[head_dim]`, F32, F16 or BF16: each head of q gets an RMS norm with this weight before it is rotated.
    pub q_norm: reflex_tensor,
    /// Optional, `[head_dim]`, F32, F16 or BF16: each head of k gets an RMS norm with this weight before it is rotated.
    pub k_norm: reflex_tensor,
    /// The epsilon of the RMS norms of `q_norm` and `k_norm`: it is added to the mean square. It is finite and not
    /// negative; 0 selects 1e-6.
    pub norm_epsilon: f32,
    /// 0.
    pub reserved: u32,
}

impl Default for reflex_rope_params {
    fn default() -> Self {
        // SAFETY: plain data, valid when zero.
        unsafe { std::mem::zeroed() }
    }
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_rope_params {
    const MIN_SIZE: usize = 672;
}

/// One of q, k and v: where it is read and the one or two places where it goes.
#[derive(Clone, Copy)]
pub(crate) struct RopePart {
    pub x: View,
    pub out: Option<View>,
    /// The keys or the values of the plan's cache.
    pub cache: Option<View>,
    /// The weight of the RMS norm of each head.
    pub norm: Option<View>,
}

#[derive(Clone, Copy)]
pub(crate) struct RopePlan {
    pub tokens: i64,
    /// The size of the heads of q and k.
    pub head_dim: i64,
    pub rotation: Rotation,
    pub q: Option<RopePart>,
    pub k: Option<RopePart>,
    pub v: Option<RopePart>,
    pub cache: Option<KvCache>,
    pub slots: Option<View>,
    pub norm_epsilon: f32,
    /// Each token has a sequence of the cache of its own, and is the last key of it.
    pub append: bool,
}

impl RopePlan {
    /// The most elements of a head that a warp keeps in its registers.
    const MAX_WARP_DIM: i64 = 2 * ROPE_HEADS_PAIRS;

    pub fn parts(&self) -> [Option<RopePart>; 3] {
        [self.q, self.k, self.v]
    }

    /// The rows of the cache among which a token has one: those of its sequence, or all.
    pub fn cache_slots(&self) -> i64 {
        self.cache
            .map_or(0, |c| if self.append { c.capacity } else { c.slots() })
    }

    /// Takes the caches in which a kernel finds a row by one stride.
    pub fn finds_rows(&self) -> Takes {
        let even = |part: &RopePart| part.cache.is_none_or(|view| KvCache::slot_stride(&view).is_some());
        match &self.cache {
            Some(cache) if self.append => only(!cache.is_paged(), "contiguous caches"),
            _ => only(
                self.parts().iter().flatten().all(even),
                "caches whose slots are evenly apart",
            ),
        }
    }

    fn vec8(&self) -> bool {
        let pair_block = if self.rotation.neox { 16 } else { 8 };
        self.rotation.rotary_dim % pair_block == 0
            && self.parts().iter().flatten().all(|part| {
                vec8([
                    Some(&part.x),
                    part.out.as_ref(),
                    part.cache.as_ref(),
                    part.norm.as_ref(),
                ])
            })
    }

    /// The size of the largest head.
    fn widest(&self) -> i64 {
        let dims = self.parts().into_iter().flatten().map(|part| part.x.dim(2));
        dims.max().unwrap_or(0)
    }

    /// Whether rows are aligned and so short that a head lies in the lanes of a warp.
    pub fn heads_fit_warps(&self) -> bool {
        self.vec8() && self.widest() <= RopePlan::MAX_WARP_DIM
    }
}

pub(crate) struct Rope;

/// Checks that keys or values of a cache have the heads of `x`.
fn expect_heads_of(view: &View, x: &View) -> Result<()> {
    let shape = [view.dim(0), view.dim(1), x.dim(1), x.dim(2)];
    let what = "the cache's, but for [kv_heads, head_dim]";
    view.expect_shape_of(&shape, what, x).map(drop)
}

impl Op for Rope {
    const NAME: &'static str = "rope";
    type Params = reflex_rope_params;
    type Plan = RopePlan;

    fn plan(p: &reflex_rope_params) -> Result<RopePlan> {
        let operand = |field, tensor| {
            let view = View::optional(field, tensor)?;
            view.iter().try_for_each(expect_heads)?;
            Ok::<_, Error>(view)
        };
        let (q, k, v) = (operand("q", &p.q)?, operand("k", &p.k)?, operand("v", &p.v)?);
        let Some(first) = q.or(k).or(v) else {
            return Err(Error::invalid(
                "q.data, k.data and v.data are NULL, expected at least one of them",
            ));
        };
        let tokens = first.dim(0);
        for x in [q, k, v].into_iter().flatten() {
            x.expect_shape(&[tokens, x.dim(1), x.dim(2)], "as many tokens as the other operands")?;
        }
        if let (Some(q), Some(k)) = (&q, k) {
            k.expect_shape(&[tokens, k.dim(1), q.dim(2)], "the head_dim of q")?;
        }
        if let (Some(k), Some(v)) = (&k, v) {
            v.expect_shape(&[tokens, k.dim(1), v.dim(2)], "the kv_heads of k")?;
        }
        View::required("positions", &p.positions)?;
        let rotated_dim = q.or(k).map(|x| x.dim(2));
        let rotation = Rotation::new(&rotation_params!(p), rotated_dim, tokens)?;
        let head_dim = rotated_dim.unwrap_or(0);
        let norm_epsilon = norm_epsilon(p.norm_epsilon)?;
        expect_reserved(p.reserved)?;
        let slots = View::optional("slots", &p.slots)?;
        slots
            .iter()
            .try_for_each(|view| rotation::expect_indices(view, tokens))?;

        let q_norm = View::optional("q_norm", &p.q_norm)?;
        let k_norm = View::optional("k_norm", &p.k_norm)?;
        let q_out = View::optional("q_out", &p.q_out)?;
        let k_out = View::optional("k_out", &p.k_out)?;
        let cache = KvCache::optional(p.cache)?;
        expect_pairs(&[
            (("q_out", q_out.is_some()), ("q", q.is_some())),
            (("k_out", k_out.is_some()), ("k", k.is_some())),
            (("q_norm", q_norm.is_some()), ("q", q.is_some())),
            (("k_norm", k_norm.is_some()), ("k", k.is_some())),
            (("cache", cache.is_some()), ("k or v", k.or(v).is_some())),
            (("v", v.is_some()), ("cache", cache.is_some())),
            (("slots", slots.is_some()), ("cache", cache.is_some())),
        ])?;
        for norm in [&q_norm, &k_norm].into_iter().flatten() {
            expect_head_norm(norm, head_dim)?;
        }
        for (x, out) in [(&q, &q_out), (&k, &k_out)] {
            if let (Some(x), Some(out)) = (x, out) {
                out.expect_dtype(Dtype::FLOATS)?
                    .expect_shape_of(x.dims(), "the shape", x)?
                    .expect_dense_rows()?;
            }
        }
        if let Some(cache) = &cache {
            for (x, rows) in [(&k, &cache.k), (&v, &cache.v)] {
                x.iter().try_for_each(|x| expect_heads_of(rows, x))?;
            }
            if cache.is_paged() && slots.is_none() {
                return Err(Error::invalid(
                    "slots.data is NULL, expected the slot of each token with cache.block_table",
                ));
            }
        }
        let part = |x, out, cache, norm| RopePart { x, out, cache, norm };
        let q = q.map(|x| part(x, Some(q_out.unwrap_or(x)), None, q_norm));
        // A k that goes to a cache need not go anywhere else.
        let k = k.map(|x| part(x, k_out.or(cache.is_none().then_some(x)), cache.map(|c| c.k), k_norm));
        let v = v.map(|x| part(x, None, cache.map(|c| c.v), None));
        Ok(RopePlan {
            tokens,
            head_dim,
            rotation,
            q,
            k,
            v,
            cache,
            slots,
            norm_epsilon,
            append: false,
        })
    }

    fn operands<'a>(plan: &'a RopePlan, to: &mut Operands<'a>) {
        const OWN: [InPlace; 3] = [InPlace::of(&["q"]), InPlace::of(&["k"]), InPlace::NO];
        let r = &plan.rotation;
        to.read(r.positions.as_ref())
            .read(r.freq_factors.as_ref())
            .read(plan.slots.as_ref());
        for (part, own) in [&plan.q, &plan.k, &plan.v].into_iter().zip(OWN) {
            let Some(part) = part else { continue };
            to.read(&part.x).read(part.norm.as_ref());
            to.write(part.out.as_ref(), own).write(part.cache.as_ref(), InPlace::NO);
        }
    }

    fn is_empty(plan: &RopePlan) -> bool {
        plan.parts().into_iter().flatten().all(|part| part.x.is_empty())
    }

    fn candidates() -> &'static [Candidate<RopePlan>] {
        &kernels::CANDIDATES
    }
}

/// Rotates q and k by their positions (rotary position embedding) and appends K and V to a cache, in one launch. With
/// `q_norm` or `k_norm` each head gets an RMS norm first (Qwen3, Gemma 3), in the same launch.
///
/// `h[i] = x[i] / sqrt(mean(x^2) + norm_epsilon) * norm[i]` over each head of q or k that has a norm, else `h = x`.
/// Then `angle[t, i] = positions[t] * freq_scale * theta_base^(-2 i / rotary_dim) / freq_factors[i]`, and each pair
/// (u, v) of h becomes `(u cos - v sin, v cos + u sin) * magnitude`. `REFLEX_ROPE_*` say which elements are a pair.
/// Elements of h from `rotary_dim` on are not rotated. Then the slot `slots[t]` of the cache, or `positions[t]` without
/// `slots`, gets the rotated k and v. A slot outside the cache is skipped. Of two tokens with one slot either may
/// remain.
///
/// Shapes and types: see `reflex_rope_params` and `reflex_kv_cache`; every operand may have its own type. Operands may
/// be views into one merged QKV buffer. Norm, cosine, sine and rotation are f32 without a rounding between them;
/// outputs and caches get the f32 value, rounded once.
///
/// Operands: any of `q`, `k` and `v` may be given, and at least one has to be. An operand that belongs to another one
/// is refused without it: `q_out` and `q_norm` without `q`; `k_out` and `k_norm` without `k`; `cache` where neither `k`
/// nor `v` is given; `v` and `slots` without `cache`. Of the cache only what is given is written: k, v or both. The
/// other fields are checked by themselves, whether they have an effect or not: those of the rotation have none with `v`
/// alone, and `norm_epsilon` has none without a norm.
///
/// Error: before the rounding to the output's type, a rotated pair (u, v) of h is off by at most
/// `magnitude * (|u| + |v|) * (2^-21 + 2^-50 |angle|)`, at every position and on both backends. This holds where
/// `magnitude` and `magnitude * (|u| + |v|)` are normal numbers of f32 (from 2^-126 on, and less than 2^128): cosine
/// and sine are multiplied with the magnitude in f32, and u and v with these products. Where one of the two is smaller,
/// a pair may lose its last bits or all of them; where one is larger, the pair may be infinite or NaN. The second term
/// of the bound comes from a double's error in the frequency: it is as large as the first at |angle| = 2^29, and four
/// times as large at 2^31. An angle is reduced exactly, however large it is: cosine and sine are finite for any
/// position, base, scale and factor, except for the factors that make their pair NaN.
///
/// Limits: heads and head sizes are at most 16384, `rotary_dim` is at most 1024, and there are at most 2^31 - 1 tokens.
/// On CUDA the slots of the cache are evenly apart, as those of a dense cache or pool are, of one sequence with heads
/// outside of the keys, too; the slots of several such sequences or pages are not (`REFLEX_UNSUPPORTED`).
///
/// Infinities and NaN: a head with a norm is first what `reflex_norm` makes of it. An infinity makes its pair infinite
/// or NaN, and a NaN makes its pair NaN. Elements that are not rotated stay as they are.
///
/// Aliasing: `q_out` and `k_out` may be exactly `q` and `k` (in place). Outputs and caches share no other byte with an
/// input, with one another or with themselves, though k and v of the cache may interleave in one allocation. Without
/// `q_out`, q is rotated in place. Without `k_out`, k is rotated in place unless `cache` is given; then `k` is left as
/// it is.
/// The op needs no workspace. The call is asynchronous on `stream`, capturable and thread-safe.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
/// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Su et al., "RoFormer: Enhanced Transformer with Rotary Position
/// Embedding", 2021; Peng et al., "YaRN: Efficient Context Window Extension of Large Language Models", 2023.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_rope(
    context: *const reflex_context,
    params: *const reflex_rope_params,
    stream: reflex_stream,
) -> reflex_status {
    call::launch::<Rope>(context, params, stream)
}

/// Says by its status whether `reflex_rope` would take these params on this context. It does the validation and the
/// selection of `reflex_rope`, without a launch.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_rope_supported(
    context: *const reflex_context,
    params: *const reflex_rope_params,
) -> reflex_status {
    call::supported::<Rope>(context, params)
}

/// Sets `*name` to the kernel that `reflex_rope` would launch. The name is a static string: `"cpu"` on the CPU backend,
/// `"none"` when there is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_rope_selected_kernel(
    context: *const reflex_context,
    params: *const reflex_rope_params,
    name: *mut *const c_char,
) -> reflex_status {
    call::selected_kernel::<Rope>(context, params, name)
}

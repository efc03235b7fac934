use super::argmax::expect_reserved;
use super::op::{self, ANY_SM, Op, Variant};
use super::rows::vec8;
use crate::abi::{Dtype, Error, Params, Result, View, reflex_context, reflex_status, reflex_stream, reflex_tensor};
use crate::cpu::{self, CpuBackend};
use crate::cuda::{Cuda, Grid, Kernel, ceil_div, kernel_args};
use std::ffi::c_char;
use std::ptr::{null, null_mut};

/// How `reflex_rope` pairs the elements of a head.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct reflex_rope_mode(pub u32);

/// Pairs (i, i + rotary_dim / 2): GPT-NeoX, Qwen, Hugging Face Llama.
pub const REFLEX_ROPE_NEOX: reflex_rope_mode = reflex_rope_mode(0);
/// Pairs (2i, 2i + 1): the original Llama, GGUF files of architecture `llama`.
pub const REFLEX_ROPE_INTERLEAVED: reflex_rope_mode = reflex_rope_mode(1);

/// Operands of `reflex_rope`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_rope_params {
    pub struct_size: u32,
    /// `REFLEX_ROPE_*`.
    pub mode: reflex_rope_mode,
    /// Base of the frequencies, 1 or more; 0 selects 10000.
    pub theta_base: f32,
    /// Multiplies the position (1 / factor of linear scaling); 0 selects 1.
    pub freq_scale: f32,
    /// Multiplies cosine and sine (YaRN's magnitude); 0 selects 1.
    pub magnitude: f32,
    /// Leading elements of a head that are rotated, even, at most 1024; 0 selects all of them.
    pub rotary_dim: u32,
    /// `[tokens, q_heads, head_dim]`, F32, F16 or BF16. Optional where only K and V are wanted.
    pub q: reflex_tensor,
    /// `[tokens, kv_heads, head_dim]`. Optional.
    pub k: reflex_tensor,
    /// `[tokens, kv_heads, v_head_dim]`: copied to `v_cache`, not rotated. Present exactly when `v_cache` is.
    pub v: reflex_tensor,
    /// The shape of `q`; absent: q is rotated in place.
    pub q_out: reflex_tensor,
    /// The shape of `k`; absent: k is rotated in place, or with `k_cache` written there alone.
    pub k_out: reflex_tensor,
    /// `[tokens]`, I32, read on the device.
    pub positions: reflex_tensor,
    /// Optional, `[rotary_dim / 2]`, F32: divides the frequencies (Llama 3's `rope_freqs`). One that is 0 or not
    /// finite makes its pair NaN.
    pub freq_factors: reflex_tensor,
    /// Optional, `[slots, kv_heads, head_dim]`, F16 or F32: receives the rotated K at each token's slot.
    pub k_cache: reflex_tensor,
    /// Optional, `[slots, kv_heads, v_head_dim]`, F16 or F32: receives V at each token's slot.
    pub v_cache: reflex_tensor,
    /// Optional, `[tokens]`, I32, read on the device: row of the caches for each token; absent: its position.
    /// A slot outside the cache is skipped (give -1 to padding tokens).
    pub slots: reflex_tensor,
    /// Optional, `[head_dim]`, F32, F16 or BF16: each head of q gets an RMS norm with this weight before it is rotated.
    pub q_norm: reflex_tensor,
    /// Optional, `[head_dim]`: the same for k.
    pub k_norm: reflex_tensor,
    /// Of both norms, added to the mean square; 0 selects 1e-6. Finite and not negative.
    pub norm_epsilon: f32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_rope_params {
    const NAME: &'static str = "reflex_rope_params";
    const MIN_SIZE: usize = 824;
}

/// One of q, k and v: where it is read and the one or two places where it goes.
#[derive(Clone, Copy)]
pub(crate) struct RopePart {
    pub x: View,
    pub out: Option<View>,
    pub cache: Option<View>,
    /// Weight of the RMS norm of each head.
    pub norm: Option<View>,
}

#[derive(Clone, Copy)]
pub(crate) struct RopePlan {
    pub neox: bool,
    pub tokens: i64,
    /// Of q and k.
    pub head_dim: i64,
    pub rotary_dim: i64,
    pub theta_base: f64,
    pub freq_scale: f64,
    pub magnitude: f32,
    pub q: Option<RopePart>,
    pub k: Option<RopePart>,
    pub v: Option<RopePart>,
    pub positions: View,
    pub freq_factors: Option<View>,
    pub slots: Option<View>,
    pub norm_epsilon: f32,
}

impl RopePlan {
    /// Pairs whose cosine and sine a block holds (ROPE_MAX_PAIRS in the kernels).
    const MAX_PAIRS: i64 = 512;
    /// Elements that a warp holds of a head.
    const MAX_WARP_DIM: i64 = 256;
    /// Heads with a norm in a block of the other kernels (ROPE_MAX_SCALES there).
    const MAX_SCALES: i64 = 64;
    /// Bound on heads and on head sizes, so that the work items of a token are counted in 32 bits.
    const MAX_EXTENT: i64 = 1 << 14;

    pub fn parts(&self) -> [Option<RopePart>; 3] {
        [self.q, self.k, self.v]
    }

    /// Rows of the caches.
    pub fn cache_slots(&self) -> i64 {
        let cache = |part: Option<RopePart>| part.and_then(|p| p.cache);
        cache(self.k).or(cache(self.v)).map_or(0, |c| c.dim(0))
    }

    /// Frequency of pair `i` in radians per position, before `freq_factors`.
    pub fn frequency(&self, i: usize) -> f64 {
        self.freq_scale * self.theta_base.powf(-2.0 * i as f64 / self.rotary_dim as f64)
    }

    fn vec8(&self) -> bool {
        let pair_block = if self.neox { 16 } else { 8 };
        self.rotary_dim % pair_block == 0
            && self.parts().into_iter().flatten().all(|part| {
                let views = [Some(part.x), part.out, part.cache, part.norm];
                vec8(views.into_iter().flatten())
            })
    }

    /// Largest head of all.
    fn widest(&self) -> i64 {
        let dims = self.parts().into_iter().flatten().map(|part| part.x.dim(2));
        dims.max().unwrap_or(0)
    }

    fn heads_fit_warps(&self) -> bool {
        self.vec8() && self.widest() <= RopePlan::MAX_WARP_DIM
    }
}

struct Rope;

/// `0` selects the default; anything else is finite and at least `least`.
fn factor(field: &str, value: f32, default: f32, least: f32) -> Result<f32> {
    match value {
        0.0 => Ok(default),
        v if v.is_finite() && v >= least => Ok(v),
        _ => Err(Error::invalid(format!(
            "{}: {field} is {value}, expected 0 (which selects {default}) or a finite number of {least} or more",
            Rope::NAME
        ))),
    }
}

/// `[tokens, heads, dim]` of q, k or v.
fn heads(view: View) -> Result<View> {
    view.expect_dtype(Dtype::FLOATS)?
        .expect_rank(3..=3)?
        .expect_dim(0, 0..=i64::from(i32::MAX))?
        .expect_dim(1, 0..=RopePlan::MAX_EXTENT)?
        .expect_dim(2, 0..=RopePlan::MAX_EXTENT)?
        .expect_dense_rows()
}

/// `[slots, heads, dim]` of a cache.
fn cache(view: View, x: &View) -> Result<View> {
    let shape = [view.dim(0), x.dim(1), x.dim(2)];
    let what = format!("[slots, heads, head_dim] of {}", x.field());
    view.expect_dtype(&[Dtype::F16, Dtype::F32])?
        .expect_rank(3..=3)?
        .expect_shape(&shape, &what)?
        .expect_dense_rows()?
        .expect_writable()
}

/// `[tokens]` indices.
fn indices(view: View, tokens: i64) -> Result<View> {
    view.expect_dtype(&[Dtype::I32])?
        .expect_shape(&[tokens], "[tokens]")?
        .expect_dense_rows()
}

fn needs(field: &str, other: &str) -> Error {
    Error::invalid(format!(
        "{}: {field} is given and {other}.data is NULL, expected both or neither",
        Rope::NAME
    ))
}

impl Op for Rope {
    const NAME: &'static str = "rope";
    type Params = reflex_rope_params;
    type Plan = RopePlan;

    fn plan(p: &reflex_rope_params) -> Result<RopePlan> {
        let op = Self::NAME;
        let neox = match p.mode {
            REFLEX_ROPE_NEOX => true,
            REFLEX_ROPE_INTERLEAVED => false,
            other => {
                return Err(Error::invalid(format!(
                    "{op}: mode is {}, expected REFLEX_ROPE_NEOX or REFLEX_ROPE_INTERLEAVED",
                    other.0
                )));
            }
        };
        let theta_base = factor("theta_base", p.theta_base, 10000.0, 1.0)?;
        let freq_scale = factor("freq_scale", p.freq_scale, 1.0, 0.0)?;
        let magnitude = factor("magnitude", p.magnitude, 1.0, 0.0)?;

        let operand = |field, tensor| View::optional(op, field, tensor)?.map(heads).transpose();
        let (q, k, v) = (operand("q", &p.q)?, operand("k", &p.k)?, operand("v", &p.v)?);
        let Some(first) = q.or(k).or(v) else {
            return Err(Error::invalid(format!(
                "{op}: q.data, k.data and v.data are NULL, expected at least one of them"
            )));
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
        let head_dim = q.or(k).map_or(0, |x| x.dim(2));
        let rotary_dim = match i64::from(p.rotary_dim) {
            0 => head_dim,
            n if n <= head_dim => n,
            n => {
                return Err(Error::invalid(format!(
                    "{op}: rotary_dim is {n}, expected at most head_dim, {head_dim}"
                )));
            }
        };
        if rotary_dim % 2 != 0 {
            return Err(Error::invalid(format!(
                "{op}: rotary_dim is {rotary_dim}, expected an even number"
            )));
        }
        if rotary_dim / 2 > RopePlan::MAX_PAIRS {
            return Err(Error::unsupported(format!(
                "{op}: rotary_dim is {rotary_dim}, expected at most {}",
                2 * RopePlan::MAX_PAIRS
            )));
        }

        let norm = |field, tensor| -> Result<Option<View>> {
            View::optional(op, field, tensor)?
                .map(|view| {
                    view.expect_dtype(Dtype::FLOATS)?
                        .expect_shape(&[head_dim], "[head_dim]")?
                        .expect_dense_rows()
                })
                .transpose()
        };
        let (q_norm, k_norm) = (norm("q_norm", &p.q_norm)?, norm("k_norm", &p.k_norm)?);
        let norm_epsilon = factor("norm_epsilon", p.norm_epsilon, 1e-6, 0.0)?;
        expect_reserved(op, p.reserved)?;

        let positions = indices(View::required(op, "positions", &p.positions)?, tokens)?;
        let slots = View::optional(op, "slots", &p.slots)?
            .map(|view| indices(view, tokens))
            .transpose()?;
        let freq_factors = View::optional(op, "freq_factors", &p.freq_factors)?
            .map(|view| {
                view.expect_dtype(&[Dtype::F32])?
                    .expect_shape(&[rotary_dim / 2], "[rotary_dim / 2]")?
                    .expect_dense_rows()
            })
            .transpose()?;

        let q_out = View::optional(op, "q_out", &p.q_out)?;
        let k_out = View::optional(op, "k_out", &p.k_out)?;
        let k_cache = View::optional(op, "k_cache", &p.k_cache)?;
        let v_cache = View::optional(op, "v_cache", &p.v_cache)?;
        match () {
            _ if q_out.is_some() && q.is_none() => return Err(needs("q_out", "q")),
            _ if k_out.is_some() && k.is_none() => return Err(needs("k_out", "k")),
            _ if q_norm.is_some() && q.is_none() => return Err(needs("q_norm", "q")),
            _ if k_norm.is_some() && k.is_none() => return Err(needs("k_norm", "k")),
            _ if k_cache.is_some() && k.is_none() => return Err(needs("k_cache", "k")),
            _ if v_cache.is_some() && v.is_none() => return Err(needs("v_cache", "v")),
            _ if v.is_some() && v_cache.is_none() => return Err(needs("v", "v_cache")),
            _ if slots.is_some() && k_cache.is_none() && v_cache.is_none() => {
                return Err(needs("slots", "k_cache.data and v_cache"));
            }
            _ => {}
        }
        // What an output may not share memory with, itself and its own source apart.
        let inputs = [q, k, v, Some(positions), slots, freq_factors, q_norm, k_norm];
        let apart = |mut view: View, own: Option<&View>| -> Result<View> {
            for input in inputs.iter().flatten() {
                view = match own {
                    Some(x) if x.field() == input.field() => view.expect_in_place_or_apart(input)?,
                    _ => view.expect_apart(input)?,
                };
            }
            Ok(view)
        };
        let rotated = |x: View, out: Option<View>| match out {
            Some(out) => apart(
                out.expect_dtype(Dtype::FLOATS)?
                    .expect_shape(x.dims(), &format!("the shape of {}", x.field()))?
                    .expect_dense_rows()?
                    .expect_writable()?,
                Some(&x),
            ),
            None => apart(x.expect_writable()?, Some(&x)),
        };
        let cached = |x: &View, view: Option<View>| -> Result<Option<View>> {
            view.map(|view| apart(cache(view, x)?, None)).transpose()
        };
        let q = q
            .map(|x| -> Result<RopePart> {
                Ok(RopePart {
                    x,
                    out: Some(rotated(x, q_out)?),
                    cache: None,
                    norm: q_norm,
                })
            })
            .transpose()?;
        let k = k
            .map(|x| -> Result<RopePart> {
                let cache = cached(&x, k_cache)?;
                let out = match (&cache, k_out) {
                    (Some(_), None) => None,
                    (_, out) => Some(rotated(x, out)?),
                };
                Ok(RopePart {
                    x,
                    out,
                    cache,
                    norm: k_norm,
                })
            })
            .transpose()?;
        let v = v
            .map(|x| -> Result<RopePart> {
                let cache = cached(&x, v_cache)?;
                Ok(RopePart {
                    x,
                    out: None,
                    cache,
                    norm: None,
                })
            })
            .transpose()?;
        let outputs: Vec<View> = [q, k, v]
            .into_iter()
            .flatten()
            .flat_map(|part| [part.out, part.cache])
            .flatten()
            .collect();
        for (i, output) in outputs.iter().enumerate() {
            for other in &outputs[..i] {
                output.expect_apart(other)?;
            }
        }
        if let (Some(k), Some(v)) = (&k_cache, v_cache) {
            v.expect_shape(&[k.dim(0), v.dim(1), v.dim(2)], "as many slots as k_cache")?;
        }
        Ok(RopePlan {
            neox,
            tokens,
            head_dim,
            rotary_dim,
            theta_base: theta_base.into(),
            freq_scale: freq_scale.into(),
            magnitude,
            q,
            k,
            v,
            positions,
            freq_factors,
            slots,
            norm_epsilon,
        })
    }

    fn is_empty(plan: &RopePlan) -> bool {
        plan.parts().into_iter().flatten().all(|part| part.x.is_empty())
    }

    fn variants() -> &'static [Variant<RopePlan>] {
        &VARIANTS
    }

    fn cpu(plan: &RopePlan, cpu: &CpuBackend) {
        cpu::rope::rope(plan, cpu);
    }
}

static NEOX_HEADS: Kernel = Kernel::new("rope", c"reflex_rope_neox_heads").dependent();
static NEOX_VEC8: Kernel = Kernel::new("rope", c"reflex_rope_neox_vec8").dependent();
static NEOX: Kernel = Kernel::new("rope", c"reflex_rope_neox").dependent();
static INTERLEAVED_HEADS: Kernel = Kernel::new("rope", c"reflex_rope_interleaved_heads").dependent();
static INTERLEAVED_VEC8: Kernel = Kernel::new("rope", c"reflex_rope_interleaved_vec8").dependent();
static INTERLEAVED: Kernel = Kernel::new("rope", c"reflex_rope_interleaved").dependent();

static VARIANTS: [Variant<RopePlan>; 6] = [
    Variant {
        kernel: &NEOX_HEADS,
        min_sm: 75,
        max_sm: ANY_SM,
        matches: |p, _| p.neox && p.heads_fit_warps(),
        launch: |p, cuda, _| launch_heads(p, cuda, &NEOX_HEADS),
    },
    Variant {
        kernel: &NEOX_VEC8,
        min_sm: 75,
        max_sm: ANY_SM,
        matches: |p, _| p.neox && p.vec8(),
        launch: |p, cuda, _| launch_items(p, cuda, &NEOX_VEC8, 8, 8),
    },
    Variant {
        kernel: &NEOX,
        min_sm: 75,
        max_sm: ANY_SM,
        matches: |p, _| p.neox,
        launch: |p, cuda, _| launch_items(p, cuda, &NEOX, 1, 1),
    },
    Variant {
        kernel: &INTERLEAVED_HEADS,
        min_sm: 75,
        max_sm: ANY_SM,
        matches: |p, _| !p.neox && p.heads_fit_warps(),
        launch: |p, cuda, _| launch_heads(p, cuda, &INTERLEAVED_HEADS),
    },
    Variant {
        kernel: &INTERLEAVED_VEC8,
        min_sm: 75,
        max_sm: ANY_SM,
        matches: |p, _| !p.neox && p.vec8(),
        launch: |p, cuda, _| launch_items(p, cuda, &INTERLEAVED_VEC8, 8, 4),
    },
    Variant {
        kernel: &INTERLEAVED,
        min_sm: 75,
        max_sm: ANY_SM,
        matches: |p, _| !p.neox,
        launch: |p, cuda, _| launch_items(p, cuda, &INTERLEAVED, 1, 1),
    },
];

/// `rope_part` of the kernel file.
#[repr(C)]
#[derive(Clone, Copy)]
struct PartArgs {
    x: *const u8,
    out: *mut u8,
    cache: *mut u8,
    norm: *const u8,
    x_stride: [i64; 2],
    out_stride: [i64; 2],
    cache_stride: [i64; 2],
    heads: i32,
    dim: i32,
    x_type: u32,
    out_type: u32,
    cache_type: u32,
    norm_type: u32,
}

impl PartArgs {
    fn new(part: Option<RopePart>) -> PartArgs {
        let Some(part) = part else {
            return PartArgs {
                x: null(),
                out: null_mut(),
                cache: null_mut(),
                norm: null(),
                x_stride: [0; 2],
                out_stride: [0; 2],
                cache_stride: [0; 2],
                heads: 0,
                dim: 0,
                x_type: 0,
                out_type: 0,
                cache_type: 0,
                norm_type: 0,
            };
        };
        let data = |v: Option<View>| v.map_or(null_mut(), |v| v.data);
        let dtype = |v: Option<View>| v.map_or(0, |v| v.dtype.abi().0);
        let stride = |v: Option<View>| v.map_or([0; 2], |v| [v.stride(0), v.stride(1)]);
        PartArgs {
            x: part.x.data,
            out: data(part.out),
            cache: data(part.cache),
            norm: data(part.norm),
            x_stride: stride(Some(part.x)),
            out_stride: stride(part.out),
            cache_stride: stride(part.cache),
            heads: part.x.dim(1) as i32,
            dim: part.x.dim(2) as i32,
            x_type: part.x.dtype.abi().0,
            out_type: dtype(part.out),
            cache_type: dtype(part.cache),
            norm_type: dtype(part.norm),
        }
    }
}

kernel_args! {
    struct RopeArgs {
        part: [PartArgs; 3],
        positions: *const u8,
        slots: *const u8,
        freq_factors: *const u8,
        coarse: [[f32; 2]; 32],
        fine: [[f32; 2]; 16],
        cache_slots: i64,
        groups: i32,
        chunk: i32,
        lanes: i32,
        rotary_dim: i32,
        epsilon: f32,
        magnitude: f32,
    } size 752, magnitude at 748
}

/// A number as a sum of two floats: 48 bits of it.
fn split(value: f64) -> [f32; 2] {
    let high = value as f32;
    [high, (value - f64::from(high)) as f32]
}

const THREADS: i64 = 128;

/// Blocks of a token: one token is spread over many SMs; with many a block does more of one, and computes its angles
/// once. At most `most`.
fn wanted_groups(p: &RopePlan, cuda: &Cuda, most: i64) -> i64 {
    ceil_div(8 * i64::from(cuda.limits().sm_count), p.tokens).clamp(1, most.max(1))
}

fn count_heads(part: Option<RopePart>) -> i64 {
    part.map_or(0, |part| part.x.dim(1))
}

fn launch_heads(p: &RopePlan, cuda: &Cuda, kernel: &'static Kernel) -> Result<()> {
    let lanes = (p.widest() / 8).max(1).unsigned_abs().next_power_of_two() as i64;
    let heads: i64 = p.parts().map(count_heads).iter().sum();
    let per_pass = THREADS / lanes;
    let passes = ceil_div(heads, per_pass);
    let chunk = ceil_div(passes, wanted_groups(p, cuda, passes)) * per_pass;
    launch(p, cuda, kernel, [ceil_div(heads, chunk), chunk, lanes])
}

/// `per_item`: elements of one access; `pairs`: pairs of one work item.
fn launch_items(p: &RopePlan, cuda: &Cuda, kernel: &'static Kernel, per_item: i64, pairs: i64) -> Result<()> {
    let per_head = p.rotary_dim / 2 / pairs + (p.head_dim - p.rotary_dim) / per_item;
    let v_items = p.v.map_or(0, |v| v.x.dim(2) / per_item);
    let items = (count_heads(p.q) + count_heads(p.k)) * per_head + count_heads(p.v) * v_items;
    let chunk = ceil_div(items, wanted_groups(p, cuda, ceil_div(items, THREADS)));
    let normed = p.parts().into_iter().flatten().any(|part| part.norm.is_some());
    let chunk = match normed && per_head > 0 {
        // Whole heads: their norms are computed before any of their items.
        true => (chunk / per_head).clamp(1, RopePlan::MAX_SCALES) * per_head,
        false => ceil_div(chunk, THREADS) * THREADS,
    };
    launch(p, cuda, kernel, [ceil_div(items, chunk), chunk, 0])
}

fn launch(p: &RopePlan, cuda: &Cuda, kernel: &'static Kernel, [groups, chunk, lanes]: [i64; 3]) -> Result<()> {
    // Frequencies in turns per position are a geometric series: pair 16 a + b has coarse[a] * fine[b].
    let ratio = |i: usize| p.frequency(i) / p.freq_scale;
    let args = RopeArgs {
        part: p.parts().map(PartArgs::new),
        positions: p.positions.data,
        slots: p.slots.map_or(null(), |v| v.data.cast_const()),
        freq_factors: p.freq_factors.map_or(null(), |v| v.data.cast_const()),
        coarse: std::array::from_fn(|i| split(p.frequency(16 * i) / std::f64::consts::TAU)),
        fine: std::array::from_fn(|i| split(ratio(i))),
        cache_slots: p.cache_slots(),
        groups: groups as i32,
        chunk: chunk as i32,
        lanes: lanes as i32,
        rotary_dim: p.rotary_dim as i32,
        epsilon: p.norm_epsilon,
        magnitude: p.magnitude,
    };
    cuda.launch(kernel, Grid::new([p.tokens * groups, 1, 1], THREADS as u32)?, &args)
}

/// Rotary position embedding of q and k, with the append of K and V to a contiguous cache, in one launch. With `q_norm`
/// or `k_norm` each head has an RMS norm first (Qwen3, Gemma 3), in the same launch.
///
/// `h[i] = x[i] / sqrt(mean(x^2) + norm_epsilon) * norm[i]` over each head of q or k that has a norm, else `h = x`. Then
/// `angle[t, i] = positions[t] * freq_scale * theta_base^(-2 i / rotary_dim) / freq_factors[i]`; each pair (u, v) of h
/// becomes `(u cos - v sin, v cos + u sin) * magnitude`. Pairs: see `REFLEX_ROPE_*`. Elements of h from `rotary_dim` on
/// are not rotated. Then `k_cache[slot] = rotated k`, `v_cache[slot] = v`, with `slot = slots[t]`, or
/// `positions[t]` without `slots`; a slot outside the cache is skipped. Of two tokens with one slot either may remain.
///
/// Shapes and types: see `reflex_rope_params`; at least one of `q`, `k` and `v`; every operand may have its own type.
/// Operands may be views into one merged QKV buffer. The angle is reduced exactly: its error does not grow with the
/// position up to a million. Norm, cosine, sine and rotation are f32 without a rounding between them; outputs and caches get
/// the f32 value, rounded once. A NaN in a head with a norm makes that head NaN.
///
/// Aliasing: `q_out` and `k_out` may be exactly `q` and `k` (in place); no other overlap. Without `q_out` q is rotated in
/// place, without `k_out` k is, unless `k_cache` is given: then `k` is left as it is. No workspace. Asynchronous on
/// `stream`, capturable, thread-safe.
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
    op::launch::<Rope>(context, params, stream)
}

/// Whether `reflex_rope` would take these params on this context: its own validation and selection, without a launch.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_rope_supported(
    context: *const reflex_context,
    params: *const reflex_rope_params,
) -> reflex_status {
    op::supported::<Rope>(context, params)
}

/// Name of the kernel that `reflex_rope` would launch: a static string, `"cpu"` on the CPU backend, `"none"` when empty.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_rope_selected_kernel(
    context: *const reflex_context,
    params: *const reflex_rope_params,
    name: *mut *const c_char,
) -> reflex_status {
    op::selected_kernel::<Rope>(context, params, name)
}

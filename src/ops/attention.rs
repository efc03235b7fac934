//! The op `attention`: attention of many queries over a KV cache.

use super::call;
use super::fields::{expect_not_negative, expect_reserved};
use super::kv_cache::{KvCache, LARGEST};
use super::op::Op;
use super::operands::{InPlace, Operands};
use super::rows::{Rows, data};
use super::schedule::{Candidate, Schedule, Takes, only};
use crate::abi::{Dtype, Error, Params, Result, View, reflex_kv_cache, reflex_status, reflex_stream, reflex_tensor};
use crate::constants::{
    ATTENTION_MMA_KEYS, ATTENTION_MMA_LARGE_KEYS, ATTENTION_MMA_LARGE_ROWS, ATTENTION_MMA_LARGE_SHARED_ROWS,
    ATTENTION_MMA_LARGE_WARPS, ATTENTION_MMA_ROWS, ATTENTION_MMA_SHARED_ROWS, ATTENTION_MMA_WARPS, ATTENTION_THREADS,
    ATTENTION_WGMMA_KEYS, ATTENTION_WGMMA_ROWS, attention_mma_shared, attention_mma_size, attention_wgmma_shared,
};
use crate::cuda::families::attention_kernels;
use crate::cuda::{DeviceLimits, Grid, Kernel, ceil_div, kernel_args};
use crate::runtime::reflex_context;
use std::ffi::c_char;
use std::ops::Deref;

/// The keys that a query sees.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct reflex_attention_mask(pub u32);

/// A query sees the keys up to its own position. Positions are aligned to the end of the sequence: query i of T sees
/// the keys 0 ..= length - T + i.
pub const REFLEX_ATTENTION_CAUSAL: reflex_attention_mask = reflex_attention_mask(0);
/// A query sees every key of the sequence.
pub const REFLEX_ATTENTION_FULL: reflex_attention_mask = reflex_attention_mask(1);

/// Operands of `reflex_attention`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reflex_attention_params {
    pub struct_size: u32,
    /// `REFLEX_ATTENTION_*`.
    pub mask: reflex_attention_mask,
    /// The factor of q k^T. It is finite and not negative; 0 selects 1 / sqrt(head_dim).
    pub scale: f32,
    pub reserved: u32,
    /// `[batch, tokens, q_heads, head_dim]`, F32, F16 or BF16; head_dim is a multiple of 8, up to 256.
    pub q: reflex_tensor,
    /// The keys and values, contiguous or paged, which count those of the new tokens. q_heads is a multiple of its
    /// kv_heads; its v_head_dim is a multiple of 8, up to 256.
    pub cache: *const reflex_kv_cache,
    /// `[batch, tokens, q_heads, v_head_dim]`, F32, F16 or BF16. It may be `q` itself. A query that sees no key gives
    /// zeros.
    pub y: reflex_tensor,
}

impl Default for reflex_attention_params {
    fn default() -> Self {
        // SAFETY: plain data, valid when zero.
        unsafe { std::mem::zeroed() }
    }
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_attention_params {
    const MIN_SIZE: usize = 184;
}

/// A cache as the queries of a call read it: what both attention ops have.
#[derive(Clone, Copy)]
pub(crate) struct AttentionCache {
    cache: KvCache,
    /// The query heads that share a kv head: the size of a GQA group.
    pub group: i64,
    /// The factor of q k^T.
    pub scale: f32,
}

impl Deref for AttentionCache {
    type Target = KvCache;
    fn deref(&self) -> &KvCache {
        &self.cache
    }
}

impl AttentionCache {
    /// Checks the cache for a `q` of `[batch, .., q_heads, head_dim]`.
    pub fn new(q: &View, cache: *const reflex_kv_cache, scale: f32) -> Result<AttentionCache> {
        expect_not_negative("scale", scale)?;
        q.expect_dim(q.rank() - 2, 0..=LARGEST)?;
        let queries: i64 = q.dims()[..q.rank() - 1].iter().product();
        if queries > i64::from(i32::MAX) {
            return Err(Error::unsupported(format!(
                "q.shape has {queries} rows of head_dim elements, expected at most {}",
                i32::MAX
            )));
        }
        let cache = KvCache::required(cache)?;
        cache.expect_queries(q)?;
        let (q_heads, kv_heads) = (q.dim(q.rank() - 2), cache.kv_heads);
        if kv_heads == 0 && q_heads > 0 || kv_heads > 0 && q_heads % kv_heads != 0 {
            return Err(Error::invalid(format!(
                "q.shape[{}] is {q_heads}, expected a multiple of {kv_heads} (kv_heads of cache.k)",
                q.rank() - 2
            )));
        }
        for (field, value) in [("q", cache.dim), ("cache.v", cache.v_dim)] {
            if value % 8 != 0 || !(8..=256).contains(&value) {
                return Err(Error::unsupported(format!(
                    "the last dimension of {field} is {value}, expected a multiple of 8, 8 to 256"
                )));
            }
        }
        Ok(AttentionCache {
            cache,
            group: if kv_heads == 0 { 0 } else { q_heads / kv_heads },
            scale: if scale == 0.0 {
                1.0 / (cache.dim as f32).sqrt()
            } else {
                scale
            },
        })
    }

    /// Checks the output: `[.. of q, v_head_dim]`.
    pub fn output(&self, q: &View, y: &reflex_tensor) -> Result<View> {
        let mut shape = [0; 4];
        shape[..q.rank()].copy_from_slice(q.dims());
        shape[q.rank() - 1] = self.v_dim;
        let y = View::required("y", y)?;
        y.expect_dtype(Dtype::FLOATS)?
            .expect_shape(&shape[..q.rank()], "q's, but for v_head_dim")?
            .expect_dense_rows()?;
        Ok(y)
    }

    /// Checks the output of a decode step in the form that the next matmul reads: `[batch, q_heads * v_head_dim]`,
    /// ACT_I8.
    pub fn quantized_output(&self, y: &reflex_tensor) -> Result<View> {
        if self.v_dim % 32 != 0 {
            return Err(Error::unsupported(format!(
                "the last dimension of cache.v is {}, expected a multiple of 32 for a y of ACT_I8",
                self.v_dim
            )));
        }
        let width = self.kv_heads * self.group * self.v_dim;
        if width > LARGEST {
            return Err(Error::unsupported(format!(
                "y.shape[1] is {width}, expected at most {LARGEST} for a y of ACT_I8"
            )));
        }
        let y = View::required("y", y)?;
        y.expect_dtype(&[Dtype::ACT_I8])?
            .expect_rank(2..=2)?
            .expect_shape(&[self.batch, width], "[batch, q_heads * v_head_dim] for ACT_I8")?
            .expect_dense_rows()?;
        Ok(y)
    }

    /// Takes heads of at most `dim` elements whose rows of K and V are 16-byte aligned.
    pub fn aligned(&self, dim: i64) -> Takes {
        self.fits(dim)?;
        let aligned = self.k.rows_aligned(16) && self.v.rows_aligned(16);
        only(aligned, "rows of K and V that are 16-byte aligned")
    }

    pub fn fits(&self, dim: i64) -> Takes {
        self.contiguous()?;
        only(self.dim.max(self.v_dim) <= dim, "smaller heads")
    }

    /// Takes the same heads if tensor cores multiply their type: F16 from SM 7.5 on, BF16 from SM 8.0 on.
    pub fn mma(&self, dtype: Dtype, dim: i64, limits: &DeviceLimits) -> Takes {
        self.contiguous()?;
        only(self.k.dtype == dtype, "another type of K and V")?;
        only(dtype != Dtype::BF16 || limits.sm >= 80, "SM 8.0 or later")?;
        self.aligned(dim)
    }

    pub fn on_tensor_cores(&self) -> bool {
        [Dtype::F16, Dtype::BF16].contains(&self.k.dtype) && self.aligned(256).is_ok()
    }

    /// The scale for kernels that compute 2^x in place of e^x.
    pub fn scale_log2(&self) -> f32 {
        self.scale * std::f32::consts::LOG2_E
    }
}

#[derive(Clone, Copy)]
pub(crate) struct AttentionPlan {
    pub cache: AttentionCache,
    pub tokens: i64,
    pub causal: bool,
    pub q: View,
    pub y: View,
}

pub(crate) struct Attention;

impl Op for Attention {
    const NAME: &'static str = "attention";
    type Params = reflex_attention_params;
    type Plan = AttentionPlan;

    fn plan(p: &reflex_attention_params) -> Result<AttentionPlan> {
        if ![REFLEX_ATTENTION_CAUSAL, REFLEX_ATTENTION_FULL].contains(&p.mask) {
            return Err(Error::invalid(format!(
                "mask is {}, expected REFLEX_ATTENTION_CAUSAL (0) or REFLEX_ATTENTION_FULL (1)",
                p.mask.0
            )));
        }
        expect_reserved(p.reserved)?;
        let q = View::required("q", &p.q)?;
        q.expect_dtype(Dtype::FLOATS)?
            .expect_rank(4..=4)?
            .expect_dense_rows()?
            .expect_dim(1, 0..=LARGEST)?;
        let cache = AttentionCache::new(&q, p.cache, p.scale)?;
        let tokens = q.dim(1);
        if tokens * cache.group > LARGEST {
            return Err(Error::unsupported(format!(
                "q.shape[1] is {tokens}, expected at most {} with {} query heads to a kv head",
                LARGEST / cache.group,
                cache.group
            )));
        }
        Ok(AttentionPlan {
            cache,
            tokens,
            causal: p.mask == REFLEX_ATTENTION_CAUSAL,
            q,
            y: cache.output(&q, &p.y)?,
        })
    }

    fn operands<'a>(plan: &'a AttentionPlan, to: &mut Operands<'a>) {
        let c = &plan.cache;
        to.read(&plan.q).read(&c.k).read(&c.v);
        c.read_places(to);
        to.write(&plan.y, InPlace::of(&["q"]));
    }

    fn is_empty(plan: &AttentionPlan) -> bool {
        plan.y.is_empty()
    }

    fn candidates() -> &'static [Candidate<AttentionPlan>] {
        CANDIDATES
    }
}

/// The calls that a kernel takes, in the words of `kernels/instances.def`.
macro_rules! kv_takes {
    (wgmma $dtype:ident $dim:literal) => {
        |c, limits| {
            only(limits.wgmma, "devices with warpgroups: SM 9.0, and kernels for 90a").and(c.mma(
                Dtype::$dtype,
                $dim,
                limits,
            ))
        }
    };
    (mma $dtype:ident $dim:literal) => {
        |c, limits| c.mma(Dtype::$dtype, $dim, limits)
    };
    (aligned $dim:literal) => {
        |c, _| c.aligned($dim)
    };
    (any $dim:literal) => {
        |c, _| c.fits($dim)
    };
}
pub(super) use kv_takes;

/// The tensor core kernels of one number of query rows: what a block needs beside these.
struct MmaTiles {
    rows: i64,
    keys: [i64; 3],
    warps: [i64; 3],
    shared_rows: [i64; 3],
}

const MMA: MmaTiles = MmaTiles {
    rows: ATTENTION_MMA_ROWS,
    keys: ATTENTION_MMA_KEYS,
    warps: ATTENTION_MMA_WARPS,
    shared_rows: ATTENTION_MMA_SHARED_ROWS,
};
const MMA_LARGE: MmaTiles = MmaTiles {
    rows: ATTENTION_MMA_LARGE_ROWS,
    keys: ATTENTION_MMA_LARGE_KEYS,
    warps: ATTENTION_MMA_LARGE_WARPS,
    shared_rows: ATTENTION_MMA_LARGE_SHARED_ROWS,
};

impl MmaTiles {
    /// Threads and bytes of shared memory of a block, for heads of up to `dim`.
    const fn block(&self, dim: i64) -> Block {
        let size = attention_mma_size(dim) as usize;
        Block {
            rows: self.rows,
            threads: self.warps[size] * 32,
            shared: attention_mma_shared(self.shared_rows[size], self.keys[size], dim),
        }
    }
}

/// What a kernel is launched with.
#[derive(Clone, Copy)]
struct Block {
    /// Query rows.
    rows: i64,
    threads: i64,
    /// Bytes of shared memory.
    shared: i64,
}

impl Block {
    const fn of_rows(rows: i64) -> Block {
        Block {
            rows,
            threads: ATTENTION_THREADS,
            shared: 0,
        }
    }

    /// Of 64 rows each, for heads of up to `dim`.
    const fn of_warpgroups(dim: i64) -> Block {
        let size = attention_mma_size(dim) as usize;
        let rows = ATTENTION_WGMMA_ROWS[size];
        Block {
            rows,
            threads: 2 * rows,
            shared: attention_wgmma_shared(rows, ATTENTION_WGMMA_KEYS[size], dim),
        }
    }

    fn fits(&self, limits: &DeviceLimits) -> Takes {
        only(
            self.shared <= i64::from(limits.shared_per_block),
            "devices with more shared memory",
        )
    }
}

impl AttentionPlan {
    fn blocks(&self, rows: i64) -> i64 {
        ceil_div(self.tokens * self.cache.group, rows) * self.cache.batch * self.cache.kv_heads
    }

    fn has_many_rows(&self, limits: &DeviceLimits) -> Takes {
        let least = limits.tuning.attention.large_blocks * i64::from(limits.sm_count);
        only(self.blocks(ATTENTION_MMA_LARGE_ROWS) >= least, "many query rows")
    }
}

macro_rules! candidate {
    ($name:literal $file:literal $symbol:literal, $block:expr, $pays:expr, $($calls:tt)+) => {{
        static KERNEL: Kernel = Kernel::new($file, $symbol).large_shared();
        const TAKES: fn(&AttentionCache, &DeviceLimits) -> Takes = kv_takes!($($calls)+);
        const BLOCK: Block = $block;
        Candidate::new(
            $name,
            |p: &AttentionPlan, limits| BLOCK.fits(limits).and(TAKES(&p.cache, limits)),
            |p, to| schedule(p, to, &KERNEL, &BLOCK),
        )
        .where_it_pays($pays)
    }};
}

macro_rules! candidate_of_kind {
    ($name:literal $file:literal $symbol:literal $rows:ident wgmma $dtype:ident $dim:literal) => {
        candidate!($name $file $symbol, Block::of_warpgroups($dim), |_, _| Ok(()), wgmma $dtype $dim)
    };
    ($name:literal $file:literal $symbol:literal $rows:ident mma_large $dtype:ident $dim:literal) => {
        candidate!($name $file $symbol, MMA_LARGE.block($dim), AttentionPlan::has_many_rows, mma $dtype $dim)
    };
    ($name:literal $file:literal $symbol:literal $rows:ident mma $dtype:ident $dim:literal) => {
        candidate!($name $file $symbol, MMA.block($dim), |_, _| Ok(()), mma $dtype $dim)
    };
    ($name:literal $file:literal $symbol:literal $rows:ident $kind:ident $dim:literal) => {
        candidate!($name $file $symbol, Block::of_rows(crate::constants::$rows), |_, _| Ok(()), $kind $dim)
    };
}

macro_rules! candidates {
    ($({ $($row:tt)+ })+) => {
        &[$(candidate_of_kind!($($row)+)),+]
    };
}

static CANDIDATES: &[Candidate<AttentionPlan>] = attention_kernels!(candidates);

kernel_args! {
    struct AttentionArgs {
        q: *const u8,
        k: *const u8,
        v: *const u8,
        kv_lengths: *const u8,
        y: *mut u8,
        q_stride: [i64; 3],
        k_stride: [i64; 3],
        v_stride: [i64; 3],
        y_stride: [i64; 3],
        tokens: i32,
        capacity: i32,
        kv_heads: i32,
        group: i32,
        dim: i32,
        v_dim: i32,
        q_type: u32,
        kv_type: u32,
        y_type: u32,
        causal: i32,
        q_vec8: i32,
        scale_log2: f32,
    } size 184, scale_log2 at 180
}

fn schedule(p: &AttentionPlan, to: &mut Schedule, kernel: &'static Kernel, block: &Block) -> Result<()> {
    let c = &p.cache;
    let args = AttentionArgs {
        q: p.q.data,
        k: c.k.data,
        v: c.v.data,
        kv_lengths: data(&c.lengths),
        y: p.y.data,
        q_stride: Rows::strides(&p.q),
        k_stride: Rows::strides(&c.k),
        v_stride: Rows::strides(&c.v),
        y_stride: Rows::strides(&p.y),
        tokens: p.tokens as i32,
        capacity: c.capacity as i32,
        kv_heads: c.kv_heads as i32,
        group: c.group as i32,
        dim: c.dim as i32,
        v_dim: c.v_dim as i32,
        q_type: p.q.dtype.abi().0,
        kv_type: c.k.dtype.abi().0,
        y_type: p.y.dtype.abi().0,
        causal: i32::from(p.causal),
        q_vec8: i32::from(p.q.rows_aligned(16)),
        scale_log2: c.scale_log2(),
    };
    let grid = Grid::new([p.blocks(block.rows), 1, 1], block.threads as u32)?;
    to.main(kernel, grid.shared(block.shared as u32), &args);
    Ok(())
}

/// Computes the attention of many queries over a cache, as prefill and the continuation of a sequence need it.
///
/// `y[b][i][h] = softmax(scale * q[b][i][h] . k[b][j][h'])_j . v[b][j][h']` over the keys `j` that query `i` of `T`
/// sees, with `h' = h / (q_heads / kv_heads)`; in a paged cache key `j` is where the block table says. With
/// `REFLEX_ATTENTION_CAUSAL` these are the keys `0 ..= length - T + i`: queries are aligned to the end of the sequence,
/// so that the keys of the new tokens are its last ones. With `REFLEX_ATTENTION_FULL` they are all keys of the
/// sequence.
///
/// Shapes and types: see `reflex_attention_params` and `reflex_kv_cache`. Strides of the outer dimensions are free,
/// rows are dense. On CUDA the cache is contiguous, and K and V have one type. Sums are f32. If K and V are F16 or BF16
/// and 16-byte aligned, and the GPU has tensor cores for their type (F16 from SM 7.5, BF16 from SM 8.0), q and the
/// softmax weights are first rounded to that type; beside an F16 cache, an element of q beyond 65504 becomes infinite
/// by this rounding. Other types and alignments are computed in f32, more slowly.
///
/// A query that sees no key gives zeros. A NaN or infinity in a key or value reaches the queries that see it and no
/// other; memory beyond a sequence's length is not read, nor are pages that the cache does not have.
///
/// Aliasing: `y` may be exactly `q` (in place). It shares no other byte with an input, nor with itself. The op needs no
/// workspace. The call is asynchronous on `stream`, capturable (the lengths and the block table of the cache are read
/// at each replay) and thread-safe. Results are deterministic.
///
/// Limits: the params say which head sizes are possible. batch, capacity, heads and tokens * q_heads / kv_heads are at
/// most 2^30 each; batch * tokens * q_heads is at most 2^31 - 1.
///
/// Infinities and NaN: a score of plus infinity or NaN makes its query's y NaN. A score of minus infinity has the
/// weight 0, and a query whose scores are all minus infinity gives 0. A NaN or an infinity in v reaches y in its own
/// element, and as NaN where its weight is 0.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED` (head sizes
/// that are no multiple of 8 or above 256; on CUDA paged caches), `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1.
/// Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; Dao, "FlashAttention-2", 2023.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_attention(
    context: *const reflex_context,
    params: *const reflex_attention_params,
    stream: reflex_stream,
) -> reflex_status {
    call::launch::<Attention>(context, params, stream)
}

/// Says by its status whether `reflex_attention` would take these params on this context. It does the validation and
/// the selection of `reflex_attention`, without a launch.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_attention_supported(
    context: *const reflex_context,
    params: *const reflex_attention_params,
) -> reflex_status {
    call::supported::<Attention>(context, params)
}

/// Sets `*name` to the kernel that `reflex_attention` would launch. The name is a static string: `"cpu"` on the CPU
/// backend, `"none"` when there is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_attention_selected_kernel(
    context: *const reflex_context,
    params: *const reflex_attention_params,
    name: *mut *const c_char,
) -> reflex_status {
    call::selected_kernel::<Attention>(context, params, name)
}

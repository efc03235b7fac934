use super::attention::KvCache;
use super::op::{self, ANY_SM, Op, Variant, Workspace};
use super::rows::Rows;
use crate::abi::{Dtype, Params, REFLEX_DTYPE_Q8_1, Result, View};
use crate::abi::{reflex_context, reflex_status, reflex_stream, reflex_tensor};
use crate::cpu::{self, CpuBackend};
use crate::cuda::{Cuda, Grid, Kernel, ceil_div, kernel_args};
use crate::system::DeviceLimits;
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
    /// `[batch, capacity, kv_heads, head_dim]`, F32, F16 or BF16. q_heads is a multiple of kv_heads.
    pub k: reflex_tensor,
    /// `[batch, capacity, kv_heads, v_head_dim]`, the type of `k`; v_head_dim is a multiple of 8, up to 256.
    pub v: reflex_tensor,
    /// Optional, `[batch]`, I32, read on the device: keys of each sequence, the new token's included; a value outside
    /// 0..=capacity is clamped. Absent: capacity.
    pub kv_lengths: reflex_tensor,
    /// `[batch, q_heads, v_head_dim]`, F32, F16 or BF16; may be `q` itself. Or `[batch, q_heads * v_head_dim]`, Q8_1, with
    /// v_head_dim a multiple of 32: a row holds the heads one after the other. A sequence without keys gives zeros.
    pub y: reflex_tensor,
    /// Scratch of `reflex_attention_decode_workspace_size` bytes, 256-byte aligned; may be NULL when that is 0.
    /// The size depends on shapes alone, never on `kv_lengths`.
    pub workspace: *mut c_void,
    pub workspace_size: usize,
}

impl Default for reflex_attention_decode_params {
    fn default() -> Self {
        // SAFETY: plain data, valid when zero.
        unsafe { std::mem::zeroed() }
    }
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_attention_decode_params {
    const NAME: &'static str = "reflex_attention_decode_params";
    const MIN_SIZE: usize = 424;
}

#[derive(Clone, Copy)]
pub(crate) struct AttentionDecodePlan {
    pub cache: KvCache,
    pub q: View,
    pub y: View,
}

/// Most splits of a sequence: what the combining kernel has room for.
const MOST_SPLITS: i64 = 256;
/// Keys that a block takes at a time (DECODE_KEYS in the kernels).
const BLOCK_KEYS: i64 = 64;

impl AttentionDecodePlan {
    /// Blocks that an SM holds at once, of the tensor core kernels.
    fn blocks_per_sm(&self) -> i64 {
        match self.cache.dim.max(self.cache.v_dim) {
            ..=64 => 4,
            65..=128 => 3,
            _ => 2,
        }
    }

    /// How many blocks share the keys of a sequence. From shapes and the device alone: lengths lie in device memory,
    /// and addresses may differ between the question for the workspace and the launch.
    fn splits(&self, limits: &DeviceLimits) -> i64 {
        let c = &self.cache;
        let blocks = c.batch * c.kv_heads * ceil_div(c.group, 16);
        splits(blocks, c.capacity, i64::from(limits.sm_count) * self.blocks_per_sm())
    }

    /// Bytes of the partial sums, and of them with the maxima and sums of weights.
    fn partial_bytes(&self, splits: i64) -> [usize; 2] {
        if splits == 1 {
            return [0, 0];
        }
        let c = &self.cache;
        let partials = (c.batch * c.kv_heads * c.group) as usize * splits as usize;
        // Saturated, no buffer is large enough.
        let [sums, ml] = [c.v_dim as usize * 4, 8].map(|size| partials.saturating_mul(size));
        [sums, sums.saturating_add(ml)]
    }
}

/// The number of splits that a device with room for `slots` blocks at once is through with first, when there are `blocks`
/// of them without a split and every sequence fills its cache.
fn splits(blocks: i64, capacity: i64, slots: i64) -> i64 {
    /// In 64ths of the time that a block needs for one step of its loop. To begin and to end takes it about as long
    /// as a step; putting the splits together takes a launch and some more for each split.
    const STEP: i128 = 64;
    const LAUNCH: i128 = 2 * STEP;
    let steps = ceil_div(capacity, BLOCK_KEYS).max(1);
    let slots = i128::from(slots.max(1));
    (1..=steps.min(MOST_SPLITS))
        .min_by_key(|&splits| {
            let waves = (i128::from(blocks) * i128::from(splits) + slots - 1) / slots;
            let combine = if splits == 1 { 0 } else { LAUNCH + i128::from(splits) };
            waves * i128::from(ceil_div(steps, splits) + 1) * STEP + combine
        })
        .unwrap_or(1)
}

struct AttentionDecode;

impl Op for AttentionDecode {
    const NAME: &'static str = "attention_decode";
    type Params = reflex_attention_decode_params;
    type Plan = AttentionDecodePlan;

    fn plan(p: &reflex_attention_decode_params) -> Result<AttentionDecodePlan> {
        let op = Self::NAME;
        let q = View::required(op, "q", &p.q)?
            .expect_dtype(Dtype::FLOATS)?
            .expect_rank(3..=3)?
            .expect_dense_rows()?;
        let cache = KvCache::new(op, &q, [&p.k, &p.v, &p.kv_lengths], p.scale)?;
        let y = match p.y.dtype {
            REFLEX_DTYPE_Q8_1 => cache.quantized_output(op, &q, &p.y)?,
            _ => cache.output(op, &q, &p.y)?,
        };
        Ok(AttentionDecodePlan { cache, q, y })
    }

    fn is_empty(plan: &AttentionDecodePlan) -> bool {
        plan.y.is_empty()
    }

    fn variants() -> &'static [Variant<AttentionDecodePlan>] {
        &VARIANTS
    }

    fn cpu(plan: &AttentionDecodePlan, cpu: &CpuBackend) {
        cpu::attention_decode::attention_decode(plan, cpu);
    }

    fn workspace_bytes(plan: &AttentionDecodePlan, limits: &DeviceLimits) -> usize {
        plan.partial_bytes(plan.splits(limits))[1]
    }

    fn workspace(params: &reflex_attention_decode_params) -> Workspace {
        Workspace {
            data: params.workspace,
            bytes: params.workspace_size,
        }
    }
}

/// `$rows` is how many of the query heads that share a kv head a block takes.
macro_rules! variant {
    ($symbol:literal, $min_sm:literal, $rows:literal, $matches:expr) => {{
        static KERNEL: Kernel = Kernel::new("attention_decode", $symbol).dependent();
        const MATCHES: fn(&KvCache) -> bool = $matches;
        Variant {
            kernel: &KERNEL,
            min_sm: $min_sm,
            max_sm: ANY_SM,
            matches: |p, _| MATCHES(&p.cache),
            launch: |p, cuda, workspace| launch(p, cuda, workspace, &KERNEL, $rows),
        }
    }};
}

static VARIANTS: [Variant<AttentionDecodePlan>; 10] = [
    variant!(c"reflex_attention_decode_f16_mma_64", 75, 16, |c| c.mma(Dtype::F16, 64)),
    variant!(c"reflex_attention_decode_f16_mma_128", 75, 16, |c| c
        .mma(Dtype::F16, 128)),
    variant!(c"reflex_attention_decode_f16_mma_256", 75, 16, |c| c
        .mma(Dtype::F16, 256)),
    variant!(c"reflex_attention_decode_bf16_mma_64", 80, 16, |c| c
        .mma(Dtype::BF16, 64)),
    variant!(c"reflex_attention_decode_bf16_mma_128", 80, 16, |c| c
        .mma(Dtype::BF16, 128)),
    variant!(c"reflex_attention_decode_bf16_mma_256", 80, 16, |c| c
        .mma(Dtype::BF16, 256)),
    variant!(c"reflex_attention_decode_fma_aligned_64", 75, 8, |c| c.aligned(64)),
    variant!(c"reflex_attention_decode_fma_aligned_128", 75, 8, |c| c.aligned(128)),
    variant!(c"reflex_attention_decode_fma_aligned_256", 75, 8, |c| c.aligned(256)),
    variant!(c"reflex_attention_decode_fma_256", 75, 8, |c| c.fits(256)),
];

static COMBINE: Kernel = Kernel::new("attention_decode", c"reflex_attention_decode_combine").dependent();

kernel_args! {
    struct AttentionDecodeArgs {
        q: *const u8,
        k: *const u8,
        v: *const u8,
        kv_lengths: *const u8,
        y: *mut u8,
        partial: *mut c_void,
        partial_ml: *mut c_void,
        q_stride: [i64; 3],
        y_stride: [i64; 3],
        k_stride: [i64; 3],
        v_stride: [i64; 3],
        capacity: i32,
        kv_heads: i32,
        group: i32,
        dim: i32,
        v_dim: i32,
        chunks: i32,
        splits: i32,
        q_type: u32,
        kv_type: u32,
        y_type: u32,
        q_vec8: i32,
        scale_log2: f32,
    } size 200, scale_log2 at 196
}

fn launch(
    p: &AttentionDecodePlan,
    cuda: &Cuda,
    workspace: &Workspace,
    kernel: &'static Kernel,
    rows: i64,
) -> Result<()> {
    let c = &p.cache;
    let splits = p.splits(cuda.limits());
    let chunks = ceil_div(c.group, rows);
    let args = AttentionDecodeArgs {
        q: p.q.data,
        k: c.k.data,
        v: c.v.data,
        kv_lengths: c.lengths.map_or(std::ptr::null(), |v| v.data.cast_const()),
        y: p.y.data,
        partial: workspace.data,
        partial_ml: workspace.data.wrapping_byte_add(p.partial_bytes(splits)[0]),
        q_stride: Rows::strides(&p.q),
        y_stride: match p.y.dtype {
            Dtype::Q8_1 => [0, p.y.stride(0), 0],
            _ => Rows::strides(&p.y),
        },
        k_stride: Rows::strides(&c.k),
        v_stride: Rows::strides(&c.v),
        capacity: c.capacity as i32,
        kv_heads: c.kv_heads as i32,
        group: c.group as i32,
        dim: c.dim as i32,
        v_dim: c.v_dim as i32,
        chunks: chunks as i32,
        splits: splits as i32,
        q_type: p.q.dtype.abi().0,
        kv_type: c.k.dtype.abi().0,
        y_type: p.y.dtype.abi().0,
        q_vec8: i32::from(p.q.rows_aligned(16)),
        scale_log2: c.scale_log2(),
    };
    let blocks = (c.batch * c.kv_heads * chunks).saturating_mul(splits);
    cuda.launch(kernel, Grid::new([blocks, 1, 1], 128)?, &args)?;
    if splits > 1 {
        let heads = c.batch * c.kv_heads * c.group;
        cuda.launch(&COMBINE, Grid::new([heads, 1, 1], 128)?, &args)?;
    }
    Ok(())
}

/// Attention of one query per sequence over a contiguous cache: a decode step.
///
/// `y[b][h] = softmax(scale * q[b][h] . k[b][j][h'])_j . v[b][j][h']` over the keys `j` of the sequence, with
/// `h' = h / (q_heads / kv_heads)`.
///
/// The query heads of a kv head are computed together, so that each key and value is read once for all of them (for up
/// to 16 of them; 8 outside the tensor core kernels). The keys of a sequence are shared among several blocks, whose
/// results a second launch puts together; how many depends on shapes and the device alone, so that a captured graph
/// stays right as `kv_lengths` grows, and each takes its part of the length that it finds there.
///
/// Shapes and types: see `reflex_attention_decode_params`. Strides of the outer dimensions are free, rows are dense. Sums
/// are f32. With K and V in F16 or BF16, 16-byte aligned and a GPU with tensor cores for the type (F16 from SM 7.5, BF16
/// from SM 8.0), q and the softmax weights are rounded to that type first: a q beyond 65504 is infinite beside an F16
/// cache. Other types and alignments are computed in f32.
///
/// A `y` in Q8_1 is quantised from f32, as by `reflex_quantize` but without a launch of its own; its row is what a matmul
/// with the output projection takes.
///
/// A sequence without keys gives zeros. Memory beyond a sequence's length is not read.
///
/// Aliasing: `y` may be exactly `q`; it overlaps nothing else. Workspace: see `reflex_attention_decode_workspace_size`;
/// its contents need not be kept, and launches that may run at the same time need one each. Asynchronous on `stream`,
/// capturable (`kv_lengths` is read at each replay), thread-safe. Deterministic.
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
    op::launch::<AttentionDecode>(context, params, stream)
}

/// Bytes of scratch that `reflex_attention_decode` needs for these params on this context, from their shapes alone; the
/// workspace fields are not looked at. 0 where the keys are not split, and on the CPU backend.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_attention_decode_workspace_size(
    context: *const reflex_context,
    params: *const reflex_attention_decode_params,
    bytes: *mut usize,
) -> reflex_status {
    op::workspace_size::<AttentionDecode>(context, params, bytes)
}

/// Whether `reflex_attention_decode` would take these params on this context: its own validation and selection, without
/// a launch.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_attention_decode_supported(
    context: *const reflex_context,
    params: *const reflex_attention_decode_params,
) -> reflex_status {
    op::supported::<AttentionDecode>(context, params)
}

/// Name of the kernel that `reflex_attention_decode` would launch first: a static string, `"cpu"` on the CPU backend,
/// `"none"` when empty.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_attention_decode_selected_kernel(
    context: *const reflex_context,
    params: *const reflex_attention_decode_params,
    name: *mut *const c_char,
) -> reflex_status {
    op::selected_kernel::<AttentionDecode>(context, params, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_fill_small_and_large_devices() {
        // Orin Nano, AGX Orin and H200, three blocks an SM; 8 kv heads, one sequence.
        for sms in [8, 16, 132] {
            for capacity in [4096, 131072] {
                let blocks = 8 * splits(8, capacity, sms * 3);
                assert!((sms..=sms * 3).contains(&blocks), "{blocks} blocks for {sms} SMs");
            }
        }
    }

    #[test]
    fn no_split_where_it_does_not_pay() {
        assert_eq!(splits(8, 0, 24), 1);
        assert_eq!(splits(8, 64, 396), 1);
        // As many blocks as there is room for.
        assert_eq!(splits(396, 4096, 396), 1);
        assert!((1..=MOST_SPLITS).contains(&splits(i64::MAX >> 4, 1 << 30, 1)));
        assert!((1..=MOST_SPLITS).contains(&splits(1, 1 << 30, i64::from(u32::MAX))));
    }

    #[test]
    fn an_uneven_number_of_blocks_is_evened_out() {
        // 300 blocks of 264 at a time are two waves, the second nearly empty.
        let n = splits(300, 32768, 264);
        let last_wave = (300 * n - 1) % 264 + 1;
        assert!((2..16).contains(&n) && last_wave > 200, "{n}");
    }
}

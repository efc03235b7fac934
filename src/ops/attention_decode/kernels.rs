//! Which kernel of `kernels/attention_decode/` a call takes, and its launch.

use super::{AttentionDecodePlan, Step};
use crate::abi::{Dtype, Result};
use crate::cuda::{Cuda, Grid, Kernel, ceil_div, kernel_args};
use crate::ops::attention::{KvCache, kv_variant};
use crate::ops::op::{self, Variant, Workspace};
use crate::ops::rope::{Rope, RopeAngles};
use crate::ops::rows::{Rows, data, dtype, strides};
use std::ffi::c_void;

macro_rules! variant {
    ($symbol:literal, $($rest:tt)*) => {
        kv_variant!(launch, Kernel::new("attention_decode", $symbol).dependent().clusters(), $($rest)*)
    };
}

macro_rules! step_variant {
    ($symbol:literal, $dim:literal) => {{
        static KERNEL: Kernel = Kernel::new("attention_decode", $symbol).dependent().clusters();
        Variant::new(
            &KERNEL,
            |p: &AttentionDecodePlan, _| p.plain($dim),
            |p, cuda, workspace| launch(p, cuda, workspace, &KERNEL, 16),
        )
    }};
}

pub(super) static VARIANTS: [Variant<AttentionDecodePlan>; 12] = [
    step_variant!(c"reflex_attention_decode_f16_step_64", 64),
    step_variant!(c"reflex_attention_decode_f16_step_128", 128),
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
        cluster: i32,
        q_type: u32,
        kv_type: u32,
        y_type: u32,
        q_vec8: i32,
        scale_log2: f32,
        epsilon: f32,
        k_new: *const u8,
        v_new: *const u8,
        positions: *const u8,
        q_norm: *const u8,
        k_norm: *const u8,
        k_new_stride: [i64; 3],
        v_new_stride: [i64; 3],
        angles: RopeAngles,
        k_new_type: u32,
        v_new_type: u32,
        q_norm_type: u32,
        k_norm_type: u32,
        lanes: i32,
        neox: i32,
    } size 720, neox at 716
}

/// The call's kernel multiplies on tensor cores. Code for Turing has no such kernel for BF16.
fn mma(c: &KvCache, code_sm: u32) -> bool {
    c.mma(Dtype::F16, 256) || c.mma(Dtype::BF16, 256) && code_sm >= 80
}

fn launch(
    p: &AttentionDecodePlan,
    cuda: &Cuda,
    workspace: &Workspace,
    kernel: &'static Kernel,
    rows: i64,
) -> Result<()> {
    let scratch = workspace.data.wrapping_byte_add(p.scratch_offset(cuda.limits()));
    let (rope, composed) = p.composed(scratch.cast());
    // What a rope would leave to its slower kernels is left to them.
    let fused = match &rope {
        Some(rope) => mma(&p.cache, cuda.code_sm(kernel)?) && rope.heads_fit_warps() && !p.y.is_empty(),
        None => true,
    };
    if let Some(rope) = rope.filter(|_| !fused) {
        op::run::<Rope>(&rope, cuda, &Workspace::NONE)?;
        // Rows for the cache alone.
        if composed.y.is_empty() {
            return Ok(());
        }
        return launch_attention(&composed, cuda, workspace, kernel, rows);
    }
    launch_attention(p, cuda, workspace, kernel, rows)
}

fn launch_attention(
    p: &AttentionDecodePlan,
    cuda: &Cuda,
    workspace: &Workspace,
    kernel: &'static Kernel,
    rows: i64,
) -> Result<()> {
    let c = &p.cache;
    let cluster = p.cluster(cuda.limits(), cuda.most_cluster(kernel)?);
    let splits = cluster.unwrap_or_else(|| p.splits(cuda.limits()));
    let cluster = cluster.filter(|&n| n > 1);
    let chunks = ceil_div(c.group, rows);
    let step = p.step.unwrap_or(Step::NONE);
    let lanes = (c.dim.max(c.v_dim) / 8).unsigned_abs().next_power_of_two();
    let args = AttentionDecodeArgs {
        q: p.q.data,
        k: c.k.data,
        v: c.v.data,
        kv_lengths: data(c.lengths),
        y: p.y.data,
        partial: workspace.data,
        partial_ml: workspace.data.wrapping_byte_add(p.partial_bytes(splits)[0]),
        q_stride: Rows::strides(&p.q),
        y_stride: match p.y.dtype {
            Dtype::ACT_I8 => [0, p.y.stride(0), 0],
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
        cluster: i32::from(cluster.is_some()),
        q_type: p.q.dtype.abi().0,
        kv_type: c.k.dtype.abi().0,
        y_type: p.y.dtype.abi().0,
        q_vec8: i32::from(p.q.rows_aligned(16)),
        scale_log2: c.scale_log2(),
        epsilon: step.norm_epsilon,
        k_new: data(step.k_new),
        v_new: data(step.v_new),
        positions: data(step.rotation.positions),
        q_norm: data(step.q_norm),
        k_norm: data(step.k_norm),
        k_new_stride: strides(step.k_new),
        v_new_stride: strides(step.v_new),
        angles: RopeAngles::new(&step.rotation),
        k_new_type: dtype(step.k_new),
        v_new_type: dtype(step.v_new),
        q_norm_type: dtype(step.q_norm),
        k_norm_type: dtype(step.k_norm),
        lanes: lanes as i32,
        neox: i32::from(step.rotation.neox),
    };
    let blocks = (c.batch * c.kv_heads * chunks).saturating_mul(splits);
    let grid = Grid::new([blocks, 1, 1], 128)?.cluster(cluster.unwrap_or(1) as u32);
    cuda.launch(kernel, grid, &args)?;
    if splits > 1 && cluster.is_none() {
        let heads = c.batch * c.kv_heads * c.group;
        cuda.launch(&COMBINE, Grid::new([heads, 1, 1], 128)?, &args)?;
    }
    Ok(())
}

//! The kernels of `kernels/attention_decode/`: which one a call takes, and its launch.

use super::{AttentionDecodePlan, Step};
use crate::abi::{Dtype, Result};
use crate::constants::DECODE_WARPS;
use crate::cuda::families::{ATTENTION_DECODE_COMBINE, attention_decode_kernels};
use crate::cuda::{DeviceLimits, Grid, Kernel, ceil_div, kernel_args};
use crate::ops::attention::{AttentionCache, kv_takes};
use crate::ops::rope::{Rope, RopeAngles, RopePlan};
use crate::ops::rows::{Rows, data, dtype, strides};
use crate::ops::schedule::{Candidate, Schedule, Takes};
use std::ffi::c_void;

macro_rules! kernel {
    ($file:literal $symbol:literal) => {
        Kernel::new($file, $symbol).dependent().clusters()
    };
}

macro_rules! candidate {
    ($name:literal $file:literal $symbol:literal $rows:ident step $dim:literal) => {{
        static KERNEL: Kernel = kernel!($file $symbol);
        Candidate::new(
            $name,
            |p: &AttentionDecodePlan, limits| p.plain($dim, limits),
            |p, to| schedule(p, to, &KERNEL, crate::constants::$rows),
        )
    }};
    ($name:literal $file:literal $symbol:literal $rows:ident $($calls:tt)+) => {{
        static KERNEL: Kernel = kernel!($file $symbol);
        const TAKES: fn(&AttentionCache, &DeviceLimits) -> Takes = kv_takes!($($calls)+);
        Candidate::new(
            $name,
            |p, limits| TAKES(&p.cache, limits),
            |p, to| schedule(p, to, &KERNEL, crate::constants::$rows),
        )
    }};
}

macro_rules! candidates {
    ($({ $($row:tt)+ })+) => {
        &[$(candidate!($($row)+)),+]
    };
}

pub(super) static CANDIDATES: &[Candidate<AttentionDecodePlan>] = attention_decode_kernels!(candidates);

static COMBINE: Kernel = ATTENTION_DECODE_COMBINE[0].kernel().dependent();

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

fn schedule(p: &AttentionDecodePlan, to: &mut Schedule, kernel: &'static Kernel, rows: i64) -> Result<()> {
    let partials = to.book("partial sums", p.partial_bytes(p.splits(to.limits()))[1]);
    // The place of a normed and rotated q, where a launch in front of the attention computes it.
    let q = to.book("the rotated q", p.q_bytes());
    to.names(kernel);
    // Heads that only rope's slower kernels can rotate are left to these. Code for Turing multiplies no BF16 on tensor
    // cores.
    let mma = |code_sm| p.cache.on_tensor_cores() && (p.cache.k.dtype == Dtype::F16 || code_sm >= 80);
    let code_sm = to.device.code_sm(kernel)?;
    let separate = |rope: &RopePlan| !mma(code_sm) || !rope.heads_fit_warps() || p.y.is_empty();
    let Some(rope) = p.rope(q).filter(separate) else {
        return schedule_attention(p, to, kernel, rows, partials);
    };
    to.add::<Rope>(&rope)?;
    // The call has only rows for the cache.
    if p.y.is_empty() {
        return Ok(());
    }
    schedule_attention(&p.after_rope(q), to, kernel, rows, partials)
}

fn schedule_attention(
    p: &AttentionDecodePlan,
    to: &mut Schedule,
    kernel: &'static Kernel,
    rows: i64,
    partials: *mut u8,
) -> Result<()> {
    let c = &p.cache;
    let cluster = p.cluster(to.limits(), to.device.most_cluster(kernel)?);
    let splits = cluster.unwrap_or_else(|| p.splits(to.limits()));
    let cluster = cluster.filter(|&n| n > 1);
    let chunks = ceil_div(c.group, rows);
    let step = p.step.unwrap_or(Step::NONE);
    let lanes = (c.dim.max(c.v_dim) / 8).unsigned_abs().next_power_of_two();
    let args = AttentionDecodeArgs {
        q: p.q.data,
        k: c.k.data,
        v: c.v.data,
        kv_lengths: data(&c.lengths),
        y: p.y.data,
        partial: partials.cast(),
        partial_ml: partials.wrapping_add(p.partial_bytes(splits)[0]).cast(),
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
        k_new: data(&step.k_new),
        v_new: data(&step.v_new),
        positions: data(&step.rotation.positions),
        q_norm: data(&step.q_norm),
        k_norm: data(&step.k_norm),
        k_new_stride: strides(&step.k_new),
        v_new_stride: strides(&step.v_new),
        angles: RopeAngles::new(&step.rotation),
        k_new_type: dtype(&step.k_new),
        v_new_type: dtype(&step.v_new),
        q_norm_type: dtype(&step.q_norm),
        k_norm_type: dtype(&step.k_norm),
        lanes: lanes as i32,
        neox: i32::from(step.rotation.neox),
    };
    let blocks = (c.batch * c.kv_heads * chunks).saturating_mul(splits);
    let threads = DECODE_WARPS as u32 * 32;
    let grid = Grid::new([blocks, 1, 1], threads)?.cluster(cluster.unwrap_or(1) as u32);
    to.main(kernel, grid, &args);
    if splits > 1 && cluster.is_none() {
        let heads = c.batch * c.kv_heads * c.group;
        to.launch(&COMBINE, Grid::new([heads, 1, 1], threads)?, &args);
    }
    Ok(())
}

//! Which kernel of `kernels/rope.cu` a call takes, and its launch.

use super::rotation::RopeAngles;
use super::{RopePart, RopePlan};
use crate::abi::{Result, View};
use crate::constants::{ROPE_MAX_SCALES, ROPE_THREADS};
use crate::cuda::{Grid, Kernel, ceil_div, kernel_args};
use crate::ops::kv_cache::KvCache;
use crate::ops::rows::{Rows, data, dtype};
use crate::ops::schedule::{Candidate, Schedule, Takes, only};
use std::ptr::{null, null_mut};

static NEOX_HEADS: Kernel = Kernel::new("rope", c"reflex_rope_neox_heads").dependent();
static NEOX_VEC8: Kernel = Kernel::new("rope", c"reflex_rope_neox_vec8").dependent();
static NEOX: Kernel = Kernel::new("rope", c"reflex_rope_neox").dependent();
static INTERLEAVED_HEADS: Kernel = Kernel::new("rope", c"reflex_rope_interleaved_heads").dependent();
static INTERLEAVED_VEC8: Kernel = Kernel::new("rope", c"reflex_rope_interleaved_vec8").dependent();
static INTERLEAVED: Kernel = Kernel::new("rope", c"reflex_rope_interleaved").dependent();

/// A candidate for one of the two ways in which elements are paired.
macro_rules! candidate {
    ($name:literal, $kernel:ident, $neox:literal, $takes:expr, $schedule:expr) => {{
        const TAKES: fn(&RopePlan) -> Takes = $takes;
        const SCHEDULE: fn(&RopePlan, &mut Schedule, &'static Kernel) -> Result<()> = $schedule;
        Candidate::new(
            $name,
            |p, _| {
                only(p.rotation.neox == $neox, "the other mode")
                    .and(p.finds_rows())
                    .and(TAKES(p))
            },
            |p, to| SCHEDULE(p, to, &$kernel),
        )
    }};
}

const ALIGNED: &str =
    "rows of a multiple of 8 elements, 16-byte aligned, and rotary_dim a multiple of 16, 8 if interleaved";
const SHORT: &str = "aligned heads of at most 256 elements";

pub(super) static CANDIDATES: [Candidate<RopePlan>; 6] = [
    candidate!(
        "neox_heads",
        NEOX_HEADS,
        true,
        |p| only(p.heads_fit_warps(), SHORT),
        schedule_heads
    ),
    candidate!(
        "neox_vec8",
        NEOX_VEC8,
        true,
        |p| only(p.vec8(), ALIGNED),
        |p, to, kernel| { schedule_items(p, to, kernel, 8, 8) }
    ),
    candidate!("neox", NEOX, true, |_| Ok(()), |p, to, kernel| schedule_items(
        p, to, kernel, 1, 1
    )),
    candidate!(
        "interleaved_heads",
        INTERLEAVED_HEADS,
        false,
        |p| only(p.heads_fit_warps(), SHORT),
        schedule_heads
    ),
    candidate!(
        "interleaved_vec8",
        INTERLEAVED_VEC8,
        false,
        |p| only(p.vec8(), ALIGNED),
        |p, to, kernel| { schedule_items(p, to, kernel, 8, 4) }
    ),
    candidate!("interleaved", INTERLEAVED, false, |_| Ok(()), |p, to, kernel| {
        schedule_items(p, to, kernel, 1, 1)
    }),
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
    cache_stride: [i64; 3],
    heads: i32,
    dim: i32,
    x_type: u32,
    out_type: u32,
    cache_type: u32,
    norm_type: u32,
}

impl PartArgs {
    fn new(part: Option<RopePart>, append: bool) -> PartArgs {
        let Some(part) = part else {
            return PartArgs {
                x: null(),
                out: null_mut(),
                cache: null_mut(),
                norm: null(),
                x_stride: [0; 2],
                out_stride: [0; 2],
                cache_stride: [0; 3],
                heads: 0,
                dim: 0,
                x_type: 0,
                out_type: 0,
                cache_type: 0,
                norm_type: 0,
            };
        };
        let stride = |v: Option<View>| v.map_or([0; 2], |v| [v.stride(0), v.stride(1)]);
        PartArgs {
            x: part.x.data,
            out: data(&part.out),
            cache: data(&part.cache),
            norm: data(&part.norm),
            x_stride: stride(Some(part.x)),
            out_stride: stride(part.out),
            cache_stride: part.cache.map_or([0; 3], |v| match append {
                true => Rows::strides(&v),
                // The candidate takes no cache whose slots have no stride.
                false => [0, KvCache::slot_stride(&v).unwrap_or(0), v.stride(2)],
            }),
            heads: part.x.dim(1) as i32,
            dim: part.x.dim(2) as i32,
            x_type: part.x.dtype.abi().0,
            out_type: dtype(&part.out),
            cache_type: dtype(&part.cache),
            norm_type: dtype(&part.norm),
        }
    }
}

kernel_args! {
    struct RopeArgs {
        part: [PartArgs; 3],
        positions: *const u8,
        slots: *const u8,
        kv_lengths: *const u8,
        angles: RopeAngles,
        cache_slots: i64,
        groups: i32,
        chunk: i32,
        lanes: i32,
        epsilon: f32,
        append: i32,
    } size 792, append at 784
}

/// The number of blocks that share a token, at most `most`. A single token is spread over many SMs; with many tokens a
/// block does more of one, and computes the angles once for it.
fn wanted_groups(p: &RopePlan, to: &Schedule, most: i64) -> i64 {
    let limits = to.limits();
    let blocks = limits.tuning.rope.blocks_per_sm * i64::from(limits.sm_count);
    ceil_div(blocks, p.tokens).clamp(1, most.max(1))
}

fn count_heads(part: Option<RopePart>) -> i64 {
    part.map_or(0, |part| part.x.dim(1))
}

fn schedule_heads(p: &RopePlan, to: &mut Schedule, kernel: &'static Kernel) -> Result<()> {
    let lanes = (p.widest() / 8).max(1).unsigned_abs().next_power_of_two() as i64;
    let heads: i64 = p.parts().map(count_heads).iter().sum();
    let per_pass = ROPE_THREADS / lanes;
    let passes = ceil_div(heads, per_pass);
    let chunk = ceil_div(passes, wanted_groups(p, to, passes)) * per_pass;
    schedule(p, to, kernel, [ceil_div(heads, chunk), chunk, lanes])
}

/// `per_item` is the number of elements of one access, `pairs` that of the pairs of one work item.
fn schedule_items(p: &RopePlan, to: &mut Schedule, kernel: &'static Kernel, per_item: i64, pairs: i64) -> Result<()> {
    let per_head = p.rotation.rotary_dim / 2 / pairs + (p.head_dim - p.rotation.rotary_dim) / per_item;
    let v_items = p.v.map_or(0, |v| v.x.dim(2) / per_item);
    let items = (count_heads(p.q) + count_heads(p.k)) * per_head + count_heads(p.v) * v_items;
    let chunk = ceil_div(items, wanted_groups(p, to, ceil_div(items, ROPE_THREADS)));
    let normed = p.parts().into_iter().flatten().any(|part| part.norm.is_some());
    let chunk = match normed && per_head > 0 {
        // A block takes whole heads, because it computes their norms before any of their items.
        true => (chunk / per_head).clamp(1, ROPE_MAX_SCALES) * per_head,
        false => ceil_div(chunk, ROPE_THREADS) * ROPE_THREADS,
    };
    schedule(p, to, kernel, [ceil_div(items, chunk), chunk, 0])
}

fn schedule(p: &RopePlan, to: &mut Schedule, kernel: &'static Kernel, [groups, chunk, lanes]: [i64; 3]) -> Result<()> {
    let args = RopeArgs {
        part: p.parts().map(|part| PartArgs::new(part, p.append)),
        positions: data(&p.rotation.positions),
        slots: data(&p.slots),
        kv_lengths: p.cache.map_or(null_mut(), |cache| data(&cache.lengths)),
        angles: RopeAngles::new(&p.rotation),
        cache_slots: p.cache_slots(),
        groups: groups as i32,
        chunk: chunk as i32,
        lanes: lanes as i32,
        epsilon: p.norm_epsilon,
        append: i32::from(p.append),
    };
    to.main(
        kernel,
        Grid::new([p.tokens * groups, 1, 1], ROPE_THREADS as u32)?,
        &args,
    );
    Ok(())
}

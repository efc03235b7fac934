//! Which kernel a launch gets, and how the launch is tiled for it.

use super::layout::{Layout, exclusive_bytes};
use super::shape::{Shape, alike};
use super::{MatmulPlan, PANEL, TILE, WARPS, schedule, shared};
use crate::abi::Dtype;
use crate::constants::{INT8_STATIC_SHARED, INT8_WIDE_WARPS};
use crate::cuda::{DeviceLimits, ceil_div};
use crate::ops::schedule::{Candidate, Takes, only};

const INTEGERS: &str = "products in integers";
const ONE_ROW: &str = "one row, without REFLEX_MATMUL_BATCH_INVARIANT";
const PACKED: &str = "packed weights";
const GROUPED: &str = "complete panels of formats that have a kernel together";

/// A candidate, and the shape that it schedules.
type Tiled = (Candidate<MatmulPlan>, fn(&MatmulPlan, &DeviceLimits) -> Shape);

macro_rules! tiled {
    ($name:literal, $takes:expr, $pays:expr, $shape:expr) => {{
        const SHAPE: fn(&MatmulPlan, &DeviceLimits) -> Shape = $shape;
        let candidate = Candidate::new($name, $takes, |p, to| schedule(p, SHAPE(p, to.limits()), to));
        (candidate.where_it_pays($pays), SHAPE)
    }};
}

pub(super) const TILED: [Tiled; 8] = [
    tiled!("int8_wide", |p, _| wide_takes(p, true), wide_pays, |_, _| Shape::Wide),
    tiled!("int8_wide_native", |p, _| wide_takes(p, false), wide_pays, |_, _| {
        Shape::WideNative
    }),
    tiled!("int8_whole", |p, _| whole_takes(p), always, whole),
    tiled!("int8_narrow", |p, _| one_row(p, true), always, |_, _| Shape::Narrow),
    tiled!("int8_native", |p, _| native_takes(p), always, |_, _| Shape::Native),
    tiled!("int8_few", few_takes, few_pays, few),
    tiled!("int8_shared", shared_takes, shared::pays, |p, _| Shape::Shared(
        shared::columns_of(p.rows)
    )),
    tiled!("int8_columns", columns_take, always, |p, _| {
        Shape::Columns(shared::columns_of(p.rows))
    }),
];

pub(in crate::ops::matmul) const COUNT: usize = TILED.len();

/// The candidates of `TILED`, and these behind them.
pub(in crate::ops::matmul) const fn and_others<const N: usize>(
    others: &[Candidate<MatmulPlan>],
) -> [Candidate<MatmulPlan>; N] {
    assert!(N == TILED.len() + others.len());
    let mut all = [TILED[0].0; N];
    let mut i = 0;
    while i < N {
        all[i] = if i < TILED.len() {
            TILED[i].0
        } else {
            others[i - TILED.len()]
        };
        i += 1;
    }
    all
}

fn always(_: &MatmulPlan, _: &DeviceLimits) -> Takes {
    Ok(())
}

/// Takes one row of x, and weights that are all packed or all not.
fn one_row(plan: &MatmulPlan, packed: bool) -> Takes {
    only(plan.int8, INTEGERS)?;
    only(plan.rows == 1 && !plan.batch_invariant, ONE_ROW)?;
    let all = plan.parts().all(|part| part.weight.packed == packed);
    only(all, if packed { PACKED } else { "weights that are not packed" })
}

fn wide_takes(plan: &MatmulPlan, packed: bool) -> Takes {
    one_row(plan, packed)?;
    // One warp computes both products of a gated pair.
    only(plan.gate.is_none() || alike(plan), "gated pairs of one format")
}

fn whole_takes(plan: &MatmulPlan) -> Takes {
    one_row(plan, true)?;
    only(whole_group(plan).is_some(), GROUPED)
}

/// Takes weights that are packed or not.
fn native_takes(plan: &MatmulPlan) -> Takes {
    only(plan.int8, INTEGERS)?;
    only(plan.rows == 1 && !plan.batch_invariant, ONE_ROW)
}

/// Takes any weights, and any number of rows in one order of the sums.
fn columns_take(plan: &MatmulPlan, _: &DeviceLimits) -> Takes {
    only(plan.int8, INTEGERS)
}

fn shared_takes(plan: &MatmulPlan, limits: &DeviceLimits) -> Takes {
    only(plan.int8, INTEGERS)?;
    shared::takes(plan, limits)
}

/// Whether there are enough blocks for every SM.
fn wide_pays(plan: &MatmulPlan, limits: &DeviceLimits) -> Takes {
    let panels: i64 = plan.parts().map(|part| ceil_div(part.n(), PANEL)).sum();
    let (tuning, sms) = (&limits.tuning.matmul, i64::from(limits.sm_count));
    // Many small warps shorten the time that is lost while a launch begins and ends.
    let blocks = match sms > tuning.wide_many_sms {
        true => tuning.wide_blocks_many_sms,
        false => tuning.wide_blocks_few_sms,
    };
    only(panels >= blocks * 4 * sms, "more outputs for so many SMs")
}

macro_rules! formats_of {
    ($({ $name:literal $($NAME:ident)* })*) => {
        &[$(&[$(Dtype::$NAME),*]),*]
    };
}

/// The format groups that have a kernel of `Shape::Whole` (kernels/formats.def). A launch takes the first group that
/// has all its formats.
pub(super) const GROUPS: &[&[Dtype]] = int8_groups!(formats_of);
/// One row, weights in Q4_K alone and a long k have a kernel of their own in place of that of the first group. Where k
/// is short, code that other launches of a token have fetched is worth more than the registers it takes.
pub(super) const Q4_K_ALONE: usize = GROUPS.len();

/// Which of `GROUPS` multiplies these packed weights, if blocks of so many panels have nothing but complete ones.
fn group(plan: &MatmulPlan, panels: i64) -> Option<usize> {
    let outputs = PANEL * panels / if plan.gate.is_some() { 2 } else { 1 };
    if plan.k % TILE != 0 || plan.parts().any(|part| part.n() % outputs != 0) {
        return None;
    }
    GROUPS
        .iter()
        .position(|formats| plan.parts().all(|part| formats.contains(&part.weight.dtype)))
}

/// The group of a launch whose warps take a panel each.
fn whole_group(plan: &MatmulPlan) -> Option<usize> {
    group(plan, least_panels(plan))
}

/// The group of a launch whose warps take two panels each.
fn few_group(plan: &MatmulPlan) -> Option<usize> {
    group(plan, paired_panels(plan))
}

/// Whether there are more tiles than the rings of a block have room for.
pub(super) fn long(plan: &MatmulPlan, limits: &DeviceLimits) -> bool {
    ceil_div(plan.k, TILE) > limits.tuning.matmul.long_tiles
}

/// The kernel that multiplies one row with these packed weights.
fn whole(plan: &MatmulPlan, limits: &DeviceLimits) -> Shape {
    let q4_k = plan.parts().all(|part| part.weight.dtype == Dtype::Q4_K);
    match q4_k && long(plan, limits) {
        true => Shape::Whole(Q4_K_ALONE),
        false => Shape::Whole(whole_group(plan).expect("whole_takes has looked")),
    }
}

/// The panels of a block whose warps take two each. Both are of one weight, unless the pair is alike.
pub(super) fn paired_panels(plan: &MatmulPlan) -> i64 {
    match plan.gate {
        Some(_) if !alike(plan) => 4,
        _ => least_panels(plan).max(2),
    }
}

/// The number of thread blocks of so many panels.
pub(super) fn blocks(plan: &MatmulPlan, panels: i64) -> i64 {
    plan.parts().map(|part| ceil_div(part.n(), PANEL * panels)).sum()
}

/// Takes up to 16 rows of x with complete panels of packed weights.
fn few_takes(plan: &MatmulPlan, limits: &DeviceLimits) -> Takes {
    only(plan.int8, INTEGERS)?;
    only(limits.sm >= 80, "SM 8.0 or later")?;
    only(!plan.batch_invariant, "products without REFLEX_MATMUL_BATCH_INVARIANT")?;
    only(plan.rows <= 16, "at most 16 rows")?;
    only(plan.parts().all(|part| part.weight.packed), PACKED)?;
    only(few_group(plan).is_some(), GROUPED)
}

/// Whether it is faster than warps that share x.
fn few_pays(plan: &MatmulPlan, limits: &DeviceLimits) -> Takes {
    only(plan.rows > 1, "more than one row")?;
    // With many panels, the additional instructions outweigh the one conversion of x that is saved.
    let blocks = blocks(plan, paired_panels(plan));
    let (tuning, sms) = (&limits.tuning.matmul, i64::from(limits.sm_count));
    let worth = plan.rows <= tuning.few_rows || sms < tuning.cluster_sms || blocks <= tuning.few_blocks * sms;
    only(worth, "fewer outputs for so many rows")
}

fn few(plan: &MatmulPlan, _: &DeviceLimits) -> Shape {
    Shape::Few(
        few_group(plan).expect("few_takes has looked"),
        shared::columns_of(plan.rows),
    )
}

/// The least panels of a thread block: a block of ACT_I8 is 32 outputs, and a gated pair takes twice the panels for the
/// same outputs.
pub(super) fn least_panels(plan: &MatmulPlan) -> i64 {
    let quantised = plan.normed.is_some() || plan.parts().any(|part| part.y.dtype == Dtype::ACT_I8);
    let least = if quantised { 2 } else { 1 };
    if plan.gate.is_some() { 2 * least } else { least }
}

impl Layout {
    pub(super) fn new(plan: &MatmulPlan, shape: Shape, limits: &DeviceLimits, most_cluster: i64) -> Layout {
        if let Shape::Shared(columns) = shape {
            return shared::layout(plan, limits, columns, most_cluster);
        }
        let tuning = &limits.tuning.matmul;
        let panels = match shape {
            Shape::Narrow | Shape::Whole(_) | Shape::Native => least_panels(plan),
            Shape::Wide | Shape::WideNative => 4,
            Shape::Few(..) | Shape::Columns(_) | Shape::Shared(_) => paired_panels(plan),
        };
        let ring_bytes = shape.ring_bytes(plan);
        let sums = |splits: i64, shape: Shape| splits * panels * PANEL * shape.columns() * 4;
        let fits = |bytes: i64| bytes + INT8_STATIC_SHARED <= i64::from(limits.shared_per_block);
        let warps = match shape {
            Shape::Wide | Shape::WideNative => {
                // With a short k, more blocks on an SM hide one another's beginnings and ends, where there are enough
                // of them.
                let short = !long(plan, limits)
                    && blocks(plan, panels) >= tuning.wide_short_blocks * i64::from(limits.sm_count);
                if !short && fits(INT8_WIDE_WARPS * ring_bytes) {
                    INT8_WIDE_WARPS
                } else {
                    2
                }
            }
            _ => {
                // The splits decide the order of the sums. Where that must be the same for any number of rows, there
                // are as many splits as the most rows have room for.
                let sized = if plan.batch_invariant {
                    Shape::Columns(64)
                } else {
                    shape
                };
                let in_a_warp = shape.panels(&plan.first().weight);
                let bytes = |splits: i64| {
                    let warps = splits * panels / in_a_warp;
                    let beside = match sized {
                        Shape::Whole(_) | Shape::Few(..) => sums(splits, sized),
                        _ => warps * sized.sum_bytes(),
                    };
                    (warps * ring_bytes).max(sums(splits, sized)) + beside
                };
                let (blocks, sms) = (blocks(plan, panels), i64::from(limits.sm_count));
                let few = matches!(shape, Shape::Narrow | Shape::Whole(_)) && blocks <= tuning.lone_blocks * sms;
                // A block has more warps where an SM has one block at most.
                let limit = match shape {
                    // The more blocks there are, the smaller they are.
                    Shape::Few(..) if blocks > tuning.few_quarter_blocks * sms => tuning.warps / 4,
                    Shape::Few(..) if blocks > tuning.few_half_blocks * sms => tuning.warps / 2,
                    Shape::Whole(_) if few && long(plan, limits) => tuning.lone_long_warps,
                    _ if few => tuning.lone_warps,
                    // An SM has room for two blocks of so many warps.
                    Shape::Whole(Q4_K_ALONE)
                        if i64::from(limits.sm) >= tuning.q4_k_pair_sm && blocks <= tuning.q4_k_pair_blocks * sms =>
                    {
                        tuning.q4_k_pair_warps
                    }
                    _ => tuning.warps.min(WARPS),
                };
                let many = matches!(shape, Shape::Columns(_)) && blocks >= tuning.columns_half_blocks * sms;
                let most = limit * in_a_warp / panels / if many { 2 } else { 1 };
                let mut splits = balanced(ceil_div(plan.k, TILE).max(1), most.max(1));
                while splits > 1 && !fits(bytes(splits)) {
                    splits -= 1;
                }
                splits * panels / in_a_warp
            }
        };
        let mut layout = Layout {
            shape,
            panels,
            warps,
            cluster: 1,
            ring_bytes,
            front_bytes: 0,
            shared: 0,
        };
        let splits = plan.parts().map(|part| layout.splits(part)).max().unwrap_or(1);
        if let Shape::Whole(_) | Shape::Few(..) = shape {
            // The sums lie beside the rings, which saves a barrier.
            layout.front_bytes = warps * ring_bytes;
            layout.shared = layout.front_bytes + sums(splits, shape);
            // With a short k the rings have room for all that a block reads, and blocks that begin early gain more than
            // an even share.
            if matches!(shape, Shape::Whole(_)) && long(plan, limits) {
                layout.shared = layout.shared.max(exclusive_bytes(blocks(plan, panels), limits));
            }
            return layout;
        }
        layout.front_bytes = (warps * ring_bytes).max(sums(splits, shape));
        layout.shared = layout.front_bytes + warps * shape.sum_bytes();
        layout
    }
}

/// The number of splits, at most `most`, that makes the longest share of the tiles shortest.
fn balanced(tiles: i64, most: i64) -> i64 {
    ceil_div(tiles, ceil_div(tiles, most))
}

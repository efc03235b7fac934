//! Products in integers on the tensor cores: all weights of a call in one launch, whatever their formats.

use super::{MatmulPart, MatmulPlan};
use crate::abi::{Dtype, Result, View, reflex_tensor};
use crate::cuda::{Cuda, Grid, Kernel, ceil_div, kernel_args};
use crate::ops::norm::{Norm, reflex_norm_params};
use crate::ops::op::{self, Variant, Workspace};
use crate::ops::quantize::{Quantize, reflex_quantize_params};
use crate::system::DeviceLimits;

const PANEL: i64 = 16;
const TILE: i64 = 256;
/// What the kernels have of shared memory beside what a launch gives them, at most.
const STATIC_SHARED: i64 = 1024;
/// Warps of a block at most, as the kernels are compiled. The one for a single panel a warp takes half as many more.
const WARPS: i64 = 8;

/// The kernels, and what the launch has to know of how each is compiled.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// One row of x. A warp takes one panel.
    Narrow,
    /// The same of whole panels, with code for the formats of this one of `GROUPS` alone.
    Whole(usize),
    /// The same, where a weight is not packed.
    Native,
    /// One row of x. A warp takes four panels of the smaller formats, two of the larger.
    Wide,
    /// The same of weights that are not packed: two panels.
    WideNative,
    /// Up to so many rows of x times whole panels of the formats of this one of `GROUPS`. A warp takes two.
    Few(usize, i64),
    /// This many rows of x, which every warp converts for itself.
    Columns(i64),
    /// This many rows of x, which a launch in front converts for all warps.
    Shared(i64),
}

impl Shape {
    fn columns(self) -> i64 {
        match self {
            Shape::Few(_, n) | Shape::Columns(n) | Shape::Shared(n) => n,
            _ => 1,
        }
    }

    /// Panels that a warp takes.
    fn panels(self, weight: &View) -> i64 {
        match self {
            Shape::Narrow | Shape::Whole(_) | Shape::Native | Shape::Shared(_) => 1,
            Shape::Few(..) => 2,
            Shape::Wide if tile_bytes(weight.dtype) <= 2560 => 4,
            _ => 2,
        }
    }

    /// Tiles of a panel that a warp keeps on the way.
    fn stages(self, dtype: Dtype) -> i64 {
        match self {
            Shape::Shared(columns) => shared::stages(columns),
            Shape::Narrow | Shape::Whole(_) | Shape::Native => 3,
            // Where two blocks of them fit an SM of 164 KB.
            Shape::WideNative if staged_bytes(dtype) <= 3456 => 3,
            _ => 2,
        }
    }

    /// What a warp keeps of a panel's 256 columns.
    fn kept_bytes(self, part: &MatmulPart) -> i64 {
        let (packed, staged) = (tile_bytes(part.weight.dtype), staged_bytes(part.weight.dtype));
        match self {
            Shape::WideNative => staged,
            // Rows of packed weights that fill no panel are native.
            Shape::Native if !part.weight.packed => staged,
            Shape::Native if part.n() % PANEL != 0 => packed.max(staged),
            _ => packed,
        }
    }

    /// Shared memory of a warp's ring, which has room for any part.
    fn ring_bytes(self, plan: &MatmulPlan) -> i64 {
        plan.parts()
            .map(|part| {
                let dtype = part.weight.dtype;
                let (panels, stages) = (self.panels(&part.weight), self.stages(dtype));
                let weights = stages * panels * self.kept_bytes(part);
                match self {
                    Shape::Few(_, columns) => weights + stages * columns * FEW_X_ROW + panels * exchanged_bytes(dtype),
                    _ => weights,
                }
            })
            .max()
            .unwrap_or(0)
    }

    /// Shared memory in which a warp adds up, beside its ring.
    fn held_bytes(self) -> i64 {
        match self {
            Shape::Columns(columns) => 2 * PANEL * columns * 4,
            _ => 0,
        }
    }

    fn of(plan: &MatmulPlan, limits: &DeviceLimits) -> Shape {
        match plan.rows {
            1 if !plan.batch_invariant => {
                let packed = plan.parts().all(|part| part.weight.packed);
                let native = plan.parts().all(|part| !part.weight.packed);
                match wide_fits(plan, limits) {
                    true if packed => Shape::Wide,
                    true if native => Shape::WideNative,
                    _ if packed => whole(plan),
                    _ => Shape::Native,
                }
            }
            rows => {
                let columns = shared::columns_of(rows);
                if let Some(group) = few(plan, limits, columns) {
                    return Shape::Few(group, columns);
                }
                match shared::pays(plan, limits, columns) {
                    true => Shape::Shared(columns),
                    false => Shape::Columns(columns),
                }
            }
        }
    }
}

/// The kernels of `Shape::Whole`: formats that files mix in one launch. Of those that have a launch's formats it takes the first.
const GROUPS: [&[Dtype]; 12] = [
    &[Dtype::Q4_K, Dtype::Q6_K],
    &[Dtype::Q5_K, Dtype::Q6_K],
    &[Dtype::Q3_K, Dtype::Q5_K],
    &[Dtype::Q2_K, Dtype::Q3_K],
    &[Dtype::IQ4_XS, Dtype::Q5_K],
    &[Dtype::IQ4_NL],
    &[Dtype::MXFP4],
    &[Dtype::Q4_0],
    &[Dtype::Q4_1],
    &[Dtype::Q5_0],
    &[Dtype::Q5_1],
    &[Dtype::Q8_0],
];
/// Instead of the first, of one row, Q4_K alone and a long k: where k is short, code that other launches of a token have fetched is
/// worth more than the registers it takes.
const Q4_K_ALONE: usize = GROUPS.len();

/// Which of `GROUPS` multiplies these packed weights, if blocks of so many panels have nothing but whole ones.
fn group(plan: &MatmulPlan, panels: i64) -> Option<usize> {
    let outputs = PANEL * panels / if plan.gate.is_some() { 2 } else { 1 };
    if plan.k % TILE != 0 || plan.parts().any(|part| part.n() % outputs != 0) {
        return None;
    }
    GROUPS
        .iter()
        .position(|formats| plan.parts().all(|part| formats.contains(&part.weight.dtype)))
}

/// Which kernel multiplies one row with these packed weights.
fn whole(plan: &MatmulPlan) -> Shape {
    let q4_k = plan.parts().all(|part| part.weight.dtype == Dtype::Q4_K);
    match group(plan, least_panels(plan)) {
        Some(_) if q4_k && long(plan) => Shape::Whole(Q4_K_ALONE),
        Some(group) => Shape::Whole(group),
        None => Shape::Narrow,
    }
}

/// As `few_x::ROW`: a row's 256 elements of x in shared memory.
const FEW_X_ROW: i64 = TILE + 8 * 8 + 32;

/// As `few_scales::BYTES`: scales of a panel's tile, which the lanes of a warp exchange.
fn exchanged_bytes(dtype: Dtype) -> i64 {
    let group = if shared::x_layout(dtype) == 0 { 32 } else { 16 };
    PANEL * TILE / group * 4
}

/// Panels of a block of `Shape::Few`: a warp has two, both of one format.
fn few_panels(plan: &MatmulPlan) -> i64 {
    match plan.gate {
        Some(_) if !alike(plan) => 4,
        _ => least_panels(plan).max(2),
    }
}

/// Thread blocks of so many panels.
fn blocks(plan: &MatmulPlan, panels: i64) -> i64 {
    plan.parts().map(|part| ceil_div(part.n(), PANEL * panels)).sum()
}

/// Which of `GROUPS` multiplies a few rows of x with these packed weights, where it is faster than warps that share x, as measured
/// on an H200 and on 8 of its SMs.
fn few(plan: &MatmulPlan, limits: &DeviceLimits, columns: i64) -> Option<usize> {
    let (panels, sms) = (few_panels(plan), i64::from(limits.sm_count));
    let worth = match columns {
        8 => true,
        // Many panels are more instructions than one conversion of x saves.
        16 => limits.sm_count < shared::CLUSTER_SMS || blocks(plan, panels) <= 2 * sms,
        _ => false,
    };
    let packed = plan.parts().all(|part| part.weight.packed);
    if limits.sm < 80 || !worth || !packed || plan.batch_invariant {
        return None;
    }
    group(plan, panels)
}

/// Panels that a block makes at least: a block of Q8_1 is 32 outputs, and a gated pair takes twice the panels for the same outputs.
fn least_panels(plan: &MatmulPlan) -> i64 {
    let quantised = plan.normed.is_some() || plan.parts().any(|part| part.y.dtype == Dtype::Q8_1);
    let least = if quantised { 2 } else { 1 };
    if plan.gate.is_some() { 2 * least } else { least }
}

/// A panel's 256 columns.
fn tile_bytes(dtype: Dtype) -> i64 {
    PANEL * TILE / dtype.block_elements() as i64 * dtype.block_bytes() as i64
}

/// The same of native rows in a ring: for each the 16-byte words that cover it wherever it begins, an odd number of them.
fn staged_bytes(dtype: Dtype) -> i64 {
    let align = (16 | dtype.block_bytes() as i64).trailing_zeros();
    let words = (tile_bytes(dtype) / PANEL + 30 - (1 << align)) / 16;
    PANEL * (words | 1) * 16
}

/// Enough blocks for every SM, and a pair that one warp can take together.
fn wide_fits(plan: &MatmulPlan, limits: &DeviceLimits) -> bool {
    let panels: i64 = plan.parts().map(|part| ceil_div(part.n(), PANEL)).sum();
    // On many SMs time is lost while a launch begins and ends: many small warps shorten that.
    let blocks = if limits.sm_count > 32 { 4 } else { 2 };
    (plan.gate.is_none() || alike(plan)) && panels >= blocks * 4 * i64::from(limits.sm_count)
}

/// One warp can take panels of both weights of a pair.
fn alike(plan: &MatmulPlan) -> bool {
    let first = &plan.first().weight;
    plan.parts()
        .all(|part| part.weight.dtype == first.dtype && part.weight.packed == first.packed)
}

/// How a launch is cut up.
struct Layout {
    shape: Shape,
    /// That a block makes.
    panels: i64,
    warps: i64,
    /// Blocks that share k.
    cluster: i64,
    /// Shared memory of a warp's ring.
    ring_bytes: i64,
    /// Shared memory before what the warps add up in, or before x, or of whole panels before the sums.
    held: i64,
    shared: i64,
}

impl Layout {
    fn new(plan: &MatmulPlan, limits: &DeviceLimits, most_cluster: i64) -> Layout {
        let shape = Shape::of(plan, limits);
        if let Shape::Shared(columns) = shape {
            return shared::layout(plan, limits, columns, most_cluster);
        }
        let least = least_panels(plan);
        let panels = match shape {
            Shape::Narrow | Shape::Whole(_) | Shape::Native => least,
            Shape::Wide | Shape::WideNative => 4,
            Shape::Few(..) => few_panels(plan),
            // A warp takes two, and both of one weight unless the pair is alike.
            Shape::Columns(_) if plan.gate.is_some() && !alike(plan) => 4,
            _ => least.max(2),
        };
        let ring_bytes = shape.ring_bytes(plan);
        let sums = |splits: i64, shape: Shape| splits * panels * PANEL * shape.columns() * 4;
        let fits = |bytes: i64| bytes + STATIC_SHARED <= i64::from(limits.shared_per_block);
        let warps = match shape {
            Shape::Wide | Shape::WideNative => {
                // Of a short k more blocks on an SM hide one another's beginnings and ends, where there are enough of them.
                let short = ceil_div(plan.k, TILE) <= 24 && blocks(plan, panels) >= 4 * i64::from(limits.sm_count);
                if !short && fits(4 * ring_bytes) { 4 } else { 2 }
            }
            _ => {
                // The splits decide the order of the sums: where that must be the same for any number of rows, what the
                // most rows have room for.
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
                        _ => warps * sized.held_bytes(),
                    };
                    (warps * ring_bytes).max(sums(splits, sized)) + beside
                };
                // Eight warps, or, where every SM has two blocks, four of several rows. Twelve where an SM has one block at most.
                let (blocks, sms) = (blocks(plan, panels), i64::from(limits.sm_count));
                let few = matches!(shape, Shape::Narrow | Shape::Whole(_)) && blocks <= sms;
                // Sixteen of whole panels and a long k.
                let limit = match shape {
                    // The more blocks there are, the smaller they are.
                    Shape::Few(..) if blocks > 4 * sms => WARPS / 4,
                    Shape::Few(..) if blocks > sms => WARPS / 2,
                    Shape::Whole(_) if few && long(plan) => 2 * WARPS,
                    _ if few => WARPS + WARPS / 2,
                    // Twelve where an SM has two blocks, and room for two.
                    Shape::Whole(Q4_K_ALONE) if limits.sm >= 90 && blocks <= 2 * sms => WARPS + WARPS / 2,
                    _ => WARPS,
                };
                let many = matches!(shape, Shape::Columns(_)) && blocks >= 2 * sms;
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
            held: 0,
            shared: 0,
        };
        let splits = plan.parts().map(|part| layout.splits(part)).max().unwrap_or(1);
        if let Shape::Whole(_) | Shape::Few(..) = shape {
            // Sums beside the rings: a barrier less.
            layout.held = warps * ring_bytes;
            layout.shared = layout.held + sums(splits, shape);
            if let Shape::Whole(_) = shape {
                layout.shared = layout.shared.max(exclusive_bytes(plan, limits, panels));
            }
            return layout;
        }
        layout.held = (warps * ring_bytes).max(sums(splits, shape));
        layout.shared = layout.held + warps * shape.held_bytes();
        layout
    }

    /// Warps of a block that share the k of a part.
    fn splits(&self, part: &MatmulPart) -> i64 {
        self.warps * self.shape.panels(&part.weight) / self.panels
    }
}

/// Shared memory with which an SM has room for no more blocks of whole panels than it gets of one launch: blocks of the next one begin
/// wherever there is room. With room for three where 256 blocks are two each, 68 of 132 SMs had three blocks of a launch and 30 had none. Of a
/// short k the rings hold all that a block reads, and blocks that begin early gain more than an even share.
fn exclusive_bytes(plan: &MatmulPlan, limits: &DeviceLimits, panels: i64) -> i64 {
    if limits.sm < 90 || !long(plan) {
        return 0;
    }
    let share = ceil_div(blocks(plan, panels), i64::from(limits.sm_count));
    // An SM has a KiB more than a block may take, and keeps one for each block.
    let room = i64::from(limits.shared_per_block) + 1024;
    (room / (share + 1) - 1024) / 128 * 128 + 128
}

/// More tiles than the rings of a block's eight warps hold.
fn long(plan: &MatmulPlan) -> bool {
    ceil_div(plan.k, TILE) > 24
}

/// As many splits of the tiles as shorten the longest share, at most `most`.
fn balanced(tiles: i64, most: i64) -> i64 {
    ceil_div(tiles, ceil_div(tiles, most))
}

macro_rules! variant {
    ($file:literal, $symbol:literal, $shape:pat) => {{
        static KERNEL: Kernel = Kernel::new($file, $symbol).dependent().large_shared().clusters();
        Variant::new(
            &KERNEL,
            |p, limits| p.int8 && matches!(Shape::of(p, limits), $shape),
            |p, cuda, workspace| launch(p, cuda, &KERNEL, workspace),
        )
    }};
}

/// The kernels of one of `GROUPS`.
macro_rules! group {
    ($index:literal, $one:literal, $eight:literal, $sixteen:literal) => {
        [
            variant!("matmul_int8_narrow", $one, Shape::Whole($index)),
            variant!("matmul_int8_few8", $eight, Shape::Few($index, 8)),
            variant!("matmul_int8_few16", $sixteen, Shape::Few($index, 16)),
        ]
    };
}

pub(super) static OF_GROUPS: [[Variant<MatmulPlan>; 3]; 12] = [
    group!(
        0,
        c"reflex_matmul_int8_narrow_q4_k_q6_k",
        c"reflex_matmul_int8_few8_q4_k_q6_k",
        c"reflex_matmul_int8_few16_q4_k_q6_k"
    ),
    group!(
        1,
        c"reflex_matmul_int8_narrow_q5_k_q6_k",
        c"reflex_matmul_int8_few8_q5_k_q6_k",
        c"reflex_matmul_int8_few16_q5_k_q6_k"
    ),
    group!(
        2,
        c"reflex_matmul_int8_narrow_q3_k_q5_k",
        c"reflex_matmul_int8_few8_q3_k_q5_k",
        c"reflex_matmul_int8_few16_q3_k_q5_k"
    ),
    group!(
        3,
        c"reflex_matmul_int8_narrow_q2_k_q3_k",
        c"reflex_matmul_int8_few8_q2_k_q3_k",
        c"reflex_matmul_int8_few16_q2_k_q3_k"
    ),
    group!(
        4,
        c"reflex_matmul_int8_narrow_iq4_xs_q5_k",
        c"reflex_matmul_int8_few8_iq4_xs_q5_k",
        c"reflex_matmul_int8_few16_iq4_xs_q5_k"
    ),
    group!(
        5,
        c"reflex_matmul_int8_narrow_iq4_nl",
        c"reflex_matmul_int8_few8_iq4_nl",
        c"reflex_matmul_int8_few16_iq4_nl"
    ),
    group!(
        6,
        c"reflex_matmul_int8_narrow_mxfp4",
        c"reflex_matmul_int8_few8_mxfp4",
        c"reflex_matmul_int8_few16_mxfp4"
    ),
    group!(
        7,
        c"reflex_matmul_int8_narrow_q4_0",
        c"reflex_matmul_int8_few8_q4_0",
        c"reflex_matmul_int8_few16_q4_0"
    ),
    group!(
        8,
        c"reflex_matmul_int8_narrow_q4_1",
        c"reflex_matmul_int8_few8_q4_1",
        c"reflex_matmul_int8_few16_q4_1"
    ),
    group!(
        9,
        c"reflex_matmul_int8_narrow_q5_0",
        c"reflex_matmul_int8_few8_q5_0",
        c"reflex_matmul_int8_few16_q5_0"
    ),
    group!(
        10,
        c"reflex_matmul_int8_narrow_q5_1",
        c"reflex_matmul_int8_few8_q5_1",
        c"reflex_matmul_int8_few16_q5_1"
    ),
    group!(
        11,
        c"reflex_matmul_int8_narrow_q8_0",
        c"reflex_matmul_int8_few8_q8_0",
        c"reflex_matmul_int8_few16_q8_0"
    ),
];

pub(super) static VARIANTS: [Variant<MatmulPlan>; 12] = [
    variant!(
        "matmul_int8_narrow",
        c"reflex_matmul_int8_narrow_q4_k",
        Shape::Whole(Q4_K_ALONE)
    ),
    variant!("matmul_int8_vector", c"reflex_matmul_int8_vector_narrow", Shape::Narrow),
    variant!("matmul_int8_native", c"reflex_matmul_int8_vector_native", Shape::Native),
    variant!("matmul_int8_wide", c"reflex_matmul_int8_vector_wide", Shape::Wide),
    variant!(
        "matmul_int8_wide_native",
        c"reflex_matmul_int8_vector_wide_native",
        Shape::WideNative
    ),
    variant!(
        "matmul_int8_columns8",
        c"reflex_matmul_int8_columns8",
        Shape::Columns(8)
    ),
    variant!(
        "matmul_int8_columns16",
        c"reflex_matmul_int8_columns16",
        Shape::Columns(16)
    ),
    variant!(
        "matmul_int8_columns32",
        c"reflex_matmul_int8_columns32",
        Shape::Columns(32)
    ),
    variant!(
        "matmul_int8_columns64",
        c"reflex_matmul_int8_columns64",
        Shape::Columns(64)
    ),
    variant!(
        "matmul_int8_shared16",
        c"reflex_matmul_int8_shared16",
        Shape::Shared(16)
    ),
    variant!(
        "matmul_int8_shared32",
        c"reflex_matmul_int8_shared32",
        Shape::Shared(32)
    ),
    variant!(
        "matmul_int8_shared64",
        c"reflex_matmul_int8_shared64",
        Shape::Shared(64)
    ),
];

#[repr(C)]
#[derive(Clone, Copy)]
struct Int8Part {
    weight: *const u8,
    bias: *const u8,
    residual: *const u8,
    y: *mut u8,
    weight_stride: i64,
    residual_stride: i64,
    y_stride: i64,
    weight_type: u32,
    bias_type: u32,
    residual_type: u32,
    y_type: u32,
    n: i32,
    first_block: i32,
    tile_bytes: i32,
    splits: i32,
}

kernel_args! {
    struct Int8Args {
        x: *const u8,
        x_stride: i64,
        x_squares: *const u8,
        x_squares_stride: i64,
        x_tiles: [*const u8; 2],
        part: [Int8Part; 3],
        y_norm: *const u8,
        y_normed: *mut u8,
        y_squares: *mut u8,
        y_normed_stride: i64,
        y_squares_stride: i64,
        y_norm_type: u32,
        epsilon: f32,
        rows: i32,
        k: i32,
        parts: i32,
        gate: i32,
        panels: i32,
        prefetch: i32,
        ring_bytes: i32,
        held: i32,
    } size 392, held at 388
}

/// Bytes of a row of x in the scratch.
fn quantised_stride(plan: &MatmulPlan) -> i64 {
    (plan.k / 32 * 40 + 15) / 16 * 16
}

/// The quantised x, where the caller gives another.
fn quantised_bytes(plan: &MatmulPlan) -> i64 {
    match plan.x.dtype {
        Dtype::Q8_1 => 0,
        _ => plan.rows * quantised_stride(plan),
    }
}

/// That, and x as products of several rows read it.
pub(super) fn workspace_bytes(plan: &MatmulPlan, limits: &DeviceLimits) -> usize {
    let tiles = match Shape::of(plan, limits) {
        Shape::Shared(columns) => shared::workspace_bytes(plan, columns),
        _ => 0,
    };
    (quantised_bytes(plan) + tiles) as usize
}

fn launch(p: &MatmulPlan, cuda: &Cuda, kernel: &'static Kernel, workspace: &Workspace) -> Result<()> {
    let layout = Layout::new(p, cuda.limits(), cuda.most_cluster(kernel)?);
    let x = match p.x.dtype {
        Dtype::Q8_1 => p.x,
        _ => {
            let y = reflex_tensor {
                data: workspace.data,
                dtype: Dtype::Q8_1.abi(),
                rank: 2,
                shape: [p.rows, p.k, 0, 0],
                stride: [quantised_stride(p), Dtype::Q8_1.block_bytes() as i64, 0, 0],
            };
            match &p.norm {
                Some(norm) => {
                    let params = reflex_norm_params {
                        epsilon: p.norm_epsilon,
                        x: p.x.tensor(),
                        weight: norm.tensor(),
                        y,
                        ..Default::default()
                    };
                    op::run::<Norm>(&params, cuda, &Workspace::NONE)?;
                }
                None => {
                    let params = reflex_quantize_params {
                        x: p.x.tensor(),
                        y,
                        ..Default::default()
                    };
                    op::run::<Quantize>(&params, cuda, &Workspace::NONE)?;
                }
            }
            View::required("matmul", "workspace", &y)?
        }
    };
    // SAFETY: plain data, valid when zero.
    let mut args: Int8Args = unsafe { std::mem::zeroed() };
    args.x = x.data;
    args.x_stride = x.stride(0);
    if let Shape::Shared(columns) = layout.shape {
        let to = workspace.data.cast::<u8>().wrapping_add(quantised_bytes(p) as usize);
        args.x_tiles = shared::convert(p, cuda, &x, columns, to)?;
    }
    args.rows = p.rows as i32;
    args.k = p.k as i32;
    args.gate = p.gate.map_or(0, |kind| 1 + kind.0 as i32);
    args.panels = layout.panels as i32;
    args.prefetch = i32::from(p.constant_weights);
    args.ring_bytes = layout.ring_bytes as i32;
    args.held = layout.held as i32;
    args.epsilon = p.norm_epsilon;
    if let Some(squares) = &p.x_squares {
        args.x_squares = squares.data;
        args.x_squares_stride = squares.stride(0);
    }
    if let Some(normed) = &p.normed {
        args.y_norm = normed.weight.data;
        args.y_norm_type = normed.weight.dtype.abi().0;
        args.y_normed = normed.y.data;
        args.y_normed_stride = normed.y.stride(0);
        args.y_squares = normed.squares.data;
        args.y_squares_stride = normed.squares.stride(0);
    }
    let data = |v: &Option<View>| v.map_or(std::ptr::null(), |v| v.data.cast_const());
    let dtype = |v: &Option<View>| v.map_or(0, |v| v.dtype.abi().0);
    // Of a gated pair a block takes half of its panels from each.
    let share = if p.gate.is_some() {
        layout.panels / 2
    } else {
        layout.panels
    };
    let mut blocks = 0;
    for (to, part) in args.part.iter_mut().zip(p.parts()) {
        *to = Int8Part {
            weight: part.weight.data,
            bias: data(&part.bias),
            residual: data(&part.residual),
            y: part.y.data,
            weight_stride: part.weight.stride(0),
            residual_stride: part.residual.map_or(0, |v| v.stride(0)),
            y_stride: part.y.stride(0),
            weight_type: part.weight.dtype.abi().0,
            bias_type: dtype(&part.bias),
            residual_type: dtype(&part.residual),
            y_type: part.y.dtype.abi().0,
            n: part.n() as i32,
            first_block: blocks as i32,
            tile_bytes: if part.weight.packed {
                tile_bytes(part.weight.dtype) as i32
            } else {
                0
            },
            splits: layout.splits(part) as i32,
        };
        args.parts += 1;
        if p.gate.is_none() || args.parts == 1 {
            blocks += ceil_div(ceil_div(part.n(), PANEL), share);
        }
    }
    let grid = Grid::new(
        [blocks * layout.cluster, ceil_div(p.rows, layout.shape.columns()), 1],
        layout.warps as u32 * 32,
    )?;
    let grid = grid.shared(layout.shared as u32).cluster(layout.cluster as u32);
    cuda.launch(kernel, grid, &args)
}

mod shared;
#[cfg(test)]
mod tests;

//! Products of weights expanded to f32: vector kernels for few rows, tiles on TF32 tensor cores for more. One launch for
//! each weight; packed ones are unpacked into the workspace first, a stretch at a time, and a gated pair meets there.

use super::{Matmul, MatmulPart, MatmulPlan};
use crate::abi::{Dtype, Result, View};
use crate::cuda::DeviceLimits;
use crate::cuda::{Cuda, Grid, Kernel, ceil_div, kernel_args};
use crate::ops::activation::{Activation, ActivationPlan};
use crate::ops::add::{Add, AddPlan};
use crate::ops::norm::{Norm, NormPlan};
use crate::ops::op::{self, Variant, Workspace};
use crate::ops::panels::Panels;
use crate::ops::weights_pack::{Direction, WeightsPackPlan, WeightsUnpack};
use std::ffi::CStr;

/// Up to this many rows the weights are what there is to read: a matrix-vector product.
const FEW_ROWS: i64 = 8;
/// Up to this many rows the larger tile would be mostly empty.
const SMALL_TILE_ROWS: i64 = 64;

impl MatmulPlan {
    /// One weight, as the kernels take it.
    fn plain(&self) -> bool {
        self.parts().count() == 1 && self.gate.is_none() && self.norm.is_none() && !self.first().weight.packed
    }

    /// One of the products alone.
    fn only(&self, part: MatmulPart) -> MatmulPlan {
        MatmulPlan {
            gate: None,
            parts: [Some(part), None, None],
            ..*self
        }
    }

    fn x_vec(&self) -> bool {
        self.k % 8 == 0 && self.x.rows_aligned(16)
    }

    fn weight_vec(&self) -> bool {
        let weight = &self.first().weight;
        weight.dtype.is_block() || self.k % 8 == 0 && weight.rows_aligned(16)
    }

    /// Every vector kernel sums in the same order; the tiles have another one, and round to TF32.
    fn vector(&self) -> bool {
        self.rows <= FEW_ROWS || self.batch_invariant
    }

    fn wide_vector(&self) -> bool {
        self.vector() && self.x_vec() && self.weight_vec()
    }
}

const fn symbol(bytes: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(bytes.as_bytes()) {
        Ok(name) => name,
        Err(_) => panic!("a kernel's name ends in its only zero byte"),
    }
}

/// One kernel of one format: its file and name, when it applies, and the rows and outputs that a block makes.
macro_rules! variant {
    ($dtype:ident, $format:literal, $kernel:literal, $rows:literal x $outputs:literal, $threads:literal, $matches:expr) => {{
        static KERNEL: Kernel = Kernel::new(
            concat!("matmul_", $format),
            symbol(concat!("reflex_matmul_", $format, "_", $kernel, "\0")),
        );
        const MATCHES: fn(&MatmulPlan) -> bool = $matches;
        Variant::new(
            &KERNEL,
            |p, _| !p.int8 && p.first().weight.dtype == Dtype::$dtype && MATCHES(p),
            |p, cuda, workspace| match p.plain() {
                true => launch(p, cuda, &KERNEL, [$rows, $outputs], $threads),
                false => launch_parts(p, cuda, workspace),
            },
        )
    }};
}

macro_rules! variants {
    ($($dtype:ident $format:literal),*) => {
        [$(
            variant!($dtype, $format, "vector1", 1 x 8, 128, |p| p.rows == 1 && p.wide_vector()),
            variant!($dtype, $format, "vector2", 2 x 8, 128, |p| p.rows == 2 && p.wide_vector()),
            variant!($dtype, $format, "vector4", 4 x 8, 128, |p| p.rows <= 4 && p.wide_vector()),
            variant!($dtype, $format, "vector8", 8 x 8, 128, |p| p.wide_vector()),
            variant!($dtype, $format, "vector_any", 1 x 8, 128, |p| p.vector()),
            variant!($dtype, $format, "tile32", 32 x 64, 128, |p| p.rows <= SMALL_TILE_ROWS),
            variant!($dtype, $format, "tile128", 128 x 64, 256, |_| true),
        )*]
    };
}

pub(super) static VARIANTS: [Variant<MatmulPlan>; 112] = variants!(
    F32 "f32", F16 "f16", BF16 "bf16", Q4_0 "q4_0", Q8_0 "q8_0", Q4_K "q4_k", Q5_K "q5_k", Q6_K "q6_k",
    Q4_1 "q4_1", Q5_0 "q5_0", Q5_1 "q5_1", Q2_K "q2_k", Q3_K "q3_k", IQ4_NL "iq4_nl", IQ4_XS "iq4_xs", MXFP4 "mxfp4"
);

kernel_args! {
    struct MatmulArgs {
        x: *const u8,
        weight: *const u8,
        bias: *const u8,
        residual: *const u8,
        y: *mut u8,
        x_stride: i64,
        weight_stride: i64,
        residual_stride: i64,
        y_stride: i64,
        rows: i32,
        n: i32,
        k: i32,
        x_type: u32,
        bias_type: u32,
        residual_type: u32,
        y_type: u32,
        x_vec: i32,
        weight_vec: i32,
        row_groups: i32,
    } size 112, row_groups at 108
}

/// `block` is the rows and outputs that a thread block makes.
fn launch(p: &MatmulPlan, cuda: &Cuda, kernel: &'static Kernel, block: [i64; 2], threads: u32) -> Result<()> {
    let data = |v: &Option<View>| v.map_or(std::ptr::null(), |v| v.data.cast_const());
    let dtype = |v: &Option<View>| v.map_or(0, |v| v.dtype.abi().0);
    let part = p.first();
    let row_groups = ceil_div(p.rows, block[0]);
    let args = MatmulArgs {
        x: p.x.data,
        weight: part.weight.data,
        bias: data(&part.bias),
        residual: data(&part.residual),
        y: part.y.data,
        x_stride: p.x.stride(0),
        weight_stride: part.weight.stride(0),
        residual_stride: part.residual.map_or(0, |v| v.stride(0)),
        y_stride: part.y.stride(0),
        rows: p.rows as i32,
        n: part.n() as i32,
        k: p.k as i32,
        x_type: p.x.dtype.abi().0,
        bias_type: dtype(&part.bias),
        residual_type: dtype(&part.residual),
        y_type: part.y.dtype.abi().0,
        x_vec: i32::from(p.x_vec()),
        weight_vec: i32::from(p.weight_vec()),
        row_groups: row_groups as i32,
    };
    let blocks = row_groups * ceil_div(part.n(), block[1]);
    cuda.launch(kernel, Grid::new([blocks, 1, 1], threads)?, &args)
}

/// Where a launch keeps what it needs in the workspace, and how much that is.
struct Scratch {
    /// Bytes of an unpacked stretch of a weight.
    weight: i64,
    /// Bytes of one product of a gated pair, in f32.
    product: i64,
    /// Bytes of the normalised x, in f32.
    x: i64,
}

impl Scratch {
    fn of(p: &MatmulPlan) -> Scratch {
        let packed = p.parts().filter(|part| part.weight.packed);
        let weight = packed
            .map(|part| stretch_rows(part) * Panels::of(&part.weight).row_bytes())
            .max();
        let product = if p.gate.is_some() {
            p.rows * p.first().n() * 4
        } else {
            0
        };
        let aligned = |bytes: i64| ceil_div(bytes, Workspace::ALIGNMENT as i64) * Workspace::ALIGNMENT as i64;
        Scratch {
            weight: aligned(weight.unwrap_or(0)),
            product: aligned(product),
            x: aligned(if p.norm.is_some() { p.rows * p.k * 4 } else { 0 }),
        }
    }
}

/// Rows of a packed weight that are unpacked together: whole panels, about 32 MiB.
fn stretch_rows(part: &MatmulPart) -> i64 {
    const BYTES: i64 = 32 << 20;
    let panels = Panels::of(&part.weight);
    (BYTES / panels.bytes().max(1))
        .max(1)
        .saturating_mul(Panels::ROWS)
        .min(part.n())
}

pub(super) fn workspace_bytes(p: &MatmulPlan, _limits: &DeviceLimits) -> usize {
    let scratch = Scratch::of(p);
    (scratch.weight + 2 * scratch.product + scratch.x) as usize
}

fn launch_parts(p: &MatmulPlan, cuda: &Cuda, workspace: &Workspace) -> Result<()> {
    let scratch = Scratch::of(p);
    let at = |offset: i64| workspace.data.cast::<u8>().wrapping_offset(offset as isize);
    if p.norm.is_some() && p.k == 0 {
        // Nothing to normalise, and no scratch to do it in.
        return launch_any(&MatmulPlan { norm: None, ..*p }, cuda, workspace);
    }
    if let Some(norm) = &p.norm {
        let x = p.x.contiguous_at(at(scratch.weight + 2 * scratch.product), Dtype::F32);
        let plan = NormPlan::of(p.x, Some(*norm), p.norm_epsilon, x)?;
        op::run::<Norm>(&plan, cuda, &Workspace::NONE)?;
        let normalised = MatmulPlan { x, norm: None, ..*p };
        return launch_any(&normalised, cuda, workspace);
    }
    let Some(kind) = p.gate else {
        return p.parts().try_for_each(|part| launch_part(p, part, cuda, workspace));
    };
    let first = p.first();
    let product = |i: i64| {
        first
            .y
            .contiguous_at(at(scratch.weight + i * scratch.product), Dtype::F32)
    };
    for (i, part) in p.parts().enumerate() {
        let part = MatmulPart {
            y: product(i as i64),
            residual: None,
            ..*part
        };
        launch_part(p, &part, cuda, workspace)?;
    }
    let gated = |y: View| {
        let plan = ActivationPlan::of(kind, product(0), Some(product(1)), y)?;
        op::run::<Activation>(&plan, cuda, &Workspace::NONE)
    };
    match first.residual {
        None => gated(first.y),
        Some(residual) => {
            gated(product(0))?;
            let sum = AddPlan::of(product(0), residual, 1.0, first.y)?;
            op::run::<Add>(&sum, cuda, &Workspace::NONE)
        }
    }
}

fn launch_any(p: &MatmulPlan, cuda: &Cuda, workspace: &Workspace) -> Result<()> {
    match p.plain() {
        true => op::run::<Matmul>(p, cuda, workspace),
        false => launch_parts(p, cuda, workspace),
    }
}

/// One weight, unpacked where it has to be.
fn launch_part(p: &MatmulPlan, part: &MatmulPart, cuda: &Cuda, workspace: &Workspace) -> Result<()> {
    if !part.weight.packed || p.k == 0 {
        // Of no elements one order is like the other.
        let mut weight = part.weight;
        weight.packed = false;
        return op::run::<Matmul>(&p.only(MatmulPart { weight, ..*part }), cuda, workspace);
    }
    let rows = stretch_rows(part);
    let mut first = 0;
    while first < part.n() {
        let count = rows.min(part.n() - first);
        let source = part.weight.narrow(0, first, count);
        let row_bytes = Panels::of(&source).row_bytes();
        let native = source.matrix_at(workspace.data.cast(), source.dtype, row_bytes);
        let unpack = WeightsPackPlan::of(native, source, Direction::Unpack);
        op::run::<WeightsUnpack>(&unpack, cuda, &Workspace::NONE)?;
        let stretch = MatmulPart {
            weight: native,
            bias: part.bias.map(|bias| bias.narrow(0, first, count)),
            residual: part.residual.map(|residual| residual.narrow(1, first, count)),
            y: part.y.narrow(1, first, count),
        };
        op::run::<Matmul>(&p.only(stretch), cuda, workspace)?;
        if cuda.rehearses {
            // The first stretch is the largest.
            break;
        }
        first += count;
    }
    Ok(())
}

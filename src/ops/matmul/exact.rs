//! Products of weights expanded to f32: vector kernels for few rows, tiles on TF32 tensor cores for more. Each weight
//! has a launch of its own. Packed weights are first unpacked into the workspace, a stretch at a time, and the products
//! of a gated pair are combined there.

use super::{Matmul, MatmulPart, MatmulPlan};
use crate::abi::{Dtype, Result, View};
use crate::constants::{
    MATMUL_TILE_OUTPUTS, MATMUL_TILE32_ROWS, MATMUL_TILE32_WARPS, MATMUL_TILE128_ROWS, MATMUL_TILE128_WARPS,
    VECTOR_OUTPUTS, VECTOR_WARPS,
};
use crate::cuda::{Grid, Kernel, ceil_div, kernel_args, symbol};
use crate::format::panels::Panels;
use crate::ops::activation::{Activation, ActivationPlan};
use crate::ops::add::{Add, AddPlan};
use crate::ops::norm::{Norm, NormPlan};
use crate::ops::schedule::{Candidate, Schedule, only};
use crate::ops::weights_pack::{Direction, WeightsPackPlan, WeightsUnpack};

/// With up to this many rows the call is bound by reading the weights, as a matrix-vector product is.
const FEW_ROWS: i64 = 8;

impl MatmulPlan {
    /// Whether there is one weight, in the form that the kernels take.
    fn plain(&self) -> bool {
        self.parts().count() == 1 && self.gate.is_none() && self.norm.is_none() && !self.first().weight.packed
    }

    /// The plan of one of the products alone.
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

    /// Whether a vector kernel is used. All of them sum in the same order; the tiles have another one, and round to
    /// TF32.
    fn vector(&self) -> bool {
        self.rows <= FEW_ROWS || self.batch_invariant
    }
}

/// The kernels of one format.
struct Kernels {
    dtype: Dtype,
    vector: [Kernel; 4],
    vector_any: Kernel,
    tile32: Kernel,
    tile128: Kernel,
}

macro_rules! kernels {
    ($($dtype:ident $format:literal),*) => {
        [$(Kernels {
            dtype: Dtype::$dtype,
            vector: [
                kernels!(@ $format, "vector1"),
                kernels!(@ $format, "vector2"),
                kernels!(@ $format, "vector4"),
                kernels!(@ $format, "vector8"),
            ],
            vector_any: kernels!(@ $format, "vector_any"),
            tile32: kernels!(@ $format, "tile32"),
            tile128: kernels!(@ $format, "tile128"),
        }),*]
    };
    (@ $format:literal, $kernel:literal) => {
        Kernel::new(
            concat!("matmul_", $format),
            symbol(concat!("reflex_matmul_", $format, "_", $kernel, "\0")),
        )
    };
}

macro_rules! kernels_of_formats {
    ($({ $NAME:ident $type:ident $name:literal $($facts:tt)* })*) => {
        kernels!(F32 "f32", F16 "f16", BF16 "bf16" $(, $NAME $name)*)
    };
}

static KERNELS: [Kernels; Dtype::WEIGHTS.len()] = block_formats!(kernels_of_formats);

/// A kernel, and the rows and outputs that a block of it computes with so many threads.
struct Tiling {
    kernel: &'static Kernel,
    block: [i64; 2],
    threads: u32,
}

impl MatmulPlan {
    fn kernels(&self) -> &'static Kernels {
        let dtype = self.first().weight.dtype;
        let found = KERNELS.iter().find(|kernels| kernels.dtype == dtype);
        found.expect("every weight type has kernels")
    }

    /// The vector kernel that takes all rows at once, or the one that takes the most rows.
    fn vector_tiling(&self) -> Tiling {
        let i = match self.rows {
            1 => 0,
            2 => 1,
            3..=4 => 2,
            _ => 3,
        };
        Tiling {
            kernel: &self.kernels().vector[i],
            block: [1 << i, VECTOR_WARPS * VECTOR_OUTPUTS],
            threads: VECTOR_WARPS as u32 * 32,
        }
    }
}

const EXACT: &str = "products that are not in integers";
const FEW: &str = "at most 8 rows, or REFLEX_MATMUL_BATCH_INVARIANT";
const MANY: &str = "more than 8 rows, without REFLEX_MATMUL_BATCH_INVARIANT";

pub(super) const CANDIDATES: [Candidate<MatmulPlan>; 4] = [
    Candidate::new(
        "vector",
        |p, _| {
            only(!p.int8, EXACT)?;
            only(p.vector(), FEW)?;
            only(
                p.x_vec() && p.weight_vec(),
                "a k of a multiple of 8, and 16-byte aligned rows",
            )
        },
        |p, to| schedule(p, to, p.vector_tiling()),
    ),
    Candidate::new(
        "vector_any",
        |p, _| only(!p.int8, EXACT).and(only(p.vector(), FEW)),
        |p, to| {
            let kernel = &p.kernels().vector_any;
            schedule(
                p,
                to,
                Tiling {
                    kernel,
                    block: [1, VECTOR_WARPS * VECTOR_OUTPUTS],
                    threads: VECTOR_WARPS as u32 * 32,
                },
            )
        },
    ),
    Candidate::new(
        "tile32",
        |p: &MatmulPlan, _| only(!p.int8, EXACT).and(only(!p.vector(), MANY)),
        |p, to| {
            let kernel = &p.kernels().tile32;
            schedule(
                p,
                to,
                Tiling {
                    kernel,
                    block: [MATMUL_TILE32_ROWS, MATMUL_TILE_OUTPUTS],
                    threads: MATMUL_TILE32_WARPS as u32 * 32,
                },
            )
        },
    )
    .where_it_pays(|p, limits| {
        // The larger tile would be mostly empty.
        only(p.rows <= limits.tuning.matmul.small_tile_rows, "fewer rows")
    }),
    Candidate::new(
        "tile128",
        |p, _| only(!p.int8, EXACT).and(only(!p.vector(), MANY)),
        |p, to| {
            let kernel = &p.kernels().tile128;
            schedule(
                p,
                to,
                Tiling {
                    kernel,
                    block: [MATMUL_TILE128_ROWS, MATMUL_TILE_OUTPUTS],
                    threads: MATMUL_TILE128_WARPS as u32 * 32,
                },
            )
        },
    ),
];

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

fn schedule(p: &MatmulPlan, to: &mut Schedule, tiling: Tiling) -> Result<()> {
    match p.plain() {
        true => schedule_plain(p, to, &tiling)?,
        false => Parts::book(p, to).schedule(p, to)?,
    }
    to.names(tiling.kernel);
    Ok(())
}

fn schedule_plain(p: &MatmulPlan, to: &mut Schedule, tiling: &Tiling) -> Result<()> {
    let data = |v: &Option<View>| v.map_or(std::ptr::null(), |v| v.data.cast_const());
    let dtype = |v: &Option<View>| v.map_or(0, |v| v.dtype.abi().0);
    let part = p.first();
    let row_groups = ceil_div(p.rows, tiling.block[0]);
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
    let blocks = row_groups * ceil_div(part.n(), tiling.block[1]);
    to.launch(tiling.kernel, Grid::new([blocks, 1, 1], tiling.threads)?, &args);
    Ok(())
}

/// The workspace of a product that takes several launches.
struct Parts {
    /// An unpacked stretch of a weight.
    weight: *mut u8,
    /// The products of a gated pair, in f32.
    products: [*mut u8; 2],
    /// The normalised x, in f32.
    x: *mut u8,
}

/// The number of rows of a packed weight that are unpacked together: complete panels of about 32 MiB.
fn stretch_rows(panels: &Panels, part: &MatmulPart) -> i64 {
    const BYTES: i64 = 32 << 20;
    (BYTES / panels.bytes().max(1))
        .max(1)
        .saturating_mul(Panels::ROWS)
        .min(part.n())
}

impl Parts {
    fn book(p: &MatmulPlan, to: &mut Schedule) -> Parts {
        let stretch = p.parts().filter_map(|part| {
            let panels = Panels::of_packed(&part.weight)?;
            Some(stretch_rows(&panels, part) * panels.row_bytes())
        });
        let gated = if p.gate.is_some() {
            p.rows * p.first().n() * 4
        } else {
            0
        };
        let x = if p.norm.is_some() { p.rows * p.k * 4 } else { 0 };
        Parts {
            weight: to.book("an unpacked stretch of a weight", stretch.max().unwrap_or(0) as usize),
            products: [
                to.book("the first product of a gated pair", gated as usize),
                to.book("the second product of a gated pair", gated as usize),
            ],
            x: to.book("the normalised x", x as usize),
        }
    }

    fn schedule(&self, p: &MatmulPlan, to: &mut Schedule) -> Result<()> {
        let Some(norm) = p.norm else {
            return self.schedule_products(p, to);
        };
        let mut x = p.x;
        // With a k of 0 there is nothing to normalise, and no scratch for it.
        if p.k > 0 {
            x = p.x.contiguous_at(self.x, Dtype::F32);
            to.add::<Norm>(&NormPlan::of(p.x, Some(norm), p.norm_epsilon, x)?)?;
        }
        self.schedule_products(&MatmulPlan { x, norm: None, ..*p }, to)
    }

    fn schedule_products(&self, p: &MatmulPlan, to: &mut Schedule) -> Result<()> {
        let Some(kind) = p.gate else {
            return p.parts().try_for_each(|part| self.schedule_part(p, part, to));
        };
        let first = p.first();
        let products = self.products.map(|at| first.y.contiguous_at(at, Dtype::F32));
        for (part, y) in p.parts().zip(products) {
            let part = MatmulPart {
                y,
                residual: None,
                ..*part
            };
            self.schedule_part(p, &part, to)?;
        }
        let [gate, up] = products;
        let y = if first.residual.is_some() { gate } else { first.y };
        to.add::<Activation>(&ActivationPlan::of(kind, gate, Some(up), y)?)?;
        match first.residual {
            Some(residual) => to.add::<Add>(&AddPlan::of(gate, residual, 1.0, first.y)?),
            None => Ok(()),
        }
    }

    /// Adds the launches of one weight, which is unpacked where it has to be.
    fn schedule_part(&self, p: &MatmulPlan, part: &MatmulPart, to: &mut Schedule) -> Result<()> {
        let Some(panels) = Panels::of_packed(&part.weight).filter(|_| p.k > 0) else {
            // Without elements the packed order is that of a native weight.
            let mut weight = part.weight;
            weight.packed = false;
            return to.add::<Matmul>(&p.only(MatmulPart { weight, ..*part }));
        };
        let rows = stretch_rows(&panels, part);
        let mut first = 0;
        while first < part.n() {
            let count = rows.min(part.n() - first);
            let source = part.weight.narrow(0, first, count);
            let native = source.matrix_at(self.weight, source.dtype, panels.row_bytes());
            let unpack = WeightsPackPlan::of(panels.format, native, source, Direction::Unpack);
            to.add::<WeightsUnpack>(&unpack)?;
            let stretch = MatmulPart {
                weight: native,
                bias: part.bias.map(|bias| bias.narrow(0, first, count)),
                residual: part.residual.map(|residual| residual.narrow(1, first, count)),
                y: part.y.narrow(1, first, count),
            };
            to.add::<Matmul>(&p.only(stretch))?;
            first += count;
        }
        Ok(())
    }
}

use crate::support::*;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const F16: reflex_dtype = REFLEX_DTYPE_F16;
const BF16: reflex_dtype = REFLEX_DTYPE_BF16;
const ACT_I8: reflex_dtype = REFLEX_DTYPE_ACT_I8;

fn tolerance(y: reflex_dtype) -> Tolerance {
    match y {
        // One rounding to y's type either way, on top of f32 sums in another order.
        F16 => Tolerance::new(1e-6, 1.0 / 1024.0),
        BF16 => Tolerance::new(1e-6, 1.0 / 128.0),
        _ => Tolerance::new(1e-6, 1e-5),
    }
}

#[derive(Clone, Copy)]
struct Case {
    x: reflex_dtype,
    y: reflex_dtype,
    rows: i64,
    dim: i64,
    gap: i64,
    offset: usize,
    residual: bool,
    weight: bool,
}

impl Case {
    fn launch(self, io: &Io) -> Launch {
        let mut random = Random::new((self.rows * 7919 + self.dim) as u64);
        let n = (self.rows * self.dim) as usize;
        let spec = |dtype| {
            Spec::new(dtype, &[self.rows, self.dim])
                .row_gap(self.gap)
                .offset(self.offset)
        };
        let mut p = reflex_norm_params {
            struct_size: size_of::<reflex_norm_params>() as u32,
            epsilon: 1e-5,
            x: io.input(spec(self.x), &random.normals(n)),
            ..Default::default()
        };
        if self.residual {
            let dtype = if self.y == ACT_I8 { F32 } else { self.y };
            p.residual = io.input(spec(dtype), &random.normals(n));
            p.residual_out = io.output(spec(self.x));
        }
        if self.weight {
            let weight = random.normals(self.dim as usize);
            p.weight = io.input(Spec::new(F32, &[self.dim]).offset(self.offset), &weight);
        }
        p.y = io.output(match self.y {
            ACT_I8 => act_i8(&[self.rows, self.dim]),
            dtype => spec(dtype),
        });
        Box::new(move |context, stream| reflex_norm(context, &p, stream))
    }
}

pub fn tests(suite: &mut Suite) {
    let base = Case {
        x: F32,
        y: F32,
        rows: 3,
        dim: 2560,
        gap: 0,
        offset: 0,
        residual: false,
        weight: true,
    };
    // Warp and block kernels, aligned and not, cached and not.
    for dim in [
        1, 7, 8, 31, 64, 128, 257, 511, 512, 513, 1000, 2560, 4096, 12288, 16384, 20001,
    ] {
        let case = Case { dim, ..base };
        suite.parity(format!("norm::dim_{dim}"), tolerance(F32), move |io| case.launch(io));
        let case = Case {
            residual: true,
            x: F16,
            y: BF16,
            ..case
        };
        suite.parity(format!("norm::residual_dim_{dim}"), tolerance(BF16), move |io| {
            case.launch(io)
        });
    }
    for rows in [0, 1, 2, 5, 129, 1000] {
        let case = Case {
            rows,
            dim: 128,
            y: F16,
            ..base
        };
        suite.parity(format!("norm::rows_{rows}"), tolerance(F16), move |io| case.launch(io));
    }
    for (x, y) in [(F32, F16), (F16, F16), (BF16, BF16), (BF16, F32), (F16, BF16)] {
        let case = Case { x, y, ..base };
        suite.parity(format!("norm::types_{}_{}", x.0, y.0), tolerance(y), move |io| {
            case.launch(io)
        });
    }
    for (gap, offset) in [(1, 0), (8, 0), (0, 1), (3, 1), (0, 4)] {
        let case = Case {
            gap,
            offset,
            residual: true,
            ..base
        };
        suite.parity(format!("norm::gap_{gap}_offset_{offset}"), tolerance(F32), move |io| {
            case.launch(io)
        });
    }
    // Blocks of 4 and of 32 lanes, in warps that are not full too; cached and not.
    for dim in [32, 64, 96, 256, 288, 512, 544, 2560, 4096, 8192, 12256, 12288, 20000] {
        for (x, offset, residual) in [(F32, 0, true), (F16, 1, true), (BF16, 0, false), (F32, 3, false)] {
            let case = Case {
                x,
                y: ACT_I8,
                dim,
                offset,
                residual,
                ..base
            };
            let name = format!("norm::quantized_dim_{dim}_type_{}_offset_{offset}", x.0);
            suite.parity(name, tolerance(F32), move |io| case.launch(io));
        }
    }
    for rows in [0, 1, 129, 1000] {
        let case = Case {
            rows,
            dim: 160,
            y: ACT_I8,
            ..base
        };
        suite.parity(format!("norm::quantized_rows_{rows}"), tolerance(F32), move |io| {
            case.launch(io)
        });
    }
    for offset in [0, 1] {
        let name = format!("norm::quantized_nan_and_infinity_offset_{offset}");
        suite.parity(name, tolerance(F32), move |io| {
            let mut values = Random::new(10).normals(4 * 640);
            values[5] = f32::NAN;
            values[640 + 7] = f32::INFINITY;
            values[1280..1920].fill(0.0);
            let p = reflex_norm_params {
                struct_size: size_of::<reflex_norm_params>() as u32,
                x: io.input(Spec::new(F32, &[4, 640]).offset(offset), &values),
                y: io.output(act_i8(&[4, 640])),
                ..Default::default()
            };
            Box::new(move |context, stream| reflex_norm(context, &p, stream))
        });
    }

    let case = Case { weight: false, ..base };
    suite.parity("norm::no_weight", tolerance(F32), move |io| case.launch(io));

    suite.parity("norm::heads_of_a_merged_buffer", tolerance(F16), |io| {
        // [tokens, heads, head_dim] inside rows of 3 * heads * head_dim.
        let (tokens, heads, dim) = (3, 5, 64);
        let spec = || Spec::new(F16, &[tokens, heads, dim]).strides(&[3 * heads * dim * 2, dim * 2, 2]);
        let values = Random::new(5).normals((tokens * heads * dim) as usize);
        let weight = Random::new(6).normals(dim as usize);
        let x = io.in_out(spec(), &values);
        let p = reflex_norm_params {
            struct_size: size_of::<reflex_norm_params>() as u32,
            x,
            weight: io.input(Spec::new(F32, &[dim]), &weight),
            y: x,
            ..Default::default()
        };
        Box::new(move |context, stream| reflex_norm(context, &p, stream))
    });

    suite.parity("norm::residual_in_place", tolerance(F32), |io| {
        let spec = || Spec::new(F32, &[4, 1024]);
        let values = Random::new(7).normals(4096);
        let residual = io.in_out(spec(), &Random::new(8).normals(4096));
        let p = reflex_norm_params {
            struct_size: size_of::<reflex_norm_params>() as u32,
            x: io.input(spec(), &values),
            residual,
            residual_out: residual,
            y: io.output(spec()),
            ..Default::default()
        };
        Box::new(move |context, stream| reflex_norm(context, &p, stream))
    });

    // Rows of a warp, of a block, and those that shared memory does not hold.
    for dim in [64, 640, 13_000] {
        let name = format!("norm::squares_beyond_f32_dim_{dim}");
        suite.parity(name, tolerance(F32), move |io| {
            let mut values = Random::new(11).normals(4 * dim as usize);
            let (one, all) = (dim as usize + 7, 2 * dim as usize..3 * dim as usize);
            values[one] = 1e20;
            values[all].fill(-3e38);
            let p = reflex_norm_params {
                struct_size: size_of::<reflex_norm_params>() as u32,
                x: io.input(Spec::new(F32, &[4, dim]), &values),
                y: io.output(Spec::new(F32, &[4, dim])),
                ..Default::default()
            };
            Box::new(move |context, stream| reflex_norm(context, &p, stream))
        });
    }

    suite.parity("norm::nan_and_infinity_stay_in_their_row", tolerance(F32), |io| {
        let mut values = Random::new(9).normals(4 * 600);
        values[5] = f32::NAN;
        values[600 + 7] = f32::INFINITY;
        values[1200..1800].fill(0.0);
        let p = reflex_norm_params {
            struct_size: size_of::<reflex_norm_params>() as u32,
            x: io.input(Spec::new(F32, &[4, 600]), &values),
            y: io.output(Spec::new(F32, &[4, 600])),
            ..Default::default()
        };
        Box::new(move |context, stream| reflex_norm(context, &p, stream))
    });
}

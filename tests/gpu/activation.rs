use crate::support::*;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const F16: reflex_dtype = REFLEX_DTYPE_F16;
const BF16: reflex_dtype = REFLEX_DTYPE_BF16;
const ACT_I8: reflex_dtype = REFLEX_DTYPE_ACT_I8;

fn tolerance(y: reflex_dtype) -> Tolerance {
    match y {
        // One step of y's type: both sides round nearly the same number.
        F16 => Tolerance::new(1e-6, 1.0 / 1024.0),
        BF16 => Tolerance::new(1e-6, 1.0 / 128.0),
        // expf, a sum, a quotient and two products; far below zero the exponent's rounding shows, at values near 0.
        _ => Tolerance::new(1e-6, 1e-6),
    }
}

#[derive(Clone, Copy)]
struct Case {
    kind: reflex_activation_kind,
    gate: reflex_dtype,
    y: reflex_dtype,
    rows: i64,
    n: i64,
    gap: i64,
    offset: usize,
    up: bool,
}

impl Case {
    fn launch(self, io: &Io) -> Launch {
        let mut random = Random::new((self.rows * 7919 + self.n) as u64);
        let count = (self.rows * self.n) as usize;
        let spec = |dtype| {
            Spec::new(dtype, &[self.rows, self.n])
                .row_gap(self.gap)
                .offset(self.offset)
        };
        let gate: Vec<f32> = (0..count).map(|_| 3.0 * random.normal()).collect();
        let mut p = reflex_activation_params {
            struct_size: size_of::<reflex_activation_params>() as u32,
            kind: self.kind,
            gate: io.input(spec(self.gate), &gate),
            ..Default::default()
        };
        if self.up {
            let dtype = if self.y == ACT_I8 { F32 } else { self.y };
            p.up = io.input(spec(dtype), &random.normals(count));
        }
        p.y = io.output(match self.y {
            ACT_I8 => act_i8(&[self.rows, self.n]),
            dtype => spec(dtype),
        });
        Box::new(move |context, stream| reflex_activation(context, &p, stream))
    }
}

pub fn tests(suite: &mut Suite) {
    let kinds = [
        (REFLEX_ACTIVATION_SILU, "silu"),
        (REFLEX_ACTIVATION_GELU_TANH, "gelu_tanh"),
        (REFLEX_ACTIVATION_GELU_ERF, "gelu_erf"),
    ];
    for (kind, name) in kinds {
        let base = Case {
            kind,
            gate: F32,
            y: F32,
            rows: 3,
            n: 1024,
            gap: 0,
            offset: 0,
            up: true,
        };
        let mut add = |what: String, case: Case| {
            suite.parity(format!("activation::{name}_{what}"), tolerance(case.y), move |io| {
                case.launch(io)
            });
        };
        for n in [1, 7, 8, 33, 256, 1000, 1023, 1032, 9728, 20001] {
            add(format!("n_{n}"), Case { n, ..base });
            let case = Case {
                n,
                up: false,
                gate: F16,
                y: BF16,
                ..base
            };
            add(format!("n_{n}_without_up"), case);
        }
        for rows in [0, 1, 2, 257] {
            let case = Case {
                rows,
                n: 136,
                y: F16,
                ..base
            };
            add(format!("rows_{rows}"), case);
        }
        for (gate, y) in [(F32, F16), (F16, F16), (BF16, BF16), (BF16, F32), (F16, F32)] {
            add(format!("types_{}_{}", gate.0, y.0), Case { gate, y, ..base });
        }
        for (gap, offset) in [(1, 0), (8, 0), (0, 1), (3, 1), (0, 4)] {
            add(format!("gap_{gap}_offset_{offset}"), Case { gap, offset, ..base });
        }

        for n in [32, 96, 256, 1056, 9728, 20000] {
            for (gate, offset, up) in [(F32, 0, true), (F16, 0, false), (BF16, 1, true), (F32, 1, false)] {
                let case = Case {
                    n,
                    gate,
                    y: ACT_I8,
                    offset,
                    up,
                    ..base
                };
                add(format!("quantized_n_{n}_type_{}_offset_{offset}", gate.0), case);
            }
        }
        for rows in [0, 1, 257] {
            let case = Case {
                rows,
                n: 160,
                y: ACT_I8,
                ..base
            };
            add(format!("quantized_rows_{rows}"), case);
        }

        suite.parity(format!("activation::{name}_extremes"), tolerance(F32), move |io| {
            let gate = [
                f32::INFINITY,
                f32::NEG_INFINITY,
                f32::NAN,
                f32::MAX,
                f32::MIN,
                -88.0,
                -103.0,
                -199.0,
                -201.0,
                88.0,
                1e-40,
                -1e-40,
                0.0,
                -0.0,
                1e-7,
                -12.0,
            ];
            let p = reflex_activation_params {
                struct_size: size_of::<reflex_activation_params>() as u32,
                kind,
                gate: io.input(Spec::new(F32, &[16]), &gate),
                y: io.output(Spec::new(F32, &[16])),
                ..Default::default()
            };
            Box::new(move |context, stream| reflex_activation(context, &p, stream))
        });

        suite.parity(
            format!("activation::{name}_merged_in_place"),
            tolerance(F16),
            move |io| {
                // Gate and up are the halves of rows of 2 n; the result goes over up, over three outer dimensions.
                let n = 192i64;
                let values = Random::new(4).normals((2 * 3 * 5 * 2 * n) as usize);
                let merged = io.in_out(Spec::new(F16, &[2, 3, 5, 2 * n]), &values);
                let half = |first: i64| reflex_tensor {
                    data: merged.data.wrapping_byte_add((first * 2) as usize),
                    shape: [2, 3, 5, n],
                    stride: [15 * 4 * n, 5 * 4 * n, 4 * n, 2],
                    ..merged
                };
                let p = reflex_activation_params {
                    struct_size: size_of::<reflex_activation_params>() as u32,
                    kind,
                    gate: half(0),
                    up: half(n),
                    y: half(n),
                };
                Box::new(move |context, stream| reflex_activation(context, &p, stream))
            },
        );
    }
}

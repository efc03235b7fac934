mod infinities;
mod int8;

use crate::support::*;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const F16: reflex_dtype = REFLEX_DTYPE_F16;
const BF16: reflex_dtype = REFLEX_DTYPE_BF16;

#[derive(Clone, Copy)]
struct Case {
    weight: reflex_dtype,
    x: reflex_dtype,
    y: reflex_dtype,
    rows: i64,
    n: i64,
    k: i64,
    flags: u32,
    bias: Option<reflex_dtype>,
    residual: Option<reflex_dtype>,
    in_place: bool,
    /// Elements between rows of x and y, blocks between rows of the weight.
    gaps: [i64; 3],
    /// Elements before x, y and a plain weight.
    offsets: [usize; 3],
}

impl Case {
    fn new(weight: reflex_dtype, rows: i64, n: i64, k: i64) -> Case {
        Case {
            weight,
            x: F32,
            y: F32,
            rows,
            n,
            k,
            flags: 0,
            bias: None,
            residual: None,
            in_place: false,
            gaps: [0; 3],
            offsets: [0; 3],
        }
    }

    /// Products of numbers near 1 sum to about sqrt(k). Few rows: f32 sums in another order than the reference's. Many:
    /// two roundings to TF32, 2^-11 each at most, independent from product to product.
    fn tolerance(self) -> Tolerance {
        let few = self.rows <= 8 || self.flags & REFLEX_MATMUL_BATCH_INVARIANT != 0;
        let of_magnitude = if few { 3e-6 } else { 1.0 / 256.0 };
        let relative = match self.y {
            F16 => 1.0 / 1024.0,
            BF16 => 1.0 / 128.0,
            _ => 1e-6,
        };
        Tolerance::new(of_magnitude * (self.k as f32 + 1.0).sqrt(), relative)
    }

    fn x_spec(self) -> Spec {
        Spec::new(self.x, &[self.rows, self.k])
            .row_gap(self.gaps[0])
            .offset(self.offsets[0])
    }

    fn x_values(self) -> Vec<f32> {
        Random::new((self.rows * 7919 + self.k) as u64).normals((self.rows * self.k) as usize)
    }

    fn weight_bytes(self) -> Vec<u8> {
        let mut random = Random::new((self.n * 104729 + self.k) as u64);
        random_weights(&mut random, self.weight, (self.n * self.k) as usize)
    }

    /// Operands with these values of x.
    fn params(self, io: &Io, x: &[f32]) -> MatmulCall {
        let mut random = Random::new((self.rows + self.n) as u64);
        let y_spec = |dtype| {
            Spec::new(dtype, &[self.rows, self.n])
                .row_gap(self.gaps[1])
                .offset(self.offsets[1])
        };
        let x = io.input(self.x_spec(), x);
        let weight = io.input_bytes(
            Spec::new(self.weight, &[self.n, self.k])
                .row_gap(self.gaps[2])
                .offset(self.offsets[2]),
            &self.weight_bytes(),
        );
        let mut product = reflex_matmul_product {
            weight: weight_of(weight),
            ..Default::default()
        };
        if let Some(dtype) = self.bias {
            product.bias = io.input(Spec::new(dtype, &[self.n]), &random.normals(self.n as usize));
        }
        let residual = random.normals((self.rows * self.n) as usize);
        if self.in_place {
            product.residual = io.in_out(y_spec(self.y), &residual);
            product.y = product.residual;
        } else {
            if let Some(dtype) = self.residual {
                product.residual = io.input(y_spec(dtype), &residual);
            }
            product.y = io.output(y_spec(self.y));
        }
        MatmulCall::new(self.flags, x, &[product])
    }

    fn launch(self, io: &Io) -> Launch {
        let p = self.params(io, &self.x_values());
        Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
    }

    fn add(self, suite: &mut Suite, name: String) {
        suite.parity(format!("matmul::{name}"), self.tolerance(), move |io| self.launch(io));
    }
}

/// Elements of x's rows that every kernel of this weight can take.
fn block(weight: reflex_dtype) -> i64 {
    i64::from(reflex_dtype_block_elements(weight))
}

/// One of each family of formats. The others have the same kernels around their own expansion, which the embedding tests
/// try as well; they get fewer cases.
const THOROUGH: [reflex_dtype; 8] = [
    F32,
    F16,
    BF16,
    REFLEX_DTYPE_Q4_0,
    REFLEX_DTYPE_Q8_0,
    REFLEX_DTYPE_Q4_K,
    REFLEX_DTYPE_Q5_K,
    REFLEX_DTYPE_Q6_K,
];

fn fewer_tests(suite: &mut Suite, weight: reflex_dtype) {
    let name = dtype_name(weight);
    let step = block(weight);
    for rows in [1, 2, 3, 8, 9, 65, 130] {
        Case::new(weight, rows, 67, 3 * step).add(suite, format!("{name}_rows_{rows}"));
    }
    for rows in [1, 7, 33, 70] {
        Case::new(weight, rows, 9, 2560).add(suite, format!("{name}_rows_{rows}_k_2560"));
        let case = Case {
            x: BF16,
            y: F16,
            bias: Some(F32),
            in_place: true,
            gaps: [8, 3, 1],
            ..Case::new(weight, rows, 35, 5 * step)
        };
        case.add(suite, format!("{name}_rows_{rows}_epilogue"));
        let case = Case {
            gaps: [1, 1, 1],
            offsets: [1, 1, 0],
            ..Case::new(weight, rows, 35, 5 * step)
        };
        case.add(suite, format!("{name}_rows_{rows}_unaligned"));
    }
    batch_invariant(suite, weight);
    kernels_follow_the_shape(suite, weight);
}

pub fn tests(suite: &mut Suite) {
    suite.test("matmul::empty_sums_in_every_mode", |_| {
        // A stream of its own: the runner starts tests in parallel.
        check_empty_sums(&Env::cuda().expect("a GPU"));
    });
    infinities::tests(suite);
    int8::tests(suite);
    for weight in WEIGHTS.into_iter().filter(|weight| !THOROUGH.contains(weight)) {
        fewer_tests(suite, weight);
    }
    for weight in THOROUGH {
        let name = dtype_name(weight);
        let step = block(weight).max(32);
        // Every kernel: 1, 2, 4 and 8 rows at a time, the small tile and the large one, with odd tails of outputs.
        for rows in [1, 2, 3, 7, 8, 9, 17, 64, 65, 100, 300] {
            Case::new(weight, rows, 67, 2 * step).add(suite, format!("{name}_rows_{rows}"));
        }
        for k in [step, 3 * step, 5 * step, 9 * step, 2560] {
            for rows in [1, 5, 20, 70] {
                Case::new(weight, rows, 9, k).add(suite, format!("{name}_rows_{rows}_k_{k}"));
            }
        }
        for n in [1, 2, 8, 63, 64, 129] {
            for rows in [1, 33, 130] {
                Case::new(weight, rows, n, step).add(suite, format!("{name}_rows_{rows}_n_{n}"));
            }
        }
        // Types of x and y, epilogue, strides, in place; once with few rows and once with many.
        for rows in [3, 40, 90] {
            let base = Case::new(weight, rows, 35, 3 * step);
            for (x, y) in [(F16, F16), (BF16, BF16), (F32, F16), (F16, F32), (BF16, F32)] {
                let case = Case { x, y, ..base };
                case.add(suite, format!("{name}_rows_{rows}_types_{}_{}", x.0, y.0));
            }
            let case = Case {
                bias: Some(F16),
                residual: Some(BF16),
                gaps: [8, 3, 1],
                ..base
            };
            case.add(suite, format!("{name}_rows_{rows}_epilogue"));
            let case = Case {
                bias: Some(F32),
                in_place: true,
                y: F16,
                ..base
            };
            case.add(suite, format!("{name}_rows_{rows}_in_place"));
            for x in [F32, BF16] {
                let case = Case {
                    x,
                    gaps: [1, 1, 1],
                    offsets: [1, 1, 0],
                    ..base
                };
                case.add(suite, format!("{name}_rows_{rows}_unaligned_{}", x.0));
            }
        }
        for rows in [0, 3, 40] {
            Case::new(weight, rows, 0, step).add(suite, format!("{name}_rows_{rows}_no_outputs"));
            let case = Case {
                bias: Some(F32),
                ..Case::new(weight, rows, 5, 0)
            };
            case.add(suite, format!("{name}_rows_{rows}_k_0"));
        }
        batch_invariant(suite, weight);
        let case = Case {
            flags: REFLEX_MATMUL_BATCH_INVARIANT,
            ..Case::new(weight, 21, 11, 3 * step)
        };
        case.add(suite, format!("{name}_batch_invariant_rows_21"));
        kernels_follow_the_shape(suite, weight);
    }
    // Plain weights end anywhere and start at any element.
    for weight in [F32, F16, BF16] {
        for k in [1, 7, 9, 31, 33, 100, 1001] {
            for rows in [1, 6, 37, 70] {
                let name = dtype_name(weight);
                Case::new(weight, rows, 13, k).add(suite, format!("{name}_rows_{rows}_odd_k_{k}"));
                let case = Case {
                    offsets: [0, 0, 1],
                    gaps: [0, 0, 3],
                    ..Case::new(weight, rows, 13, k)
                };
                case.add(suite, format!("{name}_rows_{rows}_odd_k_{k}_unaligned"));
            }
        }
    }
    for rows in [4, 40] {
        suite.parity(
            format!("matmul::rows_{rows}_nan_stays_in_its_row"),
            Case::new(REFLEX_DTYPE_Q4_K, rows, 19, 512).tolerance(),
            move |io| {
                let case = Case::new(REFLEX_DTYPE_Q4_K, rows, 19, 512);
                let mut x = case.x_values();
                x[512 + 300] = f32::NAN;
                let p = case.params(io, &x);
                Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
            },
        );
    }
}

/// Row 0 alone, among 5 and among 21 rows, aligned and not: the same bits.
fn batch_invariant(suite: &mut Suite, weight: reflex_dtype) {
    let name = format!("matmul::{}_batch_invariant", dtype_name(weight));
    suite.test(name, move |_| {
        let env = Env::cuda().expect("a GPU");
        let (n, k) = (33, 10 * block(weight).max(32));
        let base = Case {
            flags: REFLEX_MATMUL_BATCH_INVARIANT,
            ..Case::new(weight, 21, n, k)
        };
        let x = base.x_values();
        let first_row = |rows: i64, offset: usize| -> Vec<u32> {
            let case = Case {
                rows,
                offsets: [offset, 0, 0],
                ..base
            };
            let outputs = run_once(&env, |io| {
                let p = case.params(io, &x[..(rows * k) as usize]);
                Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
            });
            outputs[0][..n as usize].iter().map(|v| v.to_bits()).collect()
        };
        let alone = first_row(1, 0);
        for (rows, offset) in [(2, 0), (3, 0), (5, 0), (8, 0), (9, 0), (21, 0), (1, 1), (21, 1)] {
            assert!(first_row(rows, offset) == alone, "rows {rows}, offset {offset}");
        }
    });
}

fn kernels_follow_the_shape(suite: &mut Suite, weight: reflex_dtype) {
    let format = dtype_name(weight);
    suite.test(format!("matmul::{format}_kernels"), move |env| {
        let io = Io::new(env);
        let step = block(weight).max(32);
        let name = |case: Case| {
            let p = case.params(&io, &case.x_values());
            let name = p.selected(env);
            name.strip_prefix(&format!("reflex_matmul_{format}_"))
                .unwrap()
                .to_string()
        };
        let rows = |rows| Case::new(weight, rows, 3, step);
        let kernels = [
            (1, "vector1"),
            (2, "vector2"),
            (3, "vector4"),
            (4, "vector4"),
            (5, "vector8"),
            (8, "vector8"),
            (9, "tile32"),
            (64, "tile32"),
            (65, "tile128"),
        ];
        for (count, kernel) in kernels {
            assert_eq!(name(rows(count)), kernel);
        }
        let unaligned = Case {
            offsets: [1, 0, 0],
            ..rows(2)
        };
        assert_eq!(name(unaligned), "vector_any");
        let invariant = Case {
            flags: REFLEX_MATMUL_BATCH_INVARIANT,
            ..rows(100)
        };
        assert_eq!(name(invariant), "vector8");
    });
}

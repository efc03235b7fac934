//! Integer products, packed weights, several weights over one x, gated pairs.

use super::{BF16, F16, F32, block};
use crate::support::*;
use reflex_infer::*;

const ACT_I8: reflex_dtype = REFLEX_DTYPE_ACT_I8;

/// One weight and its epilogue.
#[derive(Clone, Copy)]
struct Product {
    weight: reflex_dtype,
    n: i64,
    packed: bool,
    y: reflex_dtype,
    bias: Option<reflex_dtype>,
    residual: Option<reflex_dtype>,
    in_place: bool,
    extreme: bool,
    /// Nothing around native weights, and so for compute-sanitizer to see what is read there.
    bare: bool,
}

impl Product {
    fn new(weight: reflex_dtype, n: i64) -> Product {
        Product {
            weight,
            n,
            packed: true,
            y: F32,
            bias: None,
            residual: None,
            in_place: false,
            extreme: false,
            bare: false,
        }
    }

    fn bytes(self, k: i64) -> Vec<u8> {
        let mut random = Random::new((self.n * 31 + k) as u64 + u64::from(self.weight.0));
        match self.extreme {
            true => extreme_weights(&mut random, self.weight, (self.n * k) as usize),
            false => random_weights(&mut random, self.weight, (self.n * k) as usize),
        }
    }

    fn weight(self, io: &Io, k: i64, gap: i64) -> reflex_tensor {
        let bytes = self.bytes(k);
        if !self.packed {
            let spec = Spec::new(self.weight, &[self.n, k]).row_gap(gap);
            return io.input_bytes(if self.bare { spec.bare() } else { spec }, &bytes);
        }
        let case = PackCase::new(self.weight, self.n, k, Direction::Pack);
        let bytes = run_once_bytes(&Env::cpu(), |io| case.launch(io, &bytes)).remove(0);
        io.input_bytes(Spec::new(packed(self.weight), &[self.n, k]), &bytes)
    }
}

#[derive(Clone)]
struct Case {
    rows: i64,
    k: i64,
    x: reflex_dtype,
    flags: u32,
    gate: Option<reflex_activation_kind>,
    norm: Option<reflex_dtype>,
    /// Of the norm that a later product reads the first y through.
    y_norm: Option<reflex_dtype>,
    /// x is what such a product has left.
    x_squares: bool,
    products: Vec<Product>,
    /// Elements between rows of x and y, blocks between rows of native weights.
    gaps: [i64; 3],
}

impl Case {
    fn new(rows: i64, k: i64, products: &[Product]) -> Case {
        Case {
            rows,
            k,
            x: ACT_I8,
            flags: 0,
            gate: None,
            norm: None,
            y_norm: None,
            x_squares: false,
            products: products.to_vec(),
            gaps: [0; 3],
        }
    }

    fn gated(self, kind: reflex_activation_kind) -> Case {
        Case {
            gate: Some(kind),
            flags: self.flags | REFLEX_MATMUL_GATED,
            ..self
        }
    }

    /// Whether blocks of a few rows have nothing but whole panels of a format: the kernel that `few` is about.
    fn few(&self) -> bool {
        let act_i8 = self.y_norm.is_some() || self.products.iter().any(|p| p.y == ACT_I8);
        let outputs = if self.gate.is_some() && !act_i8 { 16 } else { 32 };
        let whole = |p: &Product| p.packed && p.n % outputs == 0 && p.weight == self.products[0].weight;
        (2..=16).contains(&self.rows)
            && self.k % 256 == 0
            && self.flags & REFLEX_MATMUL_BATCH_INVARIANT == 0
            && self.products.iter().all(whole)
    }

    /// Products of one row, and of a few, are exact in both; sums are f32 in another order than the reference's. Several rows are
    /// multiplied with packed weights as f16, of which scales and products with them are rounded (2^-11 each, the same for all 32
    /// elements of a block): five standard deviations of that. A gated pair multiplies two sums, of which both may be far out.
    fn tolerance(&self) -> Tolerance {
        let k = self.k as f32 + 1.0;
        let plain = self.products.iter().any(|p| block(p.weight) == 1);
        let invariant = self.flags & REFLEX_MATMUL_BATCH_INVARIANT != 0;
        let pays = self.rows <= 64 || invariant || self.products.iter().all(|p| p.packed);
        let int8 = self.x == ACT_I8 || self.flags & REFLEX_MATMUL_INT8 != 0 && pays && !plain;
        let tf32 = !int8 && self.rows > 8 && !invariant;
        let several = self.rows > 1 || invariant;
        let f16 = int8 && several && self.products.iter().any(|p| p.packed) && !self.few();
        let one = if tf32 {
            1.0 / 256.0
        } else if f16 {
            // x and the weights rounded to f16, 2^-12 of each on average; minima take terms away that are larger than y.
            5e-3
        } else {
            4e-6
        } * k.sqrt();
        // A norm whose sum is rounded otherwise may move an element of x by a step, 1/127 of its block's largest: a few may.
        let one = if self.norm.is_some() && int8 { one + 0.15 } else { one };
        let absolute = if self.gate.is_some() { 3.0 * one * k.sqrt() } else { one };
        // Sums of 32 squares of numbers of up to five times their deviation, which is that of the sum of k products.
        let absolute = if self.y_norm.is_some() {
            320.0 * absolute * k.sqrt()
        } else {
            absolute
        };
        let relative = self.products.iter().map(|p| match p.y {
            F16 => 1.0 / 1024.0,
            BF16 => 1.0 / 128.0,
            _ if f16 && self.gate.is_some() => 2e-3,
            _ => 2e-6,
        });
        // A square is off by twice what its root is, and a little more.
        let squared = if self.y_norm.is_some() { 3.0 } else { 1.0 };
        Tolerance::new(absolute, squared * relative.fold(0.0, f32::max))
    }

    fn params(&self, io: &Io) -> MatmulCall {
        let mut random = Random::new((self.rows * 7919 + self.k) as u64);
        let x = random.normals((self.rows * self.k) as usize);
        // Rows of ACT_I8 start at multiples of 16 bytes.
        let gap = if self.x == ACT_I8 { self.k / 32 % 2 } else { 0 } + self.gaps[0];
        let x = io.input(Spec::new(self.x, &[self.rows, self.k]).row_gap(gap), &x);
        let mut p = MatmulCall::new(self.flags, x, &[]);
        p.activation = self.gate.unwrap_or_default();
        if let Some(dtype) = self.norm {
            p.norm = io.input(Spec::new(dtype, &[self.k]), &random.normals(self.k as usize));
            p.norm_epsilon = 1e-5;
        }
        if self.x_squares {
            let squares: Vec<f32> = random.normals((self.rows * self.k / 32) as usize);
            let squares: Vec<f32> = squares.iter().map(|v| 16.0 + 8.0 * v.abs()).collect();
            p.x_squares = io.input(
                Spec::new(F32, &[self.rows, self.k / 32]).row_gap(self.gaps[0]),
                &squares,
            );
            p.norm_epsilon = 1e-3;
        }
        if let Some(dtype) = self.y_norm {
            let (rows, n) = (self.rows, self.products[0].n);
            p.y_norm = io.input(Spec::new(dtype, &[n]), &random.normals(n as usize));
            p.y_normed = io.output(Spec::new(ACT_I8, &[rows, n]).row_gap(n / 32 % 2));
            p.y_squares = io.output(Spec::new(F32, &[rows, n / 32]).row_gap(self.gaps[1]));
        }
        for (i, product) in self.products.iter().enumerate() {
            let shape = [self.rows, product.n];
            let y_spec = |dtype| {
                let odd = i64::from(dtype == ACT_I8 && product.n / 32 % 2 == 1);
                Spec::new(dtype, &shape).row_gap(odd + if dtype == ACT_I8 { 0 } else { self.gaps[1] })
            };
            let mut made = reflex_matmul_product {
                weight: weight_of(product.weight(io, self.k, self.gaps[2])),
                ..Default::default()
            };
            if let Some(dtype) = product.bias {
                made.bias = io.input(Spec::new(dtype, &[product.n]), &random.normals(product.n as usize));
            }
            if self.gate.is_none() || i == 0 {
                let values = random.normals((self.rows * product.n) as usize);
                if product.in_place {
                    made.residual = io.in_out(y_spec(product.y), &values);
                    made.y = made.residual;
                } else {
                    if let Some(dtype) = product.residual {
                        made.residual = io.input(y_spec(dtype), &values);
                    }
                    made.y = io.output(y_spec(product.y));
                }
            }
            p.push(made);
        }
        p.with_workspace(io)
    }

    fn launch(&self, io: &Io) -> Launch {
        let p = self.params(io);
        Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
    }

    fn add(self, suite: &mut Suite, name: String) {
        suite.parity(format!("matmul::int8_{name}"), self.tolerance(), move |io| {
            self.launch(io)
        });
    }
}

const ROWS: [i64; 9] = [1, 2, 8, 9, 16, 17, 33, 64, 70];

pub fn tests(suite: &mut Suite) {
    for weight in BLOCKS {
        let name = dtype_name(weight);
        let one = |n| Product::new(weight, n);
        let step = block(weight);
        for rows in ROWS {
            // Whole panels and a part of one; whole tiles and, where blocks are small, a part of one.
            Case::new(rows, 1024, &[one(37)]).add(suite, format!("{name}_rows_{rows}"));
            let native = Product {
                packed: false,
                ..one(37)
            };
            Case::new(rows, 1024, &[native]).add(suite, format!("{name}_rows_{rows}_native"));
        }
        for rows in [1, 3, 20] {
            for k in [step, 3 * step, 7 * step, 9 * step, 2560] {
                Case::new(rows, k, &[one(33)]).add(suite, format!("{name}_rows_{rows}_k_{k}"));
            }
            let native = Product {
                packed: false,
                ..one(18)
            };
            let case = Case {
                gaps: [64, 3, 1],
                ..Case::new(rows, 9 * step, &[native])
            };
            case.add(suite, format!("{name}_rows_{rows}_native_strides"));
        }
        for (n, rows) in [(1, 1), (15, 1), (16, 2), (17, 1), (64, 1), (129, 1), (15, 40)] {
            Case::new(rows, 512, &[one(n)]).add(suite, format!("{name}_rows_{rows}_n_{n}"));
        }
        // A long k, of fewer panels than a device has SMs and of more.
        for n in [64, 2160] {
            Case::new(1, 28 * 256, &[one(n)]).add(suite, format!("{name}_rows_1_n_{n}_long"));
        }
        // Enough outputs for the kernel that takes several panels a warp, on any device.
        Case::new(1, 768, &[one(34_000)]).add(suite, format!("{name}_wide"));
        let epilogue = Product {
            bias: Some(F16),
            residual: Some(BF16),
            ..one(45)
        };
        let in_place = Product {
            bias: Some(F32),
            in_place: true,
            y: F16,
            ..one(64)
        };
        for rows in [1, 5] {
            let case = Case {
                x: F16,
                flags: REFLEX_MATMUL_INT8,
                gaps: [8, 3, 0],
                ..Case::new(rows, 1024, &[epilogue])
            };
            case.add(suite, format!("{name}_rows_{rows}_epilogue"));
            let case = Case::new(rows, 1024, &[in_place]);
            case.add(suite, format!("{name}_rows_{rows}_in_place"));
            let quantized = Product { y: ACT_I8, ..one(96) };
            Case::new(rows, 1024, &[quantized]).add(suite, format!("{name}_rows_{rows}_to_act_i8"));
        }
        // Packed weights in exact products.
        for rows in [1, 4, 40, 70] {
            let case = Case {
                x: F32,
                ..Case::new(rows, 5 * step.max(64), &[one(83)])
            };
            case.add(suite, format!("{name}_rows_{rows}_exact"));
        }
        gated(suite, weight);
        few(suite, weight);
        shared(suite, weight);
        handed_on(suite, weight);
        batch_invariant(suite, weight);
        native(suite, weight);
        extremes(suite, weight);
    }
    several(suite);
    normed(suite);
    zeros(suite);
}

fn gated(suite: &mut Suite, weight: reflex_dtype) {
    let name = dtype_name(weight);
    for (rows, n, y) in [
        (1, 96, ACT_I8),
        (1, 50, F32),
        (1, 17_024, ACT_I8),
        (6, 96, ACT_I8),
        (40, 50, F16),
    ] {
        let gate = Product {
            y,
            bias: Some(F32),
            ..Product::new(weight, n)
        };
        let up = Product::new(weight, n);
        let case = Case::new(rows, 768, &[gate, up]).gated(REFLEX_ACTIVATION_SILU);
        case.add(suite, format!("{name}_rows_{rows}_n_{n}_gated_{}", dtype_name(y)));
    }
}

/// Whole panels and tiles, for the kernels of up to sixteen rows: splits of k that share tiles evenly or not, rows that are not
/// there, every epilogue, and few blocks or many.
fn few(suite: &mut Suite, weight: reflex_dtype) {
    let name = dtype_name(weight);
    let one = |n| Product::new(weight, n);
    let mut cases = Vec::new();
    for (rows, n, k) in [
        (2, 32, 256),
        (3, 96, 768),
        (7, 4256, 1280),
        (8, 17_024, 512),
        (9, 64, 4352),
        (12, 160, 2560),
        (15, 96, 2304),
        (16, 1056, 1536),
    ] {
        cases.push((format!("{n}"), Case::new(rows, k, &[one(n)])));
    }
    let epilogue = Product {
        bias: Some(F16),
        residual: Some(BF16),
        ..one(96)
    };
    let in_place = Product {
        in_place: true,
        y: F16,
        ..one(64)
    };
    for (rows, gap) in [(5, 1), (11, 3)] {
        let case = Case {
            x: F16,
            flags: REFLEX_MATMUL_INT8 | REFLEX_MATMUL_CONSTANT_WEIGHTS,
            gaps: [8, gap, 0],
            ..Case::new(rows, 1024, &[epilogue, in_place, one(32)])
        };
        cases.push(("three".into(), case));
        let to_act_i8 = Product { y: ACT_I8, ..epilogue };
        cases.push(("to_act_i8".into(), Case::new(rows, 1280, &[to_act_i8])));
    }
    for (rows, n, y) in [
        (2, 48, F32),
        (8, 96, ACT_I8),
        (4, 8512, ACT_I8),
        (13, 80, BF16),
        (16, 160, ACT_I8),
    ] {
        let gate = Product {
            y,
            bias: Some(F16),
            ..one(n)
        };
        let case = Case::new(rows, 768, &[gate, one(n)]).gated(REFLEX_ACTIVATION_SILU);
        cases.push((format!("{n}_gated_{}", dtype_name(y)), case));
    }
    for (shape, case) in cases {
        let name = format!("{name}_rows_{}_few_{shape}", case.rows);
        assert!(case.few());
        let kernel = case.clone();
        suite.test(format!("matmul::int8_{name}_is_chosen"), move |env| {
            let got = kernel.params(&Io::new(env)).selected(env);
            let turing = env.device_info().sm < 80;
            assert!(turing || got.starts_with("reflex_matmul_int8_few"), "{got}");
        });
        case.add(suite, name);
    }
}

/// Enough outputs for the kernels whose warps share x: whole panels and parts of one, tiles that splits of k share evenly or
/// not, and elements behind the last one.
fn shared(suite: &mut Suite, weight: reflex_dtype) {
    let name = dtype_name(weight);
    let tail = if block(weight) == 32 { 32 } else { 0 };
    for (rows, n, k) in [
        (2, 4245, 512),
        (7, 4240, 2560 + tail),
        (8, 4230, 768),
        (9, 2133, 512 + tail),
        (16, 2128, 2304),
        (17, 2150, 768),
        (31, 2145, 1280 + tail),
        (32, 2112, 512),
        (33, 2133, 512 + tail),
        (63, 2117, 768),
        (64, 2128, 1280),
        (70, 2150, 512),
        (200, 2150, 768),
    ] {
        Case::new(rows, k, &[Product::new(weight, n)]).add(suite, format!("{name}_rows_{rows}_shared"));
    }
    for (rows, n, y) in [
        (6, 2144, ACT_I8),
        (12, 1100, F32),
        (40, 1120, ACT_I8),
        (150, 1120, ACT_I8),
    ] {
        let gate = Product {
            y,
            bias: Some(F32),
            ..Product::new(weight, n)
        };
        let case = Case::new(rows, 768, &[gate, Product::new(weight, n)]).gated(REFLEX_ACTIVATION_SILU);
        case.add(suite, format!("{name}_rows_{rows}_shared_gated_{}", dtype_name(y)));
    }
}

/// A norm between two products: y of the first with the norm's weight and sums of squares, and their use in the second.
fn handed_on(suite: &mut Suite, weight: reflex_dtype) {
    let name = dtype_name(weight);
    for (rows, n) in [
        (1, 32),
        (1, 96),
        (1, 2560),
        (1, 34_048),
        (3, 96),
        (12, 96),
        (40, 160),
        (150, 1088),
    ] {
        let first = Product {
            in_place: true,
            ..Product::new(weight, n)
        };
        let flags = REFLEX_MATMUL_CONSTANT_WEIGHTS;
        let leaves = Case {
            y_norm: Some(if n == 96 { BF16 } else { F32 }),
            flags,
            ..Case::new(rows, 768, &[first])
        };
        leaves.add(suite, format!("{name}_rows_{rows}_n_{n}_leaves_norm"));
        let biased = Product {
            bias: Some(F32),
            residual: Some(F32),
            packed: n != 32,
            ..first
        };
        let takes = Case {
            x_squares: true,
            flags,
            gaps: [2, 3, 0],
            ..Case::new(
                rows,
                1024,
                &[
                    Product {
                        in_place: false,
                        ..biased
                    },
                    Product::new(weight, 37),
                ],
            )
        };
        takes.add(suite, format!("{name}_rows_{rows}_n_{n}_takes_norm"));
        // Both at once, of a pair.
        let pair = Case {
            x_squares: true,
            y_norm: Some(F16),
            ..Case::new(
                rows,
                1024,
                &[
                    Product {
                        in_place: false,
                        y: F16,
                        ..biased
                    },
                    Product {
                        residual: None,
                        ..biased
                    },
                ],
            )
        };
        if n <= 96 {
            pair.gated(REFLEX_ACTIVATION_SILU)
                .add(suite, format!("{name}_rows_{rows}_n_{n}_gated_norms"));
        }
    }
}

/// Native rows of every alignment, panels and tiles in part, from the first byte of an allocation to its last.
fn native(suite: &mut Suite, weight: reflex_dtype) {
    let name = dtype_name(weight);
    let step = block(weight);
    let one = |n| Product {
        packed: false,
        bare: true,
        ..Product::new(weight, n)
    };
    for n in [1, 15, 16, 17, 31, 130] {
        for (k, gap) in [(256, 0), (256 + 2 * step, 1), (768, 3), (1280 + step, 2)] {
            let case = Case {
                gaps: [0, 0, gap],
                ..Case::new(1, k, &[one(n)])
            };
            // For blocks of 256 two of these k are equal, and only the gaps differ.
            case.add(suite, format!("{name}_native_n_{n}_k_{k}_gap_{gap}"));
        }
    }
    // For the kernel that takes several panels a warp, with a panel in part; and a gated pair whose rows are apart alike.
    let wide = Case {
        flags: REFLEX_MATMUL_CONSTANT_WEIGHTS,
        gaps: [0, 0, 1],
        ..Case::new(1, 512 + step, &[one(34_003)])
    };
    wide.add(suite, format!("{name}_native_wide"));
    let pair = Case::new(1, 768, &[one(17_024), one(17_024)]).gated(REFLEX_ACTIVATION_SILU);
    pair.add(suite, format!("{name}_native_wide_gated"));
    // Rows behind the last whole panel of packed weights.
    for n in [17, 31] {
        Case::new(1, 1280, &[Product::new(weight, n)]).add(suite, format!("{name}_packed_rest_n_{n}"));
    }
}

/// Scales that are the largest, the smallest, subnormal, zero and the negatives of these.
///
/// Errors are relative to the sum of the products' magnitudes, minima counted apart. Sums of integers are exact; there are
/// at most 64 roundings of f32 of what they are scaled to, 2^-24 each, and 2^-128 where a product of scales is subnormal.
/// Several rows with packed weights: 2^-9, for x and weights are f16, and for each element 2^-24 of the largest product.
/// Where a weight or that sum may leave the range of f32 (from 2^126 on), the order of a sum decides whether it is
/// infinite, NaN or a number: any of these.
fn extremes(suite: &mut Suite, weight: reflex_dtype) {
    // Rows of MXFP4 are in range where no exponent is of the largest two.
    let (n, k) = match weight {
        REFLEX_DTYPE_MXFP4 => (600, 288),
        _ if block(weight) == 256 => (150, 768),
        _ => (150, 352),
    };
    // Of whole panels, too.
    let whole = n / 32 * 32 + 32;
    for (layout, n, k) in [("packed", n, k), ("native", n, k), ("whole", whole, k / 256 * 256)] {
        for rows in [1, 3, 12, 20] {
            let product = Product {
                packed: layout != "native",
                extreme: true,
                ..Product::new(weight, n)
            };
            let case = Case::new(rows, k, &[product]);
            let name = format!("matmul::int8_{}_extreme_rows_{rows}_{layout}", dtype_name(weight));
            suite.test(name, move |_| check_extremes(&case));
        }
    }
}

fn check_extremes(case: &Case) {
    let product = case.products[0];
    let (rows, n, k) = (case.rows as usize, product.n as usize, case.k as usize);
    let bytes = product.bytes(case.k);
    let weights = expand(&Env::cpu(), product.weight, n, k, &bytes);
    let magnitudes = magnitudes(product.weight, n, k, &bytes);
    let x = Random::new((case.rows * 7919 + case.k) as u64).normals(rows * k);
    let spec = Spec::new(ACT_I8, &[case.rows, case.k]);
    let x = spec.decode(&spec.encode(&x));
    let f16 = product.packed && rows > 1 && !case.few();
    for env in [Env::cpu(), Env::cuda().expect("a GPU")] {
        let y = run_once(&env, |io| case.launch(io)).remove(0);
        let mut checked = 0;
        for (row, x) in x.chunks(k).enumerate() {
            for o in 0..n {
                let (mut sum, mut magnitude, mut largest) = (0.0, 0.0f64, 0.0f64);
                for (i, &x) in x.iter().enumerate() {
                    let (x, at) = (f64::from(x), o * k + i);
                    sum += x * f64::from(weights[at]);
                    magnitude += x.abs() * magnitudes[at];
                    largest = largest.max(magnitudes[at]);
                }
                // NaN is not in range either.
                if magnitude.is_nan() || magnitude >= 2f64.powi(126) {
                    continue;
                }
                let lost = x.iter().fold(0.0f32, |a, v| a.max(v.abs()));
                let bound = 2f64.powi(-128)
                    + match f16 {
                        true => 2f64.powi(-9) * magnitude + 2f64.powi(-24) * k as f64 * largest * f64::from(lost),
                        false => 2f64.powi(-18) * magnitude,
                    };
                let got = f64::from(y[row * n + o]);
                assert!(
                    (got - sum).abs() <= bound,
                    "row {row} output {o}: {got}, expected {sum} +- {bound}"
                );
                checked += 1;
            }
        }
        assert!(checked >= rows, "{checked} outputs are in range");
    }
}

/// Row 0 alone and among others: the same bits, of an x of ACT_I8 and of one that the library quantises.
fn batch_invariant(suite: &mut Suite, weight: reflex_dtype) {
    let name = format!("matmul::int8_{}_batch_invariant", dtype_name(weight));
    suite.test(name, move |_| {
        let env = Env::cuda().expect("a GPU");
        let first_row = |rows: i64, packed: bool, x_type: reflex_dtype| -> Vec<u32> {
            let product = Product {
                packed,
                ..Product::new(weight, 33)
            };
            let case = Case {
                flags: REFLEX_MATMUL_BATCH_INVARIANT | REFLEX_MATMUL_INT8,
                ..Case::new(rows, 1280, &[product])
            };
            let outputs = run_once(&env, |io| {
                // The same random numbers, however many rows.
                let seeded = Case {
                    rows: 70,
                    ..case.clone()
                };
                let x = Random::new(7).normals((seeded.rows * seeded.k) as usize);
                let product = seeded.products[0];
                let x = io.input(Spec::new(x_type, &[rows, case.k]), &x[..(rows * case.k) as usize]);
                let y = io.output(Spec::new(F32, &[rows, product.n]));
                let product = product_of(product.weight(io, case.k, 0), y);
                let p = MatmulCall::new(case.flags, x, &[product]).with_workspace(io);
                Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
            });
            outputs[0][..33].iter().map(|v| v.to_bits()).collect()
        };
        for packed in [true, false] {
            for x_type in [ACT_I8, F32] {
                let alone = first_row(1, packed, x_type);
                for rows in [2, 8, 9, 16, 17, 32, 33, 64, 65, 70] {
                    let row = first_row(rows, packed, x_type);
                    assert!(row == alone, "rows {rows}, packed {packed}, x {}", dtype_name(x_type));
                }
            }
        }
    });
}

/// Weights of different formats, heights and layouts in one call.
fn several(suite: &mut Suite) {
    let q = Product {
        bias: Some(F32),
        ..Product::new(REFLEX_DTYPE_Q4_K, 130)
    };
    let k = Product {
        y: F16,
        ..Product::new(REFLEX_DTYPE_Q5_K, 47)
    };
    let v = Product {
        packed: false,
        residual: Some(F32),
        ..Product::new(REFLEX_DTYPE_Q6_K, 64)
    };
    let tall = Product::new(REFLEX_DTYPE_Q8_0, 34_000);
    let flags = [
        ("", 0),
        ("_constant", REFLEX_MATMUL_CONSTANT_WEIGHTS),
        ("_invariant", REFLEX_MATMUL_BATCH_INVARIANT),
    ];
    for rows in [1, 4, 12, 30, 64, 100] {
        for (name, flags) in flags {
            let case = |x, more, products: &[Product]| Case {
                x,
                flags: flags | more,
                ..Case::new(rows, 1024, products)
            };
            case(ACT_I8, 0, &[q, k, v]).add(suite, format!("qkv_rows_{rows}{name}"));
            case(F32, REFLEX_MATMUL_INT8, &[k, v]).add(suite, format!("two_rows_{rows}{name}_quantizes"));
            case(BF16, 0, &[q, k, v]).add(suite, format!("qkv_rows_{rows}{name}_exact"));
            let plain = Product {
                packed: false,
                ..Product::new(F16, 40)
            };
            case(F32, REFLEX_MATMUL_INT8, &[q, plain]).add(suite, format!("plain_rows_{rows}{name}_exact"));
            case(ACT_I8, 0, &[tall, k, v]).add(suite, format!("tall_rows_{rows}{name}"));
        }
        // Of whole panels.
        let whole = |weight, n| Product {
            bias: Some(F32),
            ..Product::new(weight, n)
        };
        let parts = [
            whole(REFLEX_DTYPE_Q4_K, 128),
            whole(REFLEX_DTYPE_Q4_K, 32),
            whole(REFLEX_DTYPE_Q6_K, 64),
        ];
        Case::new(rows, 1024, &parts).add(suite, format!("whole_rows_{rows}"));
        for kind in [
            REFLEX_ACTIVATION_SILU,
            REFLEX_ACTIVATION_GELU_TANH,
            REFLEX_ACTIVATION_GELU_ERF,
        ] {
            let gate = Product {
                residual: Some(F32),
                bias: Some(F32),
                ..Product::new(REFLEX_DTYPE_Q4_K, 64)
            };
            for up in [REFLEX_DTYPE_Q4_0, REFLEX_DTYPE_Q6_K] {
                let up = Product {
                    bias: Some(F16),
                    ..Product::new(up, 64)
                };
                let name = format!("mixed_{}_rows_{rows}_gated_{}", dtype_name(up.weight), kind.0);
                let native = Product { packed: false, ..gate };
                let half = Case::new(
                    rows,
                    512,
                    &[
                        native,
                        Product {
                            weight: gate.weight,
                            ..up
                        },
                    ],
                );
                if up.weight == REFLEX_DTYPE_Q4_0 {
                    half.gated(kind)
                        .add(suite, format!("half_packed_rows_{rows}_gated_{}", kind.0));
                }
                Case::new(rows, 512, &[gate, up]).gated(kind).add(suite, name.clone());
                let case = Case {
                    x: F32,
                    ..Case::new(rows, 512, &[gate, up])
                };
                case.gated(kind).add(suite, format!("{name}_exact"));
            }
        }
    }
}

/// x normalised on the way in: in the kernel, in a launch before it, and in exact products.
fn normed(suite: &mut Suite) {
    for (rows, n) in [(1, 37), (1, 34_000), (1, 90_000), (4, 37), (40, 37), (70, 37)] {
        for (x, norm) in [(F32, F32), (F16, BF16)] {
            let one = |weight| Product {
                bias: Some(F32),
                ..Product::new(weight, n)
            };
            let weights = [one(REFLEX_DTYPE_Q4_K), Product::new(REFLEX_DTYPE_Q6_K, 50)];
            for (name, flags) in [("", REFLEX_MATMUL_INT8 | REFLEX_MATMUL_CONSTANT_WEIGHTS), ("_exact", 0)] {
                if n > 40_000 && flags == 0 {
                    continue;
                }
                let case = Case {
                    x,
                    flags,
                    norm: Some(norm),
                    ..Case::new(rows, 768, &weights)
                };
                case.add(suite, format!("norm_rows_{rows}_n_{n}_{}{name}", dtype_name(x)));
                let pair = [
                    Product {
                        y: ACT_I8,
                        ..one(REFLEX_DTYPE_Q4_0)
                    },
                    one(REFLEX_DTYPE_Q4_0),
                ];
                if n % 32 == 0 && rows == 1 && flags != 0 {
                    let case = Case {
                        x,
                        flags,
                        norm: Some(norm),
                        ..Case::new(rows, 800, &pair)
                    };
                    let case = case.gated(REFLEX_ACTIVATION_SILU);
                    case.add(suite, format!("norm_rows_{rows}_n_{n}_{}_gated", dtype_name(x)));
                }
            }
        }
    }
    // Neither x nor the norm's weight aligned for wide loads.
    let case = Case {
        x: F32,
        flags: REFLEX_MATMUL_INT8,
        norm: Some(F32),
        gaps: [1, 0, 0],
        ..Case::new(2, 1024, &[Product::new(REFLEX_DTYPE_Q5_0, 40)])
    };
    case.add(suite, "norm_unaligned".into());
}

fn zeros(suite: &mut Suite) {
    let product = |n| Product {
        bias: Some(F32),
        ..Product::new(REFLEX_DTYPE_Q4_0, n)
    };
    for (rows, n, k) in [(0, 32, 64), (3, 0, 64), (1, 32, 0), (3, 32, 0)] {
        Case::new(rows, k, &[product(n), product(40)]).add(suite, format!("zero_rows_{rows}_n_{n}_k_{k}"));
    }
}

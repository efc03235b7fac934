//! `cases/matmul.txt`: up to three products of one x, exact or in integers, with all that stands around them.

use super::*;
use crate::support::*;
use half::f16;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const ACT_I8: reflex_dtype = REFLEX_DTYPE_ACT_I8;

/// One weight and its epilogue.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    pub weight: reflex_dtype,
    pub n: i64,
    pub packed: bool,
    pub y: reflex_dtype,
    pub bias: Option<reflex_dtype>,
    pub residual: Option<reflex_dtype>,
    /// The residual is y itself.
    pub in_place: bool,
}

#[derive(Clone, Debug)]
pub struct Case {
    pub rows: i64,
    pub k: i64,
    pub x: reflex_dtype,
    pub flags: u32,
    pub products: Vec<Product>,
    /// Number of the first product, which decides its contents: for one of several alone.
    pub first: usize,
    pub gate: Option<reflex_activation_kind>,
    pub norm: Option<reflex_dtype>,
    /// Of the norm that a later product reads the first y through.
    pub y_norm: Option<reflex_dtype>,
    /// x is what such a product has left.
    pub x_squares: bool,
    /// Elements between rows of x and y, blocks between rows of native weights.
    pub gaps: [i64; 3],
    /// Elements before x, y and native weights.
    pub offsets: [usize; 3],
    /// Nothing around native weights, and so for compute-sanitizer to see what is read there.
    pub bare: bool,
    pub values: Values,
    pub kernel: String,
    pub since: u32,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Values {
    Normal,
    /// Normals whose size differs from block to block, as that of activations does.
    Blocks,
    /// A NaN in the second row of x.
    Nan,
    /// Scales of weights that are the largest, the smallest, subnormal, zero and the negatives of these.
    Extreme,
}

impl Product {
    pub fn new(weight: reflex_dtype, n: i64) -> Product {
        Product {
            weight,
            n,
            packed: false,
            y: F32,
            bias: None,
            residual: None,
            in_place: false,
        }
    }

    pub fn packed(self) -> Product {
        Product { packed: true, ..self }
    }
}

/// `q5_k:47:y.f16:bias.f32`: a further product. `same` is the format of the first.
fn other(text: &str, first: &Product) -> Option<Product> {
    let mut words = text.split(':');
    let weight = match words.next()? {
        "same" => first.weight,
        name => dtype_named(name)?,
    };
    let mut product = Product {
        packed: first.packed,
        ..Product::new(weight, words.next()?.parse().ok()?)
    };
    for word in words {
        let (what, dtype) = word.split_once('.').unwrap_or((word, ""));
        match what {
            "packed" => product.packed = true,
            "native" => product.packed = false,
            "in_place" => product.in_place = true,
            "y" => product.y = dtype_named(dtype)?,
            "bias" => product.bias = Some(dtype_named(dtype)?),
            "residual" => product.residual = Some(dtype_named(dtype)?),
            _ => return None,
        }
    }
    Some(product)
}

impl Case {
    pub fn read(d: &Descriptor) -> Case {
        let weight = d.dtype("weight");
        let first = Product {
            weight,
            n: d.number("n"),
            packed: d.flag("packed"),
            y: d.dtype("y"),
            bias: d.optional_dtype("bias"),
            residual: d.optional_dtype("residual"),
            in_place: d.flag("in_place"),
        };
        let mut products = vec![first];
        for text in d.text("others").split('/').filter(|text| *text != "none") {
            let product = other(text, &first);
            products.push(product.unwrap_or_else(|| panic!("{d}: others={text}: expected a format and a number")));
        }
        let gate = match d.text("gate") {
            "none" => None,
            _ => Some(d.one_of("gate", ACTIVATIONS)),
        };
        let flag = |given: bool, flag: u32| if given { flag } else { 0 };
        Case {
            rows: d.number("rows"),
            k: d.elements("k", weight),
            x: d.dtype("x"),
            flags: flag(d.flag("int8"), REFLEX_MATMUL_INT8)
                | flag(d.flag("constant"), REFLEX_MATMUL_CONSTANT_WEIGHTS)
                | flag(d.flag("invariant"), REFLEX_MATMUL_BATCH_INVARIANT)
                | flag(gate.is_some(), REFLEX_MATMUL_GATED),
            products,
            first: 0,
            gate,
            norm: d.optional_dtype("norm"),
            y_norm: d.optional_dtype("y_norm"),
            x_squares: d.flag("squares"),
            gaps: [d.number("x_gap"), d.number("y_gap"), d.number("weight_gap")],
            offsets: [d.number("x_offset"), d.number("y_offset"), d.number("weight_offset")],
            bare: d.flag("bare"),
            values: d.one_of(
                "values",
                &[
                    ("normal", Values::Normal),
                    ("blocks", Values::Blocks),
                    ("nan", Values::Nan),
                    ("extreme", Values::Extreme),
                ],
            ),
            kernel: d.text("kernel").to_string(),
            since: d.number("since"),
        }
    }

    /// Products of an F32 x, and nothing else.
    pub fn new(rows: i64, k: i64, products: &[Product]) -> Case {
        Case {
            rows,
            k,
            x: F32,
            flags: 0,
            products: products.to_vec(),
            first: 0,
            gate: None,
            norm: None,
            y_norm: None,
            x_squares: false,
            gaps: [0; 3],
            offsets: [0; 3],
            bare: false,
            values: Values::Blocks,
            kernel: "*".into(),
            since: 75,
        }
    }

    /// The first rows are the same, however many follow.
    pub fn x_values(&self) -> Vec<f32> {
        let mut x = Random::new(self.k as u64 + 11).normals((self.rows * self.k) as usize);
        match self.values {
            Values::Nan => x[self.k as usize + 300] = f32::NAN,
            Values::Blocks => {
                for (i, block) in x.chunks_mut(32).enumerate() {
                    block.iter_mut().for_each(|v| *v *= 2f32.powi((i % 5) as i32 - 2));
                }
            }
            Values::Normal | Values::Extreme => {}
        }
        x
    }

    /// Native rows of a product's weight, without gaps.
    pub fn weight_bytes(&self, i: usize) -> Vec<u8> {
        let product = &self.products[i];
        let seed = product.n * 31 + self.k + (self.first + i) as i64;
        let mut random = Random::new(seed as u64 + u64::from(product.weight.0));
        let count = (product.n * self.k) as usize;
        match self.values {
            Values::Extreme => extreme_weights(&mut random, product.weight, count),
            _ => random_weights(&mut random, product.weight, count),
        }
    }

    pub fn bias_values(&self, i: usize) -> Vec<f32> {
        Random::new(5 + (self.first + i) as u64).normals(self.products[i].n as usize)
    }

    pub fn residual_values(&self, i: usize) -> Vec<f32> {
        Random::new(77 + (self.first + i) as u64).normals((self.rows * self.products[i].n) as usize)
    }

    pub fn weight(&self, io: &Io, i: usize) -> reflex_tensor {
        let product = &self.products[i];
        let shape = [product.n, self.k];
        if !product.packed {
            let spec = Spec::new(product.weight, &shape);
            let spec = spec.row_gap(self.gaps[2]).offset(self.offsets[2]);
            let spec = if self.bare { spec.bare() } else { spec };
            return io.input_bytes_of(spec, || self.weight_bytes(i));
        }
        io.input_bytes_of(Spec::new(packed(product.weight), &shape), || {
            packed_bytes(product.weight, product.n, self.k, &self.weight_bytes(i))
        })
    }

    fn x_spec(&self) -> Spec {
        // Rows of ACT_I8 start at multiples of 16 bytes.
        let odd = if self.x == ACT_I8 { self.k / 32 % 2 } else { 0 };
        Spec::new(self.x, &[self.rows, self.k])
            .row_gap(odd + self.gaps[0])
            .offset(self.offsets[0])
    }

    fn y_spec(&self, dtype: reflex_dtype, n: i64) -> Spec {
        let gap = if dtype == ACT_I8 { n / 32 % 2 } else { self.gaps[1] };
        Spec::new(dtype, &[self.rows, n]).row_gap(gap).offset(self.offsets[1])
    }

    /// The operands, with a workspace.
    pub fn params(&self, io: &Io) -> MatmulCall {
        self.operands(io).with_workspace(io)
    }

    pub fn operands(&self, io: &Io) -> MatmulCall {
        let x = io.input_of(self.x_spec(), || self.x_values());
        let mut p = MatmulCall::new(self.flags, x, &[]);
        p.activation = self.gate.unwrap_or_default();
        if let Some(dtype) = self.norm {
            let weights = Random::new(3).normals(self.k as usize);
            p.norm = io.input(Spec::new(dtype, &[self.k]), &weights);
            p.norm_epsilon = 1e-5;
        }
        if self.x_squares {
            let squares: Vec<f32> = Random::new(4).normals((self.rows * self.k / 32) as usize);
            let squares: Vec<f32> = squares.iter().map(|v| 16.0 + 8.0 * v.abs()).collect();
            let spec = Spec::new(F32, &[self.rows, self.k / 32]).row_gap(self.gaps[0]);
            p.x_squares = io.input(spec, &squares);
            p.norm_epsilon = 1e-3;
        }
        if let Some(dtype) = self.y_norm {
            let (rows, n) = (self.rows, self.products[0].n);
            p.y_norm = io.input(Spec::new(dtype, &[n]), &Random::new(6).normals(n as usize));
            p.y_normed = io.output(Spec::new(ACT_I8, &[rows, n]).row_gap(n / 32 % 2));
            p.y_squares = io.output(Spec::new(F32, &[rows, n / 32]).row_gap(self.gaps[1]));
        }
        for (i, product) in self.products.iter().enumerate() {
            let mut made = reflex_matmul_product {
                weight: weight_of(self.weight(io, i)),
                ..Default::default()
            };
            if let Some(dtype) = product.bias {
                made.bias = io.input_of(Spec::new(dtype, &[product.n]), || self.bias_values(i));
            }
            if i < self.outputs().len() {
                let spec = |dtype| self.y_spec(dtype, product.n);
                if product.in_place {
                    made.residual = io.in_out_of(spec(product.y), || self.residual_values(i));
                    made.y = made.residual;
                } else {
                    if let Some(dtype) = product.residual {
                        made.residual = io.input_of(spec(dtype), || self.residual_values(i));
                    }
                    made.y = io.output(spec(product.y));
                }
            }
            p.push(made);
        }
        p
    }

    /// Every product has a y, but a gated pair has one.
    pub fn outputs(&self) -> &[Product] {
        &self.products[..if self.gate.is_some() { 1 } else { self.products.len() }]
    }

    /// Results against sums in f64, on one backend.
    ///
    /// Errors are relative to the sum of the products' magnitudes, minima counted apart. Sums of integers are exact; there are
    /// at most 64 roundings of f32 of what they are scaled to, 2^-24 each, and 2^-128 where a product of scales is subnormal.
    /// Kernels that multiply as f16: 2^-9, for x and weights are f16, and for each element 2^-24 of the largest product.
    /// Where a weight or that sum may leave the range of f32 (from 2^126 on), the order of a sum decides whether it is
    /// infinite, NaN or a number: any of these.
    fn check_extremes(&self, env: &Env, contents: &Contents) {
        // First: a candidate that does not take the problem says so here.
        let kernel = self.params(&Io::without_memory(env)).selected(env);
        // What f16 keeps of a number bounds the kernel.
        let as_f16 = tolerance_of(&self.bounded_by(&kernel), Size::new(F32)).absolute > f16::EPSILON.to_f32();
        let y = run_once_sharing(env, contents, |io| self.call(io).launch).remove(0);
        let product = self.products[0];
        let (rows, n, k) = (self.rows as usize, product.n as usize, self.k as usize);
        let bytes = self.weight_bytes(0);
        let weights = expand(shared_cpu(), product.weight, n, k, &bytes);
        let magnitudes = magnitudes(product.weight, n, k, &bytes);
        let spec = Spec::new(ACT_I8, &[self.rows, self.k]);
        let x = spec.decode(&spec.encode(&self.x_values()));
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
                    + match as_f16 {
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

impl Problem for Case {
    fn call(&self, io: &Io) -> Call {
        Call::new(self.params(io), MatmulCall::launch, MatmulCall::selected_kernel)
    }

    /// Sums of k products of numbers near 1, about sqrt(k).
    fn size(&self, kernel: &str) -> Size {
        let k = self.k as f32 + 1.0;
        let gated = self.gate.is_some();
        let worst = |dtype| self.products.iter().any(|product| product.y == dtype);
        let rounded_to = [REFLEX_DTYPE_BF16, REFLEX_DTYPE_F16]
            .into_iter()
            .find(|&dtype| worst(dtype));
        let mut size = Size::new(rounded_to.unwrap_or(F32));
        size.sums = k.sqrt();
        if self.norm.is_some() && kernel.starts_with("reflex_matmul_int8") {
            // A norm whose sum is rounded otherwise may move an element of x by a step, 1/127 of its block's largest: a few may.
            size.beside = 0.15;
        }
        // A gated pair multiplies two sums, of which both may be far out.
        if gated {
            size.scale *= 3.0 * k.sqrt();
        }
        if self.y_norm.is_some() {
            // Sums of 32 squares of numbers of up to five times their deviation, which is that of the sum of k products; a square is off
            // by twice what its root is, and a little more.
            size.scale *= 320.0 * k.sqrt();
            size.relative = 3.0;
        }
        size
    }

    /// Packed weights are multiplied as f16 by some kernels, which multiply native ones as they are.
    fn bounded_by(&self, kernel: &str) -> String {
        let packed = self.products.iter().any(|product| product.packed);
        let layout = if packed { "packed" } else { "native" };
        let gated = if self.gate.is_some() { "+gated" } else { "" };
        format!("{kernel}@{layout}{gated}")
    }

    fn expects_kernel(&self) -> Option<(&str, u32)> {
        Some((&self.kernel, self.since))
    }

    /// Extreme scales are compared with f64, not with the CPU's f32: either may overflow where the other does not.
    fn compared_with_cpu(&self) -> bool {
        self.values != Values::Extreme
    }

    fn check(&self, env: &Env, contents: &Contents) {
        if self.values == Values::Extreme {
            self.check_extremes(env, contents);
        }
    }
}

/// What a call of it may be like.
pub fn random_calls(calls: &mut Calls) {
    calls.op(
        "matmul",
        (MatmulCall::launch, MatmulCall::supported),
        scratch!(MatmulCall::workspace_size, false),
        random_call,
    );
}

/// Every mode: exact and in integers, gated, with the norm in front and the one behind, and nothing to sum.
fn random_call(m: &mut Maker, p: &mut MatmulCall) {
    *p = MatmulCall::default();
    let rows = m.pick(&[0, 1, 1, 2, 3, 8, 9, 17, 65]);
    let k = m.pick(&[0, 0, 32, 64, 256, 256, 512, 544]);
    let n = m.pick(&[0, 1, 16, 32, 32, 40, 64]);
    for flag in [REFLEX_MATMUL_BATCH_INVARIANT, REFLEX_MATMUL_CONSTANT_WEIGHTS] {
        p.flags |= if m.one_in(3) { flag } else { 0 };
    }
    p.flags |= if m.one_in(2) { REFLEX_MATMUL_INT8 } else { 0 };
    let dtype = m.float_or_act_i8();
    p.x = m.tensor(dtype, &[rows, k]);
    let quantised = dtype == REFLEX_DTYPE_ACT_I8;
    match quantised {
        true if m.one_in(3) => p.x_squares = m.tensor(REFLEX_DTYPE_F32, &[rows, k / 32]),
        false if m.one_in(3) => p.norm = m.floats(&[k]),
        _ => {}
    }
    let integers = quantised || p.flags & REFLEX_MATMUL_INT8 != 0;
    let gated = m.one_in(4);
    let count = if gated { 2 } else { 1 + m.random.below(3) as usize };
    for i in 0..count {
        let n = if i > 0 && !gated { m.pick(&[0, 16, 32, 48]) } else { n };
        let mut product = reflex_matmul_product {
            weight: weight_of(m.weight(n, k)),
            bias: m.optional(|m| m.floats(&[n])),
            ..Default::default()
        };
        if i == 0 || !gated {
            let dtype = if integers && m.one_in(3) {
                REFLEX_DTYPE_ACT_I8
            } else {
                m.float()
            };
            product.y = m.tensor(dtype, &[rows, n]);
            let y = product.y;
            product.residual = m.optional(|m| m.in_place(y, REFLEX_DTYPE_F32));
        }
        p.push(product);
    }
    if m.mishap(40) {
        p.product_count = m.pick(&[0, 1, 2, 3, 4, u32::MAX]);
    }
    if m.mishap(40) {
        let place = m.random.below(3) as usize;
        p.products[place].weight.scales = p.x;
    }
    if gated {
        p.flags |= REFLEX_MATMUL_GATED;
        p.activation = reflex_activation_kind(m.random.below(3) as u32);
    }
    if integers && (gated || count == 1) && m.one_in(2) {
        p.y_norm = m.floats(&[n]);
        p.y_normed = m.tensor(REFLEX_DTYPE_ACT_I8, &[rows, n]);
        p.y_squares = m.tensor(REFLEX_DTYPE_F32, &[rows, n / 32]);
    }
}

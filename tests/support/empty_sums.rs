//! Matmuls with k = 0 in every mode: what is left is bias, activation, residual and the types of the outputs.

use super::act_i8::{act_i8, assert_quantized};
use super::buffer::*;
use super::env::{Env, ok};
use super::matmul::*;
use super::packed::packed;
use super::parity::{Io, Tolerance, run_once};
use super::random::Random;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const F16: reflex_dtype = REFLEX_DTYPE_F16;
const ACT_I8: reflex_dtype = REFLEX_DTYPE_ACT_I8;

#[derive(Clone, Copy, Debug)]
struct Mode {
    x: reflex_dtype,
    int8: bool,
    /// The norm of x, or the squares of an x that is normed already.
    norm: bool,
    weight: reflex_dtype,
    gated: bool,
    /// Products of a call that is not gated.
    products: usize,
    bias: bool,
    residual: bool,
    y: reflex_dtype,
    /// With y_norm, y_normed and y_squares.
    normed: bool,
    rows: i64,
}

impl Mode {
    /// What there is: the rest is refused.
    fn exists(&self) -> bool {
        let quantised = self.x == ACT_I8;
        let blocks = reflex_dtype_block_elements(self.weight) > 1;
        let integers = blocks && (quantised || self.int8);
        (blocks || !quantised)
            && (integers || self.y != ACT_I8 && !self.normed)
            && (self.products == 1 || !self.gated && !self.normed)
    }

    fn all() -> Vec<Mode> {
        let mut modes = Vec::new();
        const WEIGHTS: [reflex_dtype; 4] = [
            F16,
            REFLEX_DTYPE_Q4_K,
            packed(REFLEX_DTYPE_Q4_K),
            packed(REFLEX_DTYPE_Q8_0),
        ];
        for bits in 0..1u32 << 6 {
            let bit = |i: u32| bits >> i & 1 == 1;
            for x in [F32, ACT_I8] {
                for weight in WEIGHTS {
                    for y in [F32, ACT_I8] {
                        for (rows, products) in [(1, 1), (3, 1), (3, 3), (20, 1)] {
                            modes.push(Mode {
                                x,
                                int8: bit(0),
                                norm: bit(1),
                                weight,
                                gated: bit(2),
                                products,
                                bias: bit(3),
                                residual: bit(4),
                                y,
                                normed: bit(5),
                                rows,
                            });
                        }
                    }
                }
            }
        }
        modes.retain(Mode::exists);
        modes
    }

    fn values(&self, seed: u64, count: i64) -> Vec<f32> {
        Random::new(seed + self.rows as u64).normals(count as usize)
    }

    /// Calls it, and holds every output against the formula.
    fn check(&self, env: &Env) {
        const N: i64 = 64;
        let (rows, parts) = (self.rows, if self.gated { 2 } else { self.products });
        let biases: Vec<Vec<f32>> = (0..parts as u64).map(|i| self.values(100 + i, N)).collect();
        let residuals: Vec<Vec<f32>> = (0..parts as u64).map(|i| self.values(200 + i, rows * N)).collect();
        let y_norm = self.values(300, N);
        let outputs = run_once(env, |io: &Io| {
            let spec = |dtype, n| match dtype {
                ACT_I8 => act_i8(&[rows, n]),
                dtype => Spec::new(dtype, &[rows, n]),
            };
            let flags =
                if self.int8 { REFLEX_MATMUL_INT8 } else { 0 } | if self.gated { REFLEX_MATMUL_GATED } else { 0 };
            let mut p = MatmulCall::new(flags, io.input_bytes(spec(self.x, 0), &[]), &[]);
            if self.norm && self.x == ACT_I8 {
                p.x_squares = io.input_bytes(Spec::new(F32, &[rows, 0]), &[]);
            } else if self.norm {
                p.norm = io.input_bytes(Spec::new(F32, &[0]), &[]);
            }
            for i in 0..parts {
                let mut product = reflex_matmul_product {
                    weight: weight_of(io.input_bytes(Spec::new(self.weight, &[N, 0]), &[])),
                    ..Default::default()
                };
                if self.bias {
                    product.bias = io.input(Spec::new(F32, &[N]), &biases[i]);
                }
                if i == 0 || !self.gated {
                    if self.residual {
                        product.residual = io.input(Spec::new(F32, &[rows, N]), &residuals[i]);
                    }
                    product.y = io.output(spec(self.y, N));
                }
                p.push(product);
            }
            if self.normed {
                p.y_norm = io.input(Spec::new(F32, &[N]), &y_norm);
                p.y_normed = io.output(act_i8(&[rows, N]));
                p.y_squares = io.output(Spec::new(F32, &[rows, N / 32]));
            }
            ok(MatmulCall::supported(io.env.context, &p));
            p.selected(io.env);
            let p = p.with_workspace(io);
            Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
        });
        let wanted = |i: usize| -> Vec<f64> {
            let bias = |of: usize, o: usize| if self.bias { f64::from(biases[of][o]) } else { 0.0 };
            let element = |at: usize| {
                let o = at % N as usize;
                let sum = match self.gated {
                    // SiLU.
                    true => bias(0, o) / (1.0 + (-bias(0, o)).exp()) * bias(1, o),
                    false => bias(i, o),
                };
                sum + if self.residual {
                    f64::from(residuals[i][at])
                } else {
                    0.0
                }
            };
            (0..(rows * N) as usize).map(element).collect()
        };
        let products = if self.gated { 1 } else { parts };
        assert_eq!(outputs.len(), products + if self.normed { 2 } else { 0 }, "{self:?}");
        for (i, got) in outputs[..products].iter().enumerate() {
            self.compare(self.y, got, &wanted(i));
        }
        if self.normed {
            let y = wanted(0);
            let normed: Vec<f64> = y
                .iter()
                .enumerate()
                .map(|(i, v)| v * f64::from(y_norm[i % N as usize]))
                .collect();
            let squares: Vec<f64> = y.chunks(32).map(|block| block.iter().map(|v| v * v).sum()).collect();
            self.compare(ACT_I8, &outputs[products], &normed);
            self.compare(F32, &outputs[products + 1], &squares);
        }
    }

    fn compare(&self, dtype: reflex_dtype, got: &[f32], want: &[f64]) {
        let tolerance = Tolerance::new(1e-6, 4e-6);
        if dtype == ACT_I8 {
            return assert_quantized(got, want, tolerance);
        }
        assert_eq!(got.len(), want.len(), "{self:?}");
        for (got, want) in got.iter().zip(want) {
            let error = (f64::from(*got) - want).abs();
            assert!(error <= 1e-6 + 4e-6 * want.abs(), "{self:?}: {got}, expected {want}");
        }
    }
}

/// Every mode gives what is left of it.
pub fn check_empty_sums(env: &Env) {
    let modes = Mode::all();
    assert!(modes.len() > 500, "{}", modes.len());
    modes.iter().for_each(|mode| mode.check(env));
}

//! Matmuls of up to three weights in every mode, against the formula in f64.

pub use crate::support::{MatmulCase as Case, MatmulProduct as Product};

use crate::activation::formula;
use crate::support::*;
use reflex_infer::*;

pub const F32: reflex_dtype = REFLEX_DTYPE_F32;
pub const F16: reflex_dtype = REFLEX_DTYPE_F16;
pub const BF16: reflex_dtype = REFLEX_DTYPE_BF16;
pub const ACT_I8: reflex_dtype = REFLEX_DTYPE_ACT_I8;

/// What an element must be, and how far from it.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    value: f64,
    bound: f64,
}

impl Case {
    pub fn int8(self) -> Case {
        Case {
            flags: self.flags | REFLEX_MATMUL_INT8,
            ..self
        }
    }

    pub fn x(self, x: reflex_dtype) -> Case {
        Case { x, ..self }
    }

    /// The same with one of its products, exact or in integers as the whole is.
    pub fn only(&self, i: usize) -> Case {
        let flags = if self.is_int8() {
            self.flags
        } else {
            self.flags & !REFLEX_MATMUL_INT8
        };
        Case {
            flags,
            products: vec![self.products[i]],
            first: i,
            ..self.clone()
        }
    }

    pub fn gated(self, kind: reflex_activation_kind) -> Case {
        Case {
            flags: self.flags | REFLEX_MATMUL_GATED,
            gate: Some(kind),
            ..self
        }
    }

    /// The bytes of every y.
    pub fn run(&self, env: &Env) -> Vec<Vec<u8>> {
        run_once_bytes(env, |io| {
            let p = self.params(io);
            Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
        })
    }

    /// The documented choice of the mode.
    pub fn is_int8(&self) -> bool {
        let blocks = self.products.iter().all(|p| reflex_dtype_block_elements(p.weight) > 1);
        let invariant = self.flags & REFLEX_MATMUL_BATCH_INVARIANT != 0;
        let pays = self.rows <= 64 || invariant || self.products.iter().all(|p| p.packed);
        self.x == ACT_I8 || self.flags & REFLEX_MATMUL_INT8 != 0 && blocks && pays
    }

    /// x as the mode reads it.
    fn x_read(&self) -> Vec<f64> {
        let k = self.k as usize;
        let x = match self.x {
            ACT_I8 => self.x_values(),
            dtype => held(dtype, &self.x_values()),
        };
        if !self.is_int8() {
            return x.into_iter().map(f64::from).collect();
        }
        let value = |block: Q8Block| block.q.map(|q| f64::from(block.d) * f64::from(q));
        act_i8_blocks(&encode_act_i8(&x, k), k)
            .into_iter()
            .flat_map(value)
            .collect()
    }

    /// One product before its residual.
    fn product(&self, env: &Env, i: usize) -> Vec<Wanted> {
        let (n, k) = (self.products[i].n as usize, self.k as usize);
        let weight = expand(env, self.products[i].weight, n, k, &self.weight_bytes(i));
        let bias = self.products[i].bias.map(|dtype| held(dtype, &self.bias_values(i)));
        let x = self.x_read();
        let element = |at: usize| {
            let (row, o) = (at / n, at % n);
            let factors = x[row * k..][..k].iter().zip(&weight[o * k..][..k]);
            let (sum, magnitude) = factors.fold((0.0, 0.0), |(sum, magnitude), (&x, &w)| {
                let product = x * f64::from(w);
                (sum + product, magnitude + product.abs())
            });
            let value = sum + bias.as_ref().map_or(0.0, |bias| f64::from(bias[o]));
            Wanted {
                value,
                // The documented bound, and the roundings to f32 of d * q and of the result.
                bound: 38.0 * 2f64.powi(-24) * magnitude + 2f64.powi(-24) * value.abs(),
            }
        };
        (0..self.rows as usize * n).map(element).collect()
    }

    fn wanted(&self, env: &Env, output: usize) -> Vec<Wanted> {
        let mut y = self.product(env, output);
        if let Some(kind) = self.gate {
            for (gate, up) in y.iter_mut().zip(self.product(env, 1)) {
                let activated = formula(kind, gate.value);
                // No activation is steeper than 1.13.
                let error = 1.13 * gate.bound;
                *gate = Wanted {
                    value: activated * up.value,
                    bound: error * (up.value.abs() + up.bound)
                        + activated.abs() * up.bound
                        + 2f64.powi(-22) * (activated * up.value).abs(),
                };
            }
        }
        let product = &self.products[output];
        let residual = if product.in_place {
            Some(product.y)
        } else {
            product.residual
        };
        if let Some(dtype) = residual {
            for (y, residual) in y.iter_mut().zip(held(dtype, &self.residual_values(output))) {
                y.value += f64::from(residual);
                y.bound += 2f64.powi(-24) * y.value.abs();
            }
        }
        y
    }

    /// Runs it and holds every y against the formula; returns the bytes.
    pub fn check(&self, env: &Env) -> Vec<Vec<u8>> {
        let outputs = self.run(env);
        assert_eq!(outputs.len(), self.outputs().len());
        for (i, (bytes, product)) in outputs.iter().zip(self.outputs()).enumerate() {
            let wanted = self.wanted(env, i);
            if product.y == ACT_I8 {
                check_quantized(bytes, &wanted, product.n as usize);
                continue;
            }
            // Half a step of the type, subnormals of F16 included.
            let (relative, smallest) = match product.y {
                F16 => (2f64.powi(-11), 2f64.powi(-25)),
                BF16 => (2f64.powi(-8), 0.0),
                _ => (0.0, 0.0),
            };
            let got = decode(product.y, bytes);
            assert_eq!(got.len(), wanted.len());
            for (at, (got, want)) in got.into_iter().zip(wanted).enumerate() {
                let bound = want.bound + relative * (want.value.abs() + want.bound) + smallest;
                assert!(
                    (f64::from(got) - want.value).abs() <= bound,
                    "{self:?}: y[{i}], element {at} is {got}, expected {} within {bound:e}",
                    want.value
                );
            }
        }
        outputs
    }
}

fn check_quantized(bytes: &[u8], wanted: &[Wanted], n: usize) {
    for block in act_i8_blocks(bytes, n) {
        let sum = |q: &[i8]| q.iter().map(|&q| i16::from(q)).sum::<i16>();
        assert_eq!(block.sums, [sum(&block.q[..16]), sum(&block.q[16..])]);
    }
    let values: Vec<f64> = wanted.iter().map(|w| w.value).collect();
    let got = decode_act_i8(bytes, n);
    // Each block by the bounds of its own elements: twice, as its largest element sets the step.
    for ((got, want), wanted) in got.chunks(32).zip(values.chunks(32)).zip(wanted.chunks(32)) {
        let bound = wanted.iter().fold(0.0, |a: f64, w| a.max(w.bound));
        assert_quantized(got, want, Tolerance::new(2.0 * bound as f32, 1e-6));
    }
}

//! Rows of x times the transpose of weight matrices.

use super::act_i8;
use super::activation::activated;
use super::element::{load, load_row, load_weights, store, store_row};
use super::norm;
use crate::abi::{Dtype, View};
use crate::format::packed::native_row;
use crate::ops::Reference;
use crate::ops::matmul::{MatmulPart, MatmulPlan, SQUARES};
use crate::runtime::CpuBackend;

/// Outputs that share one reading of a row of x.
const OUTPUTS: usize = 4;
/// Stretch of k whose products are summed in f32, in eight lanes of at most 32 each; stretches are summed in f64. The
/// error of a result stays below 36 * 2^-24 of the sum of its products' magnitudes, whatever k is.
const STRETCH: usize = 256;
const LANES: usize = 8;

type Weights = [[f32; STRETCH]; OUTPUTS];

/// One product, before bias and residual, row by row: where the rows of y cannot take it as it comes.
struct Product {
    n: usize,
    sums: Vec<f32>,
}

/// A place in a product that one thread alone writes.
#[derive(Clone, Copy)]
struct Sums(*mut f32);
// SAFETY: the threads write different elements.
unsafe impl Send for Sums {}
unsafe impl Sync for Sums {}

impl Product {
    fn of(x: &[f32], rows: usize, k: usize, part: &MatmulPart, cpu: &CpuBackend) -> Product {
        let n = part.n() as usize;
        let mut sums = vec![0.0; rows * n];
        let out = Sums(sums.as_mut_ptr());
        products(x, rows, k, &part.weight, cpu, &|row, o, sum| {
            let Sums(out) = { out };
            // SAFETY: an element of `sums`, which outlives the call; bias was checked by the plan.
            unsafe { *out.add(row * n + o) = (sum + bias(part, o)) as f32 };
        });
        Product { n, sums }
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.sums[row * self.n..][..self.n]
    }
}

impl Reference for MatmulPlan {
    fn run(&self, cpu: &CpuBackend) {
        let (rows, k) = (self.rows as usize, self.k as usize);
        let x = activations(self, rows, k);
        if let Some(kind) = self.gate {
            let mut pair = self.parts().map(|part| Product::of(&x, rows, k, part, cpu));
            let (Some(gate), Some(up)) = (pair.next(), pair.next()) else {
                return;
            };
            for row in 0..rows {
                let values = gate.row(row).iter().zip(up.row(row));
                finish_row(
                    self,
                    self.first(),
                    row,
                    values.map(|(&g, &u)| activated(kind, g) * u).collect(),
                );
            }
            return;
        }
        for part in self.parts() {
            if part.y.dtype == Dtype::ACT_I8 || self.normed.is_some() {
                let product = Product::of(&x, rows, k, part, cpu);
                (0..rows).for_each(|row| finish_row(self, part, row, product.row(row).to_vec()));
            } else {
                // SAFETY: the plan checked shapes and strides; the memory is the caller's contract.
                products(&x, rows, k, &part.weight, cpu, &|row, o, sum| unsafe {
                    let sum = sum + bias(part, o) + residual(part, row, o);
                    store(part.y.row(&[row as i64]), part.y.dtype, o, sum as f32);
                });
            }
        }
    }
}

/// x in f32; of an integer product, as 8 bits hold it.
fn activations(p: &MatmulPlan, rows: usize, k: usize) -> Vec<f32> {
    let mut x = vec![0.0f32; rows * k];
    for (row, out) in x.chunks_exact_mut(k.max(1)).enumerate() {
        // SAFETY: the plan checked shapes and strides; the memory is the caller's contract.
        unsafe { load_row(p.x.row(&[row as i64]), p.x.dtype, out) };
        if let Some(norm) = &p.norm {
            // SAFETY: as above.
            unsafe { norm::normalise(out, Some(norm), p.norm_epsilon) };
        }
        if p.int8 && p.x.dtype != Dtype::ACT_I8 {
            act_i8::round(out);
        }
        if let Some(squares) = &p.x_squares {
            let mut sums = vec![0.0; squares.dim(1) as usize];
            // SAFETY: as above.
            unsafe { load_row(squares.row(&[row as i64]), squares.dtype, &mut sums) };
            let scale = norm::scale(sums.iter().map(|&v| f64::from(v)).sum(), k, p.norm_epsilon);
            out.iter_mut().for_each(|v| *v *= scale);
        }
    }
    x
}

fn bias(part: &MatmulPart, o: usize) -> f64 {
    // SAFETY: the plan checked shapes and strides; the memory is the caller's contract.
    part.bias
        .map_or(0.0, |bias| unsafe { f64::from(load(bias.data, bias.dtype, o)) })
}

fn residual(part: &MatmulPart, row: usize, o: usize) -> f64 {
    let at = |residual: View| (residual.row(&[row as i64]), residual.dtype);
    // SAFETY: as above.
    part.residual
        .map(at)
        .map_or(0.0, |(row, dtype)| unsafe { f64::from(load(row, dtype, o)) })
}

fn finish_row(p: &MatmulPlan, part: &MatmulPart, row: usize, mut values: Vec<f32>) {
    for (o, value) in values.iter_mut().enumerate() {
        *value = (f64::from(*value) + residual(part, row, o)) as f32;
    }
    // SAFETY: as above.
    unsafe { store_row(part.y.row(&[row as i64]), part.y.dtype, &values) };
    let Some(normed) = &p.normed else { return };
    let squares: Vec<f32> = values
        .chunks_exact(SQUARES as usize)
        .map(|block| block.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>() as f32)
        .collect();
    // SAFETY: as above.
    unsafe {
        for (o, value) in values.iter_mut().enumerate() {
            *value *= load(normed.weight.data, normed.weight.dtype, o);
        }
        store_row(normed.y.row(&[row as i64]), normed.y.dtype, &values);
        store_row(normed.squares.row(&[row as i64]), normed.squares.dtype, &squares);
    }
}

/// Gives `sink` every (row, output, sum of products), from several threads.
fn products(
    x: &[f32],
    rows: usize,
    k: usize,
    weight: &View,
    cpu: &CpuBackend,
    sink: &(dyn Fn(usize, usize, f64) + Sync),
) {
    let n = weight.dim(0) as usize;
    cpu.for_each(n.div_ceil(OUTPUTS), OUTPUTS * k.max(1) * rows, |block| {
        let first_output = block * OUTPUTS;
        let outputs = OUTPUTS.min(n - first_output);
        let mut weights: Weights = [[0.0; STRETCH]; OUTPUTS];
        let mut sums = vec![[0.0f64; OUTPUTS]; rows];
        let mut unpacked: [Vec<u8>; OUTPUTS] = Default::default();
        let mut weight_rows = [std::ptr::null(); OUTPUTS];
        for (o, scratch) in unpacked[..outputs].iter_mut().enumerate() {
            // SAFETY: the plan checked shapes and strides; the memory is the caller's contract.
            weight_rows[o] = unsafe { native_row(weight, first_output + o, scratch) };
        }
        for first in (0..k).step_by(STRETCH) {
            let length = STRETCH.min(k - first);
            for (o, weights) in weights[..outputs].iter_mut().enumerate() {
                // SAFETY: as above.
                unsafe { load_weights(weight_rows[o], weight.dtype, first, &mut weights[..length]) };
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                add_products(&x[row * k + first..][..length], &weights, sums);
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (o, &sum) in sums[..outputs].iter().enumerate() {
                sink(row, first_output + o, sum);
            }
        }
    });
}

/// Every lane is a chain of its own, so that the compiler can use vector instructions without reordering sums.
fn add_products(x: &[f32], weights: &Weights, sums: &mut [f64; OUTPUTS]) {
    let mut lanes = [[0.0f32; LANES]; OUTPUTS];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for (i, x) in chunks.iter().enumerate() {
        for (lanes, weights) in lanes.iter_mut().zip(weights) {
            let weights: &[f32; LANES] = weights[i * LANES..][..LANES].try_into().unwrap();
            for l in 0..LANES {
                lanes[l] += x[l] * weights[l];
            }
        }
    }
    for (o, sum) in sums.iter_mut().enumerate() {
        let tail = rest.iter().zip(&weights[o][chunks.len() * LANES..]);
        *sum += lanes[o].iter().map(|&v| f64::from(v)).sum::<f64>()
            + tail.map(|(&x, &w)| f64::from(x) * f64::from(w)).sum::<f64>();
    }
}

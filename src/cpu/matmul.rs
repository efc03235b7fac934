//! Rows of x times the transpose of a weight matrix.

use super::backend::CpuBackend;
use super::blocks::dequantize;
use super::element::{load, load_row, store};
use super::packed::native_row;
use crate::ops::matmul::MatmulPlan;

/// Outputs that share one reading of a row of x.
const OUTPUTS: usize = 4;
/// Stretch of k whose products are summed in f32, in eight lanes of at most 32 each; stretches are summed in f64. The
/// error of a result stays below 36 * 2^-24 of the sum of its products' magnitudes, whatever k is.
const STRETCH: usize = 256;
const LANES: usize = 8;

type Weights = [[f32; STRETCH]; OUTPUTS];

pub(crate) fn matmul(p: &MatmulPlan, cpu: &CpuBackend) {
    let (rows, n, k) = (p.rows as usize, p.n as usize, p.k as usize);
    let mut x = vec![0.0f32; rows * k];
    for (row, out) in x.chunks_exact_mut(k.max(1)).enumerate() {
        // SAFETY: the plan checked shapes and strides; the memory is the caller's contract.
        unsafe { load_row(p.x.row(&[row as i64]), p.x.dtype, out) };
    }
    cpu.for_each(n.div_ceil(OUTPUTS), OUTPUTS * k.max(1) * rows, |block| {
        let first_output = block * OUTPUTS;
        let outputs = OUTPUTS.min(n - first_output);
        let mut weights: Weights = [[0.0; STRETCH]; OUTPUTS];
        let mut sums = vec![[0.0f64; OUTPUTS]; rows];
        let mut unpacked: [Vec<u8>; OUTPUTS] = Default::default();
        let mut weight_rows = [std::ptr::null(); OUTPUTS];
        for (o, scratch) in unpacked[..outputs].iter_mut().enumerate() {
            // SAFETY: as above.
            weight_rows[o] = unsafe { native_row(&p.weight, first_output + o, scratch) };
        }
        for first in (0..k).step_by(STRETCH) {
            let length = STRETCH.min(k - first);
            for (o, weights) in weights[..outputs].iter_mut().enumerate() {
                // SAFETY: as above.
                unsafe { dequantize(weight_rows[o], p.weight.dtype, first, &mut weights[..length]) };
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                add_products(&x[row * k + first..][..length], &weights, sums);
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (o, &sum) in sums[..outputs].iter().enumerate() {
                // SAFETY: as above.
                unsafe { finish(p, row as i64, first_output + o, sum) };
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

/// # Safety
/// The plan's operands may be read and written.
unsafe fn finish(p: &MatmulPlan, row: i64, o: usize, mut sum: f64) {
    unsafe {
        if let Some(bias) = &p.bias {
            sum += f64::from(load(bias.data, bias.dtype, o));
        }
        if let Some(residual) = &p.residual {
            sum += f64::from(load(residual.row(&[row]), residual.dtype, o));
        }
        store(p.y.row(&[row]), p.y.dtype, o, sum as f32);
    }
}

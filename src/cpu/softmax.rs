//! Exponentials of rows, divided by their sum, or the logarithms of these.

use super::element::{load, store};
use crate::ops::Reference;
use crate::ops::softmax::SoftmaxPlan;
use crate::runtime::CpuBackend;

impl Reference for SoftmaxPlan {
    fn run(&self, cpu: &CpuBackend) {
        // An exponential costs as much as a few dozen products.
        cpu.for_each(self.rows.count as usize, 32 * self.n as usize, |row| {
            let index = self.rows.index(row as i64);
            let visible = match self.causal {
                true => (self.n - i64::from(self.rows.extent[2]) + index[2] + 1).clamp(0, self.n),
                false => self.n,
            };
            let x = self.rows.address(&self.x, row as i64);
            let y = self.rows.address(&self.y, row as i64);
            let offset: i64 = index.iter().zip(self.mask_strides()).map(|(i, s)| i * s).sum();
            let mask = self
                .mask
                .map(|mask| (mask.data.wrapping_offset(offset as isize), mask.dtype));
            // SAFETY: the plan checked shapes and strides; the memory is the caller's contract.
            let scaled = |j: usize| unsafe {
                let product = || f64::from(load(x, self.x.dtype, j)) * f64::from(self.scale);
                match mask.map(|(row, dtype)| load(row, dtype, j)) {
                    Some(f32::NEG_INFINITY) => f32::NEG_INFINITY,
                    Some(mask) => (product() + f64::from(mask)) as f32,
                    None => product() as f32,
                }
            };
            let t: Vec<f32> = (0..visible as usize).map(scaled).collect();
            // Where every column is masked, any finite number gives weights of 0. A NaN is left out here, and makes the sum NaN.
            let max = t.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let max = f64::from(if max == f32::NEG_INFINITY { 0.0 } else { max });
            let sum: f64 = t.iter().map(|&t| (f64::from(t) - max).exp()).sum();
            let result = |t: f32| match (self.log, sum == 0.0) {
                (false, true) => 0.0,
                (false, false) => (f64::from(t) - max).exp() / sum,
                (true, true) => f64::NEG_INFINITY,
                (true, false) => f64::from(t) - max - sum.ln(),
            };
            let hidden = if self.log { f64::NEG_INFINITY } else { 0.0 };
            for j in 0..self.n as usize {
                let value = t.get(j).map_or(hidden, |&t| result(t));
                // SAFETY: as above.
                unsafe { store(y, self.y.dtype, j, value as f32) };
            }
        });
    }
}

//! Quantised activations of rows.

use super::element::{load_row, store_row};
use crate::ops::Reference;
use crate::ops::quantize::QuantizePlan;
use crate::runtime::CpuBackend;

impl Reference for QuantizePlan {
    fn run(&self, cpu: &CpuBackend) {
        let k = self.k as usize;
        cpu.for_each(self.rows.count as usize, 2 * k, |row| {
            let mut x = vec![0.0f32; k];
            // SAFETY: the plan checked shapes and strides; the memory is the caller's contract.
            unsafe {
                load_row(self.rows.address(&self.x, row as i64), self.x.dtype, &mut x);
                store_row(self.rows.address(&self.y, row as i64), self.y.dtype, &x);
            }
        });
    }
}

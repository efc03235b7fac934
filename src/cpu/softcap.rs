//! Values kept within a bound by a hyperbolic tangent.

use super::element::{load, store};
use crate::ops::Reference;
use crate::ops::softcap::SoftcapPlan;
use crate::runtime::CpuBackend;

impl Reference for SoftcapPlan {
    fn run(&self, cpu: &CpuBackend) {
        // A hyperbolic tangent costs as much as a few dozen products.
        cpu.for_each(self.rows.count as usize, 32 * self.n as usize, |row| {
            let x = self.rows.address(&self.x, row as i64);
            let y = self.rows.address(&self.y, row as i64);
            for i in 0..self.n as usize {
                // SAFETY: the plan checked shapes and strides; the memory is the caller's contract.
                unsafe {
                    let cap = f64::from(self.cap);
                    let value = cap * (f64::from(load(x, self.x.dtype, i)) / cap).tanh();
                    store(y, self.y.dtype, i, value as f32);
                }
            }
        });
    }
}

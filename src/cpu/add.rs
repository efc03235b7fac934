//! Scaled sum of rows.

use super::element::{load, store};
use crate::ops::Reference;
use crate::ops::add::AddPlan;
use crate::runtime::CpuBackend;

impl Reference for AddPlan {
    fn run(&self, cpu: &CpuBackend) {
        cpu.for_each(self.rows.count as usize, self.n as usize, |row| {
            let a = self.rows.address(&self.a, row as i64);
            // A broadcast row has no outer strides.
            let b = self.rows.address(&self.b, row as i64);
            let y = self.rows.address(&self.y, row as i64);
            for i in 0..self.n as usize {
                // SAFETY: the plan checked shapes and strides; the memory is the caller's contract.
                unsafe {
                    let (a, b) = (load(a, self.a.dtype, i), load(b, self.b.dtype, i));
                    // The same number; the fused form is a slow call on a CPU that is not known to have the instruction.
                    let sum = if self.scale == 1.0 {
                        a + b
                    } else {
                        self.scale.mul_add(b, a)
                    };
                    store(y, self.y.dtype, i, sum);
                }
            }
        });
    }
}

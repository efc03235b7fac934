//! Scaled sum of rows.

use super::backend::CpuBackend;
use super::element::{load, store};
use crate::ops::add::AddPlan;

pub(crate) fn add(p: &AddPlan, cpu: &CpuBackend) {
    cpu.for_each(p.rows.count as usize, p.n as usize, |row| {
        let a = p.rows.address(&p.a, row as i64);
        // A broadcast row has no outer strides.
        let b = p.rows.address(&p.b, row as i64);
        let y = p.rows.address(&p.y, row as i64);
        for i in 0..p.n as usize {
            // SAFETY: the plan checked shapes and strides; the memory is the caller's contract.
            unsafe {
                let (a, b) = (load(a, p.a.dtype, i), load(b, p.b.dtype, i));
                // The same number; the fused form is a slow call on a CPU that is not known to have the instruction.
                let sum = if p.scale == 1.0 { a + b } else { p.scale.mul_add(b, a) };
                store(y, p.y.dtype, i, sum);
            }
        }
    });
}

//! Quantised activations of rows.

use super::backend::CpuBackend;
use super::element::{load_row, store_row};
use crate::ops::quantize::QuantizePlan;

pub(crate) fn quantize(p: &QuantizePlan, cpu: &CpuBackend) {
    let k = p.k as usize;
    cpu.for_each(p.rows.count as usize, 2 * k, |row| {
        let mut x = vec![0.0f32; k];
        // SAFETY: the plan checked shapes and strides; the memory is the caller's contract.
        unsafe {
            load_row(p.rows.address(&p.x, row as i64), p.x.dtype, &mut x);
            store_row(p.rows.address(&p.y, row as i64), p.y.dtype, &x);
        }
    });
}

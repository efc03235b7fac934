//! RMS norm of rows, with an optional residual sum before it.

use super::element::{load, load_row, store_row};
use crate::abi::View;
use crate::ops::Reference;
use crate::ops::norm::NormPlan;
use crate::runtime::CpuBackend;

impl Reference for NormPlan {
    fn run(&self, cpu: &CpuBackend) {
        let dim = self.dim as usize;
        cpu.for_each(self.rows.count as usize, dim, |row| {
            let address = |view| self.rows.address(view, row as i64);
            let mut h = vec![0.0f32; dim];
            // SAFETY: the plan checked shapes and strides; the memory is the caller's contract.
            unsafe {
                load_row(address(&self.x), self.x.dtype, &mut h);
                if let Some(residual) = &self.residual {
                    let from = address(residual);
                    for (i, value) in h.iter_mut().enumerate() {
                        *value += load(from, residual.dtype, i);
                    }
                }
                if let Some(out) = &self.residual_out {
                    store_row(address(out), out.dtype, &h);
                }
                normalise(&mut h, self.weight.as_ref(), self.epsilon);
                store_row(address(&self.y), self.y.dtype, &h);
            }
        });
    }
}

/// # Safety
/// The weight may be read.
pub(crate) unsafe fn normalise(h: &mut [f32], weight: Option<&View>, epsilon: f32) {
    let scale = scale_of(h.iter().copied(), epsilon);
    for (i, value) in h.iter_mut().enumerate() {
        let weight = weight.map_or(1.0, |w| unsafe { load(w.data, w.dtype, i) });
        *value = *value * scale * weight;
    }
}

/// What an RMS norm multiplies these elements with.
pub(crate) fn scale_of(elements: impl ExactSizeIterator<Item = f32>, epsilon: f32) -> f32 {
    let dim = elements.len();
    // The sum in f64: this is the reference that kernels are held against.
    let squares: f64 = elements.map(|v| f64::from(v) * f64::from(v)).sum();
    scale(squares, dim, epsilon)
}

/// The same, from the sum of squares of `dim` elements. A sum that f32, in which the kernels add,
/// does not hold is infinite.
pub(crate) fn scale(squares: f64, dim: usize, epsilon: f32) -> f32 {
    if squares as f32 == f32::INFINITY {
        return 0.0;
    }
    (1.0 / (squares / dim as f64 + f64::from(epsilon)).sqrt()) as f32
}

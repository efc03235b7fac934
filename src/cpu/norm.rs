//! RMS norm of rows, with an optional residual sum before it.

use super::backend::CpuBackend;
use super::element::{load, load_row, store_row};
use crate::ops::norm::NormPlan;

pub(crate) fn norm(p: &NormPlan, cpu: &CpuBackend) {
    let dim = p.dim as usize;
    cpu.for_each(p.rows.count as usize, dim, |row| {
        let address = |view| p.rows.address(view, row as i64);
        let mut h = vec![0.0f32; dim];
        // SAFETY: the plan checked shapes and strides; the memory is the caller's contract.
        unsafe {
            load_row(address(&p.x), p.x.dtype, &mut h);
            if let Some(residual) = &p.residual {
                let from = address(residual);
                for (i, value) in h.iter_mut().enumerate() {
                    *value += load(from, residual.dtype, i);
                }
            }
            if let Some(out) = &p.residual_out {
                store_row(address(out), out.dtype, &h);
            }
            // The sum in f64: this is the reference that kernels are held against.
            let squares: f64 = h.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
            let scale = (1.0 / (squares / dim as f64 + f64::from(p.epsilon)).sqrt()) as f32;
            for (i, value) in h.iter_mut().enumerate() {
                let weight = p.weight.map_or(1.0, |w| load(w.data, w.dtype, i));
                *value = *value * scale * weight;
            }
            store_row(address(&p.y), p.y.dtype, &h);
        }
    });
}

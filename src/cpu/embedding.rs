//! Rows of a table, chosen by ids.

use super::backend::CpuBackend;
use super::blocks::dequantize;
use super::element::store;
use super::packed::native_row;
use crate::ops::embedding::EmbeddingPlan;

pub(crate) fn embedding(p: &EmbeddingPlan, cpu: &CpuBackend) {
    let dim = p.y.dim(1) as usize;
    let vocab = p.table.dim(0);
    cpu.for_each(p.y.dim(0) as usize, dim, |token| {
        let mut row = vec![f32::NAN; dim];
        // SAFETY: the plan checked shapes and strides, and the id is checked here; the memory is the caller's contract.
        unsafe {
            let id = i64::from(p.ids.row(&[token as i64]).cast::<i32>().read());
            if (0..vocab).contains(&id) {
                let mut unpacked = Vec::new();
                let from = native_row(&p.table, id as usize, &mut unpacked);
                dequantize(from, p.table.dtype, 0, &mut row);
            }
            let to = p.y.row(&[token as i64]);
            for (i, &value) in row.iter().enumerate() {
                store(to, p.y.dtype, i, p.scale * value);
            }
        }
    });
}

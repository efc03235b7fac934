//! Rows of a table, chosen by ids.

use super::element::{load_weights, store};
use crate::format::packed::native_row;
use crate::ops::Reference;
use crate::ops::embedding::EmbeddingPlan;
use crate::runtime::CpuBackend;

impl Reference for EmbeddingPlan {
    fn run(&self, cpu: &CpuBackend) {
        let dim = self.y.dim(1) as usize;
        let vocab = self.table.dim(0);
        cpu.for_each(self.y.dim(0) as usize, dim, |token| {
            let mut row = vec![f32::NAN; dim];
            // SAFETY: the plan checked shapes and strides, and the id is checked here; the memory is the caller's contract.
            unsafe {
                let id = i64::from(self.ids.row(&[token as i64]).cast::<i32>().read());
                if (0..vocab).contains(&id) {
                    let mut unpacked = Vec::new();
                    let from = native_row(&self.table, id as usize, &mut unpacked);
                    load_weights(from, self.table.dtype, 0, &mut row);
                }
                let to = self.y.row(&[token as i64]);
                for (i, &value) in row.iter().enumerate() {
                    store(to, self.y.dtype, i, self.scale * value);
                }
            }
        });
    }
}

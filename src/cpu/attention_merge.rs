//! The attention of queries over two sets of keys, put together from that over each.

use super::element::{load, store};
use crate::abi::View;
use crate::ops::Reference;
use crate::ops::attention_merge::AttentionMergePlan;
use crate::runtime::CpuBackend;

impl Reference for AttentionMergePlan {
    fn run(&self, cpu: &CpuBackend) {
        let dim = self.dim as usize;
        cpu.for_each(self.rows.count as usize, 4 * dim + 32, |row| {
            let address = |view| self.rows.address(view, row as i64);
            let index = self.rows.index(row as i64);
            // One element for each row: what is the row's address in a view with rows is the element's here.
            let lse_address = |view: &View| view.row(&index[3 - view.rank()..]).cast::<f32>();
            // SAFETY: the plan checked shapes and strides; the memory is the caller's contract.
            unsafe {
                let a_lse = f64::from(lse_address(&self.a_lse).read());
                let b_lse = f64::from(lse_address(&self.b_lse).read());
                let (u, v, lse) = weights(a_lse, b_lse);
                let (a, b, y) = (address(&self.a), address(&self.b), address(&self.y));
                for i in 0..dim {
                    let part = |weight: f64, value: f32| match weight == 0.0 {
                        true => 0.0,
                        false => weight * f64::from(value),
                    };
                    let value = part(u, load(a, self.a.dtype, i)) + part(v, load(b, self.b.dtype, i));
                    store(y, self.y.dtype, i, value as f32);
                }
                if let Some(y_lse) = &self.y_lse {
                    lse_address(y_lse).write(lse as f32);
                }
            }
        });
    }
}

/// The shares of two parts in their sum, and its logarithm. A share that f32 does not hold as a normal number is 0, as in the kernels.
fn weights(a_lse: f64, b_lse: f64) -> (f64, f64, f64) {
    if a_lse == f64::NEG_INFINITY && b_lse == f64::NEG_INFINITY {
        return (0.0, 0.0, f64::NEG_INFINITY);
    }
    let max = a_lse.max(b_lse);
    let weight = |lse: f64| {
        let weight = (lse - max).exp();
        if weight < f64::from(f32::MIN_POSITIVE) {
            0.0
        } else {
            weight
        }
    };
    let (u, v) = (weight(a_lse), weight(b_lse));
    (u / (u + v), v / (u + v), max + (u + v).ln())
}

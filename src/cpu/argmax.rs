//! Index of the greatest element of each row.

use super::element::load;
use crate::abi::View;
use crate::ops::Reference;
use crate::ops::argmax::ArgmaxPlan;
use crate::runtime::CpuBackend;

impl Reference for ArgmaxPlan {
    fn run(&self, cpu: &CpuBackend) {
        let (rows, n) = (self.x.dim(0) as usize, self.x.dim(1) as usize);
        cpu.for_each(rows, n, |row| {
            let x = self.x.row(&[row as i64]);
            // SAFETY: the plan checked shapes, types and density; the memory is the caller's contract.
            let id = greatest((0..n).map(|i| unsafe { load(x, self.x.dtype, i) }));
            unsafe { self.ids.data.cast::<i32>().add(row).write(id as i32) };
        });
        advance(&self.counters);
    }
}

/// Index of the greatest value, the lowest on a tie; NaN is less than everything; 0 when there is nothing else.
pub(super) fn greatest(values: impl Iterator<Item = f32>) -> usize {
    let mut best: Option<(usize, f32)> = None;
    for (i, value) in values.enumerate() {
        if !value.is_nan() && best.is_none_or(|(_, greatest)| value > greatest) {
            best = Some((i, value));
        }
    }
    best.map_or(0, |(i, _)| i)
}

/// One more in every counter.
pub(super) fn advance(counters: &Option<View>) {
    for counters in counters.iter() {
        for i in 0..counters.dim(0) as usize {
            // SAFETY: as above.
            unsafe {
                let counter = counters.data.cast::<i32>().add(i);
                counter.write(counter.read().wrapping_add(1));
            }
        }
    }
}

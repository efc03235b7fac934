//! Tensors as rows: a row is what lies along the last dimension, and up to three outer dimensions count the rows.

use crate::abi::{Error, Result, View};
use crate::constants::ELEMENTWISE_THREADS;
use crate::cuda::{Grid, ceil_div};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    /// The outer dimensions, where a missing one is 1. The inner two fit 31 bits, in which the kernels keep them.
    pub extent: [i32; 3],
    pub count: i64,
}

/// The calls for which `vec8` holds, in the words of a candidate that declines others.
pub(crate) const FOR_VEC8: &str = "rows of a multiple of 8 elements, 16-byte aligned in every operand";

/// Whether the rows of all of these can be read and written eight elements at a time, by 16-byte accesses.
#[inline(always)]
pub(crate) fn vec8<const N: usize>(views: [Option<&View>; N]) -> bool {
    let fits = |view: &View| view.last_dim() % 8 == 0 && view.rows_aligned(16);
    views.into_iter().all(|view| view.is_none_or(fits))
}

/// The address of an operand that may be absent, for kernels.
pub(crate) fn data(view: &Option<View>) -> *mut u8 {
    view.as_ref().map_or(std::ptr::null_mut(), |view| view.data)
}

pub(crate) fn dtype(view: &Option<View>) -> u32 {
    view.as_ref().map_or(0, |view| view.dtype.abi().0)
}

/// The strides of an operand that may be absent, as `Rows::strides` gives them.
pub(crate) fn strides(view: &Option<View>) -> [i64; 3] {
    view.as_ref().map_or([0; 3], Rows::strides)
}

impl Rows {
    /// The most elements of a row: kernels count elements in 31 bits, and their loops step beyond the end.
    const MOST_ELEMENTS: i64 = (i32::MAX / 2) as i64;

    pub fn of(view: &View) -> Result<Rows> {
        view.expect_dim(view.rank() - 1, 0..=Rows::MOST_ELEMENTS)?;
        let outer = &view.dims()[..view.rank() - 1];
        let mut dims = [1i64; 3];
        dims[3 - outer.len()..].copy_from_slice(outer);
        for (i, &n) in dims.iter().enumerate().skip(1) {
            if n > i64::from(i32::MAX) {
                return Err(Error::unsupported(format!(
                    "{}.shape[{}] is {n}, expected at most {} in an inner dimension",
                    view.field(),
                    i + outer.len() - 3,
                    i32::MAX
                )));
            }
        }
        let count: i64 = dims.iter().product();
        if count > i64::from(i32::MAX) {
            return Err(Error::unsupported(format!(
                "{}.shape has {count} rows of the last dimension, expected at most {}",
                view.field(),
                i32::MAX
            )));
        }
        Ok(Rows {
            extent: [dims[0].min(i64::from(i32::MAX)) as i32, dims[1] as i32, dims[2] as i32],
            count,
        })
    }

    /// The byte strides of the outer dimensions, where a missing one has 0.
    pub fn strides(view: &View) -> [i64; 3] {
        Rows::behind_zeros(&view.strides()[..view.rank() - 1])
    }

    /// The strides of up to three dimensions, where a missing outer one has 0.
    pub fn behind_zeros(strides: &[i64]) -> [i64; 3] {
        let mut all = [0; 3];
        for (to, &stride) in all.iter_mut().rev().zip(strides.iter().rev()) {
            *to = stride;
        }
        all
    }

    /// The indices of row number `row` in the outer dimensions, where a missing one has 0.
    pub fn index(&self, row: i64) -> [i64; 3] {
        let (e1, e2) = (i64::from(self.extent[1]), i64::from(self.extent[2]));
        [row / e2 / e1, row / e2 % e1, row % e2]
    }

    /// The address of row number `row` of a view that has this shape.
    pub fn address(&self, view: &View, row: i64) -> *mut u8 {
        let index = self.index(row);
        let strides = Rows::strides(view);
        let offset: i64 = index.iter().zip(strides).map(|(i, s)| i * s).sum();
        view.data.wrapping_offset(offset as isize)
    }

    /// The launch of an elementwise kernel whose threads take `per_thread` of a row's `n` elements each, and the number
    /// of its blocks that share a row (they are neighbours in the grid).
    pub fn elementwise(&self, n: i64, per_thread: i64) -> Result<(Grid, i32)> {
        let threads = (ceil_div(n, per_thread * 32) * 32).clamp(32, ELEMENTWISE_THREADS);
        let chunks = ceil_div(n, per_thread * threads);
        let grid = Grid::new([self.count.saturating_mul(chunks), 1, 1], threads as u32)?;
        Ok((grid, chunks as i32))
    }
}

//! Whether strided views share a byte: exactly, for any shapes and strides, in bounded time.
//!
//! A view's bytes are `start + sum of stride[i] * x[i] + b`, with `0 <= x[i] < count[i]` and `0 <= b < block`. Two views share one
//! where the difference of two such sums is 0. Counted from its end, a negative term becomes a positive one, and the bytes `b` of
//! both become a window: the question is whether `sum of step * z` over `0 <= z <= most` can lie in `low..=high`.
//!
//! Ranges that are apart, and strides that nest as those of tensors do, are decided by a few comparisons. What is left has strides
//! that are no multiples of one another, and goes to `lattice`.

mod lattice;
#[cfg(test)]
mod tests;

use super::view::View;

/// Dimensions of two views.
const MOST_TERMS: usize = 8;

/// `step * z`, with z from 0 to `most`; both at least 1.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Term {
    step: i128,
    most: i128,
}

/// A sum of terms that is to lie in `low..=high`. Strides and sizes of views have 63 bits, and so have their products: nothing here
/// overflows 128.
#[derive(Clone, Copy, Debug)]
struct Sum {
    terms: [Term; MOST_TERMS],
    count: usize,
    low: i128,
    high: i128,
}

impl View {
    /// Blocks (elements, of plain types) along dimension `i`.
    #[inline(always)]
    pub(super) fn count(&self, i: usize) -> i64 {
        match i + 1 == self.rank() {
            true => self.dim(i) >> self.dtype.block_shift(),
            false => self.dim(i),
        }
    }

    /// First byte and the one behind the last; equal where there is none.
    #[inline(always)]
    pub fn extent(&self) -> (u128, u128) {
        let start = self.data as u128;
        (start, start + self.reach() as u128)
    }

    /// Bytes that follow one another in a row, and the dimensions that such runs are strided over.
    fn run(&self) -> (usize, usize) {
        let (last, block) = (self.rank() - 1, self.dtype.block_bytes());
        match self.stride(last) == block as i64 {
            true => (block * self.count(last) as usize, last),
            false => (block, last + 1),
        }
    }

    /// Whether any byte is a byte of both.
    pub fn shares_bytes(&self, other: &View) -> bool {
        let ((start, end), (other_start, other_end)) = (self.extent(), other.extent());
        if start.max(other_start) >= end.min(other_end) {
            return false;
        }
        let (run, dims) = other.run();
        let mut sum = self.meeting(other_start, other_end - other_start, run);
        (0..dims).for_each(|i| sum.add(other.stride(i).into(), other.count(i) - 1));
        sum.is_possible()
    }

    /// Whether any byte is one of `length` from `start` on.
    pub fn meets_range(&self, start: u128, length: usize) -> bool {
        !self.is_empty() && length > 0 && self.meeting(start, length as u128, length).is_possible()
    }

    /// The bytes of this view against runs of so many bytes, the first at `start`, of which the last ends `length` behind it; what
    /// they are strided over is to be added.
    fn meeting(&self, start: u128, length: u128, run: usize) -> Sum {
        // self + own + b = start + theirs + c, and `theirs` is counted from its end.
        let (own_run, dims) = self.run();
        let behind = start as i128 - self.data as i128 + length as i128 - run as i128;
        let mut sum = Sum::new(behind - (own_run as i128 - 1), behind + run as i128 - 1);
        (0..dims).for_each(|i| sum.add(self.stride(i).into(), self.count(i) - 1));
        sum
    }

    /// Whether any byte is one of two different blocks.
    #[inline(always)]
    pub fn overlaps_itself(&self) -> bool {
        !self.is_contiguous() && self.has_common_bytes()
    }

    fn has_common_bytes(&self) -> bool {
        let block = self.dtype.block_bytes() as i128;
        let mut dims = [(0i128, 0i64); 4];
        let mut rank = 0;
        for i in (0..self.rank()).filter(|&i| self.count(i) > 1) {
            dims[rank] = (self.stride(i).into(), self.count(i));
            rank += 1;
        }
        let dims = &mut dims[..rank];
        dims.sort_unstable();
        // Nested: each stride steps over all that lies within it.
        let mut within = block;
        let nested = dims.iter().all(|&(stride, count)| {
            let apart = stride >= within;
            within += stride * i128::from(count - 1);
            apart
        });
        // Two blocks whose indices differ first in dimension i, by 1 or more there and by anything in those after it.
        !nested
            && (0..rank).any(|i| {
                let (stride, count) = dims[i];
                let inner = &dims[i + 1..];
                let reach: i128 = inner
                    .iter()
                    .map(|&(stride, count)| stride * i128::from(count - 1))
                    .sum();
                let low = reach - stride - (block - 1);
                let mut sum = Sum::new(low, low + 2 * (block - 1));
                sum.add(stride, count - 2);
                inner
                    .iter()
                    .for_each(|&(stride, count)| sum.add(stride, 2 * (count - 1)));
                sum.is_possible()
            })
    }
}

impl Sum {
    fn new(low: i128, high: i128) -> Sum {
        Sum {
            terms: [Term { step: 1, most: 1 }; MOST_TERMS],
            count: 0,
            low,
            high,
        }
    }

    fn add(&mut self, step: i128, most: i64) {
        if step > 0 && most > 0 {
            let most = most.into();
            self.terms[self.count] = Term { step, most };
            self.count += 1;
        }
    }

    fn terms(&self) -> &[Term] {
        &self.terms[..self.count]
    }

    fn remove(&mut self, i: usize) -> Term {
        let term = self.terms[i];
        self.terms.copy_within(i + 1..self.count, i);
        self.count -= 1;
        term
    }

    fn is_possible(mut self) -> bool {
        loop {
            let total = self.total();
            if self.low > self.high || self.high < 0 || self.low > total {
                return false;
            }
            let inside = |v: i128| (self.low..=self.high).contains(&v);
            if inside(0) || inside(total) {
                return true;
            }
            // In order of what they cost.
            if !(self.widen() || self.join() || self.divide() || self.narrow()) {
                break;
            }
        }
        // A few values are tried one by one: each leaves less to decide.
        const FEW: i128 = 2;
        let Some(fewest) = (0..self.count).min_by_key(|&i| self.terms[i].most) else {
            return false;
        };
        if self.terms[fewest].most > FEW {
            return lattice::reaches(&self);
        }
        let term = self.remove(fewest);
        for z in 0..=term.most {
            let mut rest = self;
            rest.low -= term.step * z;
            rest.high -= term.step * z;
            if rest.is_possible() {
                return true;
            }
        }
        false
    }

    fn total(&self) -> i128 {
        self.terms().iter().map(|t| t.step * t.most).sum()
    }

    /// Steps no longer than the window leave no gap in it: they make it wider.
    fn widen(&mut self) -> bool {
        let before = self.count;
        self.terms[..before].sort_unstable_by_key(|t| t.step);
        while self.count > 0 && self.terms[0].step <= self.high - self.low + 1 {
            let term = self.remove(0);
            self.low -= term.step * term.most;
        }
        self.count < before
    }

    /// A step that is a multiple of another, and no longer than what that one reaches, continues it.
    fn join(&mut self) -> bool {
        let before = self.count;
        for i in (0..before).rev() {
            for j in (i + 1..self.count).rev() {
                let (small, large) = (self.terms[i], self.terms[j]);
                // Mostly they are equal, and a division of 128 bits takes its time.
                let times = if large.step == small.step {
                    1
                } else {
                    large.step / small.step
                };
                if times * small.step == large.step && times <= small.most + 1 {
                    self.terms[i].most += times * large.most;
                    self.remove(j);
                }
            }
        }
        self.count < before
    }

    /// A sum of multiples is one.
    fn divide(&mut self) -> bool {
        let divisor = self.terms().iter().fold(0, |a, t| greatest_divisor(a, t.step));
        if divisor <= 1 {
            return false;
        }
        self.low = -(-self.low).div_euclid(divisor);
        self.high = self.high.div_euclid(divisor);
        self.terms[..self.count].iter_mut().for_each(|t| t.step /= divisor);
        true
    }

    /// No term is beyond the window, nor so small that the others, at their most, do not reach it. Once for each term: to go on
    /// until nothing changes may take as many rounds as there are values. Whether fewer terms are left.
    fn narrow(&mut self) -> bool {
        let before = self.count;
        let mut total = self.total();
        for i in (0..before).rev() {
            let Term { step, most } = self.terms[i];
            let least = -(total - step * most - self.low).div_euclid(step);
            let (least, greatest) = (least.max(0), self.high.div_euclid(step).min(most));
            if least > greatest {
                // An empty window.
                (self.low, self.high) = (1, 0);
                return true;
            }
            (self.low, self.high) = (self.low - least * step, self.high - least * step);
            total -= step * (most - (greatest - least));
            self.terms[i].most = greatest - least;
            if greatest == least {
                self.remove(i);
            }
        }
        self.count < before
    }
}

fn greatest_divisor(mut a: i128, mut b: i128) -> i128 {
    if a == 0 {
        return b;
    }
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

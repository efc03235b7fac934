//! Whether a sum of terms whose steps are no multiples of one another can lie in a window: integer programming in a fixed number of
//! variables, after Lenstra (1983) and Aardal, Hurkens and Lenstra (2000).
//!
//! The values z are the points of a lattice. In coordinates in which their box and the window are as wide as high, a reduced basis
//! (Lenstra, Lenstra and Lovasz, 1982) has nearly orthogonal vectors. If these are short beside the box, the point nearest to its middle lies in
//! it. If the last one is long, then the box meets few of the planes that the others span, and each is such a problem with a variable
//! less. So the number of steps depends on the number of terms, and hardly on their size.
//!
//! Floating point chooses the basis and the order; planes are left out only by bounds that have room for its errors. Points and sums are
//! integers throughout.

use super::{MOST_TERMS, Sum};

/// Values of the terms.
type Point = [i128; MOST_TERMS];
/// Factors of the terms, and the least and the greatest that the sum of their products may be.
type Row = (Point, i128, i128);
/// In coordinates of the box, and the window's behind them.
type Scaled = [f64; MOST_TERMS + 1];

/// Planes after which a sum counts as possible, so that time is bounded whatever rounding does. No input is known that takes a tenth
/// of them.
const MOST_PLANES: u32 = 5_000;

/// Of the numbers that are added and doubled without a check.
const LARGEST: i128 = 1 << 120;

pub(super) fn reaches(sum: &Sum) -> bool {
    Problem::of(sum).holds_a_point(sum.count, &mut 0)
}

/// What it takes to decide.
#[cfg(test)]
pub(super) fn planes(sum: &Sum) -> u32 {
    let mut planes = 0;
    Problem::of(sum).holds_a_point(sum.count, &mut planes);
    planes
}

#[derive(Clone)]
struct Problem {
    /// Terms.
    n: usize,
    step: Point,
    least: Point,
    most: Point,
    /// The window.
    low: i128,
    high: i128,
    /// A unimodular matrix and the transpose of its inverse. A point is `origin + sum of m[i] * basis[i]`, in which
    /// `m[i] = dual[i] . (point - origin)`.
    basis: [Point; MOST_TERMS],
    dual: [Point; MOST_TERMS],
    origin: Point,
}

/// The part of each basis vector that is orthogonal to those in front of it.
struct Orthogonal {
    vectors: [Scaled; MOST_TERMS],
    squares: [f64; MOST_TERMS],
}

fn dot(a: &Scaled, b: &Scaled) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Problem {
    fn of(sum: &Sum) -> Problem {
        let mut problem = Problem {
            n: sum.count,
            step: [0; MOST_TERMS],
            least: [0; MOST_TERMS],
            most: [0; MOST_TERMS],
            low: sum.low,
            high: sum.high,
            basis: [[0; MOST_TERMS]; MOST_TERMS],
            dual: [[0; MOST_TERMS]; MOST_TERMS],
            origin: [0; MOST_TERMS],
        };
        for (i, term) in sum.terms().iter().enumerate() {
            problem.step[i] = term.step;
            problem.most[i] = term.most;
            problem.basis[i][i] = 1;
            problem.dual[i][i] = 1;
        }
        problem
    }

    /// `free`: the vectors in front that the point may still move along.
    fn holds_a_point(mut self, free: usize, planes: &mut u32) -> bool {
        *planes += 1;
        if *planes > MOST_PLANES {
            return true;
        }
        if !self.tighten(free) {
            return false;
        }
        if free == 0 {
            return self.contains_origin();
        }
        if free == 1 {
            return self.meets_line();
        }
        self.reduce(free);
        let Some(orthogonal) = self.orthogonal(free) else {
            return true;
        };
        self.centre(free, &orthogonal);
        if self.contains_origin() {
            return true;
        }
        let last = free - 1;
        let (from, to, nearest) = self.planes(&orthogonal, last);
        // From the middle outwards, on both sides by turns.
        let mut offset = 0;
        while nearest - offset >= from || nearest + offset <= to {
            let sides = [nearest - offset, nearest + offset];
            for at in sides.into_iter().skip(usize::from(offset == 0)) {
                if !(from..=to).contains(&at) {
                    continue;
                }
                let mut plane = self.clone();
                if !plane.shift(last, at) || plane.holds_a_point(last, planes) {
                    return true;
                }
            }
            offset += 1;
        }
        false
    }

    /// Moves the origin along a vector; false where that has no room.
    fn shift(&mut self, vector: usize, times: i128) -> bool {
        let mut moved = self.origin;
        for (at, step) in moved.iter_mut().zip(&self.basis[vector]).take(self.n) {
            let more = times.checked_mul(*step);
            let Some(sum) = more.and_then(|v| at.checked_add(v)).filter(|v| v.abs() < LARGEST) else {
                return false;
            };
            *at = sum;
        }
        let fits = self
            .checked_dot(&moved, &self.step)
            .is_some_and(|sum| sum.abs() < LARGEST);
        if fits {
            self.origin = moved;
        }
        fits
    }

    fn sum_of(&self, point: &Point) -> i128 {
        (0..self.n).map(|k| self.step[k] * point[k]).sum()
    }

    fn contains_origin(&self) -> bool {
        let sum = self.sum_of(&self.origin);
        (self.low..=self.high).contains(&sum)
            && (0..self.n).all(|k| (self.least[k]..=self.most[k]).contains(&self.origin[k]))
    }

    /// Of one vector: an interval of its multiples for each term and for the window.
    fn meets_line(&self) -> bool {
        let along = &self.basis[0];
        let (mut from, mut to) = (i128::MIN, i128::MAX);
        let mut inside = true;
        let mut clip = |at: i128, step: i128, least: i128, most: i128| {
            // least <= at + m * step <= most
            let (a, b) = match step.signum() {
                0 => {
                    inside &= (least..=most).contains(&at);
                    return;
                }
                1 => (least - at, most - at),
                _ => (at - most, at - least),
            };
            let step = step.abs();
            from = from.max(-(-a).div_euclid(step));
            to = to.min(b.div_euclid(step));
        };
        for (k, step) in along.iter().enumerate().take(self.n) {
            clip(self.origin[k], *step, self.least[k], self.most[k]);
        }
        clip(self.sum_of(&self.origin), self.sum_of(along), self.low, self.high);
        inside && from <= to
    }

    /// Takes from the box what the window and the planes that the point is on leave no room for, each alone and any two of them
    /// with a term that both have taken out. False: all of it.
    fn tighten(&mut self, free: usize) -> bool {
        const ROUNDS: usize = 2;
        let mut rows = [(self.step, self.low, self.high); MOST_TERMS + 1];
        let mut count = 1;
        for fixed in free..self.n {
            if let Some(at) = self.checked_dot(&self.dual[fixed], &self.origin) {
                rows[count] = (self.dual[fixed], at, at);
                count += 1;
            }
        }
        let rows = &rows[..count];
        for _ in 0..ROUNDS {
            for (i, &(row, low, high)) in rows.iter().enumerate() {
                if !self.tighten_by(&row, low, high) {
                    return false;
                }
                for other in &rows[i + 1..] {
                    for k in 0..self.n {
                        let Some((row, low, high)) = self.without(k, &rows[i], other) else {
                            continue;
                        };
                        if !self.tighten_by(&row, low, high) {
                            return false;
                        }
                    }
                }
            }
        }
        true
    }

    /// Of two rows the multiples whose difference leaves term k out; the second one's bounds are equal.
    fn without(&self, k: usize, a: &Row, b: &Row) -> Option<Row> {
        let divisor = super::greatest_divisor(a.0[k].abs(), b.0[k].abs());
        if a.0[k] == 0 || b.0[k] == 0 {
            return None;
        }
        // The factor of the first is positive, so that its bounds stay in order.
        let (of_a, of_b) = (b.0[k].abs() / divisor, a.0[k] * b.0[k].signum() / divisor);
        let mut row = [0; MOST_TERMS];
        let less = |a: i128, b: i128| of_a.checked_mul(a)?.checked_sub(of_b.checked_mul(b)?);
        for (i, v) in row.iter_mut().enumerate().take(self.n) {
            *v = less(a.0[i], b.0[i])?;
        }
        Some((row, less(a.1, b.1)?, less(a.2, b.1)?))
    }

    fn checked_dot(&self, a: &Point, b: &Point) -> Option<i128> {
        (0..self.n).try_fold(0i128, |sum, k| sum.checked_add(a[k].checked_mul(b[k])?))
    }

    /// By `low <= sum of factor * z <= high`.
    fn tighten_by(&mut self, factor: &Point, low: i128, high: i128) -> bool {
        let mut smallest: Point = [0; MOST_TERMS];
        let mut largest: Point = [0; MOST_TERMS];
        for k in 0..self.n {
            let ends = [
                self.least[k].checked_mul(factor[k]),
                self.most[k].checked_mul(factor[k]),
            ];
            let [Some(a), Some(b)] = ends else { return true };
            (smallest[k], largest[k]) = (a.min(b), a.max(b));
        }
        let add = |of: &Point| of[..self.n].iter().try_fold(0i128, |sum, v| sum.checked_add(*v));
        let (Some(least), Some(most)) = (add(&smallest), add(&largest)) else {
            return true;
        };
        if least > high || most < low {
            return false;
        }
        for k in 0..self.n {
            if factor[k] == 0 {
                continue;
            }
            // What is left for this product when the others are as small or as large as they can be.
            let (from, to) = (low - (most - largest[k]), high - (least - smallest[k]));
            let by = factor[k].abs();
            let (from, to) = match factor[k] > 0 {
                true => (-(-from).div_euclid(by), to.div_euclid(by)),
                false => (-to.div_euclid(by), (-from).div_euclid(by)),
            };
            self.least[k] = self.least[k].max(from);
            self.most[k] = self.most[k].min(to);
            if self.least[k] > self.most[k] {
                return false;
            }
        }
        true
    }

    /// Half of what each coordinate spans, at least half a step.
    fn half_widths(&self) -> Scaled {
        let mut widths = [1.0; MOST_TERMS + 1];
        for (k, width) in widths.iter_mut().enumerate().take(self.n) {
            *width = ((self.most[k] - self.least[k]) as f64 / 2.0).max(0.5);
        }
        widths[MOST_TERMS] = ((self.high - self.low) as f64 / 2.0).max(0.5);
        widths
    }

    fn scaled(&self, point: &Point, widths: &Scaled) -> Scaled {
        let mut scaled = [0.0; MOST_TERMS + 1];
        for k in 0..self.n {
            scaled[k] = point[k] as f64 / widths[k];
        }
        scaled[MOST_TERMS] = self.sum_of(point) as f64 / widths[MOST_TERMS];
        scaled
    }

    /// From the origin to the middle of the box and the window.
    fn to_middle(&self, widths: &Scaled) -> Scaled {
        let mut scaled = [0.0; MOST_TERMS + 1];
        for k in 0..self.n {
            scaled[k] = (self.least[k] + self.most[k] - 2 * self.origin[k]) as f64 / 2.0 / widths[k];
        }
        let sum = self.sum_of(&self.origin);
        scaled[MOST_TERMS] = (self.low + self.high - 2 * sum) as f64 / 2.0 / widths[MOST_TERMS];
        scaled
    }

    /// `None` where a vector has no part of its own, which rounding alone can bring about.
    fn orthogonal(&self, free: usize) -> Option<Orthogonal> {
        let widths = self.half_widths();
        let mut all = Orthogonal {
            vectors: [[0.0; MOST_TERMS + 1]; MOST_TERMS],
            squares: [0.0; MOST_TERMS],
        };
        for i in 0..free {
            all.vectors[i] = self.scaled(&self.basis[i], &widths);
            for j in 0..i {
                let times = dot(&all.vectors[i], &all.vectors[j]) / all.squares[j];
                let along = all.vectors[j];
                all.vectors[i].iter_mut().zip(along).for_each(|(v, a)| *v -= times * a);
            }
            all.squares[i] = dot(&all.vectors[i], &all.vectors[i]);
            if !(all.squares[i].is_finite() && all.squares[i] > 0.0) {
                return None;
            }
        }
        Some(all)
    }

    /// Lenstra, Lenstra and Lovasz's reduction of the first `free` vectors.
    fn reduce(&mut self, free: usize) {
        /// Of a vector beside the one in front of it: 1 would be exact, and slower.
        const DELTA: f64 = 0.98;
        const MOST_ROUNDS: usize = 5_000;
        let widths = self.half_widths();
        let mut i = 1;
        for _ in 0..MOST_ROUNDS {
            if i >= free {
                return;
            }
            let Some(orthogonal) = self.orthogonal(i + 1) else {
                return;
            };
            let mut settled = true;
            for j in (0..i).rev() {
                let own = self.scaled(&self.basis[i], &widths);
                let times = dot(&own, &orthogonal.vectors[j]) / orthogonal.squares[j];
                if times.abs() > 0.51 {
                    if !self.subtract(i, j, times.round()) {
                        return;
                    }
                    // A large number of times is not exact: once more.
                    settled &= times.abs() < 1e6;
                }
            }
            if !settled {
                continue;
            }
            let before = &orthogonal.vectors[i - 1];
            let times = dot(&self.scaled(&self.basis[i], &widths), before) / orthogonal.squares[i - 1];
            if orthogonal.squares[i] >= (DELTA - times * times) * orthogonal.squares[i - 1] {
                i += 1;
            } else {
                self.basis.swap(i, i - 1);
                self.dual.swap(i, i - 1);
                i = (i - 1).max(1);
            }
        }
    }

    /// Takes a multiple of vector j from vector i; false where that has no room.
    fn subtract(&mut self, i: usize, j: usize, times: f64) -> bool {
        if times.abs() >= 2f64.powi(100) {
            return false;
        }
        let times = times as i128;
        let (mut vector, mut dual) = (self.basis[i], self.dual[j]);
        for k in 0..self.n {
            let less = times
                .checked_mul(self.basis[j][k])
                .and_then(|v| vector[k].checked_sub(v));
            let more = times.checked_mul(self.dual[i][k]).and_then(|v| dual[k].checked_add(v));
            let (Some(less), Some(more)) = (less, more) else {
                return false;
            };
            (vector[k], dual[k]) = (less, more);
        }
        if self
            .checked_dot(&vector, &self.step)
            .is_none_or(|sum| sum.abs() >= LARGEST)
        {
            return false;
        }
        (self.basis[i], self.dual[j]) = (vector, dual);
        true
    }

    /// Moves the origin to a point near the middle (Babai, 1986): again and again, as large numbers of steps are not exact.
    fn centre(&mut self, free: usize, orthogonal: &Orthogonal) {
        const ROUNDS: usize = 8;
        let widths = self.half_widths();
        for _ in 0..ROUNDS {
            let mut moved = false;
            for i in (0..free).rev() {
                let along = &orthogonal.vectors[i];
                let times = (dot(&self.to_middle(&widths), along) / orthogonal.squares[i]).round();
                if times != 0.0 && times.abs() < 2f64.powi(100) {
                    moved |= self.shift(i, times as i128);
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// The multiples of the last free vector at which its planes may meet the box: from, to, and nearest to the middle.
    fn planes(&self, orthogonal: &Orthogonal, last: usize) -> (i128, i128, i128) {
        let (along, square) = (&orthogonal.vectors[last], orthogonal.squares[last]);
        let middle = dot(&self.to_middle(&self.half_widths()), along) / square;
        let reach = along.iter().map(|v| v.abs()).sum::<f64>() / square;
        let room = 1e-6 * (1.0 + middle.abs() + reach);
        let bound = |v: f64| v.clamp(-2f64.powi(100), 2f64.powi(100)) as i128;
        (
            bound((middle - reach - room).ceil()),
            bound((middle + reach + room).floor()),
            bound(middle.round()),
        )
    }
}

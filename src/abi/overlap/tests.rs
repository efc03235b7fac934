//! Against enumeration of bytes, and of large sums against other ways to know the answer.

use super::*;
use crate::abi::{Dtype, reflex_tensor};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: i64) -> i64 {
        (self.bits() % n as u64) as i64
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as i64) as usize]
    }
}

const BASE: i64 = 1 << 20;

fn view(dtype: Dtype, at: i64, dims: &[(i64, i64)]) -> View {
    let mut tensor = reflex_tensor {
        data: std::ptr::without_provenance_mut(at as usize),
        dtype: dtype.abi(),
        rank: dims.len() as u32,
        shape: [0; 4],
        stride: [0; 4],
    };
    for (i, &(count, stride)) in dims.iter().enumerate() {
        (tensor.shape[i], tensor.stride[i]) = (count, stride);
    }
    View::required("field", &tensor).unwrap_or_else(|e| panic!("{dims:?}: {}", e.message))
}

/// How often each byte belongs to the view.
fn bytes(view: &View) -> std::collections::HashMap<i64, u32> {
    let mut starts = vec![view.data as i64];
    for i in 0..view.rank() {
        starts = starts
            .iter()
            .flat_map(|&s| (0..view.count(i)).map(move |x| s + x * view.stride(i)))
            .collect();
    }
    let mut times = std::collections::HashMap::new();
    for start in starts {
        for b in 0..view.dtype.block_bytes() as i64 {
            *times.entry(start + b).or_insert(0) += 1;
        }
    }
    times
}

/// A small view: strides that nest, that interleave, that broadcast, and that do neither.
fn small(random: &mut Random) -> View {
    let dtype = random.pick(&[
        Dtype::F32,
        Dtype::F16,
        Dtype::Q4_0,
        Dtype::MXFP4,
        Dtype::ACT_I8,
        Dtype::F32,
    ]);
    let (block, elements, align) = (
        dtype.block_bytes() as i64,
        dtype.block_elements() as i64,
        dtype.alignment() as i64,
    );
    let rank = 1 + random.below(4) as usize;
    let at = BASE + random.below(40) * align;
    let mut dims = vec![(0, 0); rank];
    let mut step = block;
    for i in (0..rank).rev() {
        let last = i + 1 == rank;
        let count = random.pick(&[1, 2, 2, 3, 4, 5]);
        let stride = match random.below(8) {
            0 => 0,
            1 | 2 => random.below(30) * align,
            3 => 2 * step,
            4 => step + random.below(6) * align,
            _ => step,
        };
        // Blocks of a row follow one another; rows of ACT_I8 are aligned.
        let aligned = match last && dtype.is_block() {
            true => block,
            false => (stride + align - 1) / align * align,
        };
        dims[i] = (count * if last { elements } else { 1 }, aligned);
        step = step.max(stride * count).min(400);
    }
    // All zero strides mean contiguous.
    view(dtype, at, &dims)
}

#[test]
fn small_views_as_enumeration_has_it() {
    let mut random = Random(1);
    let mut seen = [[0; 2]; 3];
    for _ in 0..30_000 {
        let (a, b) = (small(&mut random), small(&mut random));
        let (of_a, of_b) = (bytes(&a), bytes(&b));
        let shared = of_a.keys().any(|byte| of_b.contains_key(byte));
        let twice = of_a.values().any(|&times| times > 1);
        assert_eq!(a.shares_bytes(&b), shared, "{a:?}\n{b:?}");
        assert_eq!(b.shares_bytes(&a), shared, "{b:?}\n{a:?}");
        assert_eq!(a.overlaps_itself(), twice, "{a:?}");
        let ((start, end), (other, other_end)) = (a.extent(), b.extent());
        let apart = start >= other_end || other >= end;
        seen[0][usize::from(shared)] += 1;
        seen[1][usize::from(twice)] += 1;
        seen[2][usize::from(!apart && !shared)] += 1;
    }
    // Of every kind there were many, interleaved views among them.
    assert!(seen.iter().flatten().all(|&n| n > 500), "{seen:?}");
}

/// Terms, window and the answer by enumeration.
fn enumerated(sum: &Sum) -> bool {
    let mut sums = std::collections::HashSet::from([0i128]);
    for term in sum.terms() {
        let before: Vec<i128> = sums.into_iter().collect();
        let values = |s: i128| (0..=term.most).map(move |z| s + z * term.step);
        sums = before.into_iter().flat_map(values).collect();
    }
    sums.iter().any(|s| (sum.low..=sum.high).contains(s))
}

fn sum(terms: &[(i128, i64)], low: i128, high: i128) -> Sum {
    let mut sum = Sum::new(low, high);
    terms.iter().for_each(|&(step, most)| sum.add(step, most));
    sum
}

/// Both ways to decide: with what is simple taken out first, and by the lattice alone.
#[test]
fn small_sums_as_enumeration_has_it() {
    let mut random = Random(2);
    let mut seen = [0; 2];
    for round in 0..30_000 {
        let count = 1 + random.below(6) as usize;
        let most = [0, 200, 60, 14, 8, 5, 4][count];
        let scale = random.pick(&[8, 40, 200, 1000]);
        let terms: Vec<(i128, i64)> = (0..count)
            .map(|_| ((1 + random.below(scale)).into(), 1 + random.below(most)))
            .collect();
        let total: i128 = terms.iter().map(|&(s, m)| s * i128::from(m)).sum();
        let low = random.below(total as i64 + 20) as i128 - 10;
        let sum = sum(&terms, low, low + random.pick(&[0, 0, 1, 3, 7]));
        let want = enumerated(&sum);
        assert_eq!(sum.is_possible(), want, "{sum:?}");
        if round % 2 == 0 {
            assert_eq!(lattice::reaches(&sum), want, "{sum:?}");
        }
        seen[usize::from(want)] += 1;
    }
    assert!(seen.iter().all(|&n| n > 2_000), "{seen:?}");
}

/// floor((a i + b) / m) summed over i in 0..n, of a and b from 0 on.
fn floor_sum(n: i128, m: i128, a: i128, b: i128) -> i128 {
    if n == 0 {
        return 0;
    }
    let whole = n * (n - 1) / 2 * (a / m) + n * (b / m);
    let (a, b) = (a % m, b % m);
    let top = a * n + b;
    if top < m {
        whole
    } else {
        whole + floor_sum(top / m, a, m, top % m)
    }
}

/// Number of i in 0..n for which (a i + b) mod m is in 0..=width.
fn residues(n: i128, m: i128, a: i128, b: i128, width: i128) -> i128 {
    let (a, b) = (a.rem_euclid(m), b.rem_euclid(m));
    // floor((v + m) / m) - floor((v + m - width - 1) / m) is 1 exactly there.
    floor_sum(n, m, a, b + m) - floor_sum(n, m, a, b + m - width - 1)
}

/// Two strides without a common divisor over 2^30 rows each, where sums of floors count what is in the window.
#[test]
fn two_large_strides() {
    let mut random = Random(3);
    let mut seen = [0; 2];
    for _ in 0..4_000 {
        let bits = 20 + random.below(11);
        let (a, b) = (
            (1i128 << bits) + random.below(1 << 18) as i128,
            (1i128 << bits) + random.below(1 << 18) as i128,
        );
        let most = random.pick(&[1i64 << 30, 1 << 24, 1 << 14, 5]);
        let width = random.pick(&[0i128, 3, 30, 2_000]);
        // y is free enough to take any multiple of b: what is left is whether a x meets a residue.
        let far = b * (1 << 32);
        let window = far + random.below(1 << 30) as i128;
        let sum = sum(&[(a, most), (b, 1 << 34)], window, window + width);
        let want = residues(i128::from(most) + 1, b, -a, window + width, width) > 0;
        assert_eq!(sum.is_possible(), want, "{sum:?}");
        seen[usize::from(want)] += 1;
    }
    assert!(seen.iter().all(|&n| n > 200), "{seen:?}");
}

/// Sums that are there by construction, and the same without the one point that makes them.
#[test]
fn large_sums_by_construction() {
    let mut random = Random(4);
    for _ in 0..3_000 {
        let count = 2 + random.below(7) as usize;
        let bits = random.pick(&[20, 31, 40]);
        let terms: Vec<(i128, i64)> = (0..count)
            .map(|_| {
                ((1i128 << bits) + random.below(1 << 20) as i128, {
                    let size = 1 << random.pick(&[4, 12, 20]);
                    3 + random.below(size)
                })
            })
            .collect();
        let at: i128 = terms.iter().map(|&(s, m)| s * random.below(m + 1) as i128).sum();
        assert!(sum(&terms, at, at).is_possible(), "{terms:?} {at}");
        assert!(lattice::reaches(&sum(&terms, at, at)), "{terms:?} {at}");
    }
}

/// Steps M, M + 1 and M + 2 of few values: the sum is M times how many there are, and a rest that is much smaller.
#[test]
fn steps_that_differ_little() {
    let mut random = Random(5);
    let mut seen = [0; 2];
    for _ in 0..2_000 {
        let large = (1i128 << 40) + random.below(1 << 30) as i128;
        let most: [i64; 3] = std::array::from_fn(|_| 3 + random.below(1 << 20));
        let terms: Vec<(i128, i64)> = (0..3).map(|i| (large + i as i128, most[i])).collect();
        let number = random.below(most.iter().sum::<i64>());
        let rest = random.below(2 * number.max(1) + 3);
        let at = large * i128::from(number) + i128::from(rest);
        // x + y + z = number, y + 2 z = rest: z = rest - number + x and y = 2 number - rest - 2 x.
        let from = [0, number - rest, (2 * number - rest - most[1] + 1).div_euclid(2)];
        let to = [most[0], most[2] + number - rest, (2 * number - rest).div_euclid(2)];
        let want = from.iter().max() <= to.iter().min();
        let sum = sum(&terms, at, at);
        assert_eq!(sum.is_possible(), want, "{sum:?}");
        assert_eq!(lattice::reaches(&sum), want, "{sum:?}");
        seen[usize::from(want)] += 1;
    }
    assert!(seen.iter().all(|&n| n > 200), "{seen:?}");
}

/// The number of steps depends on the number of terms, not on their size.
#[test]
fn the_hardest_sums_take_few_planes() {
    let mut random = Random(6);
    let mut most_planes = 0;
    for _ in 0..6_000 {
        let count = 2 + random.below(7) as usize;
        let bits = random.pick(&[16, 33, 40, 60]);
        let terms: Vec<(i128, i64)> = (0..count)
            .map(|_| {
                let (near, size) = (random.pick(&[3, 10, 16]), random.pick(&[2, 5, 20, 59 - bits.min(57)]));
                let step = (1i128 << bits) + random.below(1 << near) as i128;
                (step, 3 + random.below(1 << size))
            })
            .collect();
        let total: i128 = terms.iter().map(|&(s, m)| s * i128::from(m)).sum();
        let low = (total / 1000 * random.below(1000) as i128) + random.below(1 << 16) as i128;
        let sum = sum(&terms, low, low + random.pick(&[0, 3, 1000]));
        most_planes = most_planes.max(lattice::planes(&sum));
    }
    assert!(most_planes < 400, "{most_planes}");
}

#[test]
fn rows_that_interleave_or_meet() {
    let f32s = |at: i64, dims: &[(i64, i64)]| view(Dtype::F32, BASE + at, dims);
    // Halves of the columns of a merged buffer, and one column more.
    let left = f32s(0, &[(4, 128), (16, 4)]);
    assert!(!left.shares_bytes(&f32s(64, &[(4, 128), (16, 4)])));
    assert!(left.shares_bytes(&f32s(60, &[(4, 128), (16, 4)])));
    // Keys and values of a slot one after the other; F16 beside F32.
    let keys = view(Dtype::F16, BASE, &[(64, 1024), (4, 128), (64, 2)]);
    assert!(!keys.shares_bytes(&view(Dtype::F16, BASE + 512, &[(64, 1024), (4, 128), (64, 2)])));
    assert!(!keys.shares_bytes(&f32s(512, &[(64, 1024), (2, 256), (64, 4)])));
    assert!(keys.shares_bytes(&f32s(508, &[(64, 1024), (2, 256), (64, 4)])));
    // Another stride at the same address, and a row below.
    assert!(f32s(0, &[(4, 128), (32, 4)]).shares_bytes(&f32s(0, &[(4, 256), (32, 4)])));
    assert!(f32s(0, &[(4, 128), (32, 4)]).shares_bytes(&f32s(128, &[(4, 128), (32, 4)])));
    // Rows that overlap, that touch, and that are the same.
    assert!(f32s(0, &[(4, 64), (32, 4)]).overlaps_itself());
    assert!(!f32s(0, &[(4, 128), (32, 4)]).overlaps_itself());
    assert!(f32s(0, &[(4, 0), (32, 4)]).overlaps_itself());
    // A stride over one row, or over none, says nothing.
    assert!(!f32s(0, &[(1, 0), (32, 4)]).overlaps_itself());
    assert!(!f32s(0, &[(0, 0), (32, 4)]).overlaps_itself());
    assert!(!f32s(0, &[(0, 4), (32, 4)]).shares_bytes(&left));
    // Strides that do not nest, and yet share nothing: of 3 and of 4 units.
    assert!(!f32s(0, &[(4, 12), (3, 16), (1, 4)]).overlaps_itself());
    assert!(f32s(0, &[(5, 12), (4, 16), (1, 4)]).overlaps_itself());
}

#[test]
fn views_beyond_all_memory_are_decided_at_once() {
    let rows = 1i64 << 29;
    let huge = |at: i64, a: i64, b: i64| view(Dtype::F32, BASE + at, &[(rows, a), (2 * rows, b), (1, 4)]);
    // Coprime strides just above the number of rows: two places meet only where both indices are apart by a stride.
    let (a, b) = (4 * (rows + 1), 4 * (rows + 3));
    let began = std::time::Instant::now();
    let mut overlaps = 0;
    for shift in 0..200 {
        overlaps += u32::from(huge(0, a, b).shares_bytes(&huge(4 * shift, a + 8, b + 16)));
        overlaps += u32::from(huge(0, a, b).overlaps_itself());
        overlaps += u32::from(huge(0, a, b).shares_bytes(&huge(i64::MAX / 4 / 16 * 16, a, b)));
    }
    assert!(overlaps > 0);
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}

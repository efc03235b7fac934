//! Draws a token from each row of logits. The arithmetic is integers, or f32 operations that every device rounds alike
//! (kernels/sample_weight.cuh has the same), so that both backends draw the same tokens.

use super::argmax::{advance, greatest};
use super::element::load_row;
use crate::abi::View;
use crate::ops::Reference;
use crate::ops::sample::{Choice, SamplePlan};
use crate::runtime::CpuBackend;
use std::collections::BinaryHeap;
use std::f32::consts::LOG2_E;

impl Reference for SamplePlan {
    fn run(&self, cpu: &CpuBackend) {
        let (rows, n) = (self.logits.dim(0) as usize, self.logits.dim(1) as usize);
        cpu.for_each(rows, 16 * n, |row| {
            let mut logits = vec![0.0; n];
            // SAFETY: the plan checked shapes, types and density; the memory is the caller's contract.
            unsafe { load_row(self.logits.row(&[row as i64]), self.logits.dtype, &mut logits) };
            let key = word(&self.of_rows.row_keys, row).map_or(row as u64, u64::from);
            let step = word(&self.steps, row).unwrap_or(0);
            let choice = choose(self, row);
            let id = draw(&choice, &mut logits, random(choice.seed, key, step));
            unsafe { self.ids.data.cast::<i32>().add(row).write(id as i32) };
        });
        advance(&self.counters);
    }
}

/// Element `i` of an operand of 32-bit numbers.
fn word(view: &Option<View>, i: usize) -> Option<u32> {
    // SAFETY: as above.
    view.map(|view| unsafe { view.data.cast::<u32>().add(i).read() })
}

/// What a row is drawn by. Its own numbers, which nobody checked, are clamped to their ranges, a NaN to 0.
fn choose(p: &SamplePlan, row: usize) -> Choice {
    let number = |view, greatest: f32| {
        let value = f32::from_bits(word(view, row)?);
        Some(if value > 0.0 { value.min(greatest) } else { 0.0 })
    };
    let (of_rows, mut choice) = (&p.of_rows, p.choice);
    if let Some(temperature) = number(&of_rows.temperatures, f32::MAX) {
        choice = choice.temperature(temperature);
    }
    if let Some(top_k) = word(&of_rows.top_ks, row) {
        choice = choice.top_k((top_k as i32).max(0) as u32, p.logits.dim(1));
    }
    if let Some(top_p) = number(&of_rows.top_ps, 1.0) {
        choice = choice.top_p(top_p);
    }
    if let Some(min_p) = number(&of_rows.min_ps, 1.0) {
        choice = choice.min_p(min_p);
    }
    if let (Some(low), Some(high)) = (word(&of_rows.seeds, 2 * row), word(&of_rows.seeds, 2 * row + 1)) {
        choice.seed = u64::from(high) << 32 | u64::from(low);
    }
    choice
}

/// The token of one row that 64 random bits choose.
fn draw(p: &Choice, logits: &mut [f32], random: u64) -> usize {
    for logit in logits.iter_mut().filter(|l| l.is_nan()) {
        *logit = f32::NEG_INFINITY;
    }
    let best = greatest(logits.iter().copied());
    let top = logits[best];
    // Without a logit above minus infinity there are no probabilities; `best` is 0 then.
    if p.greedy || top == f32::NEG_INFINITY {
        return best;
    }
    let cut = cut(p, logits, top);
    let weights: Vec<u64> = logits
        .iter()
        .enumerate()
        .map(|(i, &l)| match order(l, i) >= cut {
            true if p.min_weight == 0 || weight(top, l, LOG2_E) >= p.min_weight => weight(top, l, p.scale),
            _ => 0,
        })
        .collect();
    // Not zero: the greatest logit is kept by every filter and has weight 2^32.
    let total: u64 = weights.iter().sum();
    let mut rest = ((u128::from(random) * u128::from(total)) >> 64) as u64;
    for (i, &weight) in weights.iter().enumerate() {
        if rest < weight {
            return i;
        }
        rest -= weight;
    }
    unreachable!("the draw lies below the sum of the weights")
}

/// The order of the last token that top-k and top-p keep.
fn cut(p: &Choice, logits: &[f32], top: f32) -> u64 {
    if p.top_k == 0 && p.top_p == 0 {
        return 0;
    }
    // Greatest first, and only as many of them as are asked for.
    let orders: Vec<u64> = logits.iter().enumerate().map(|(i, &l)| order(l, i)).collect();
    let mut heap = BinaryHeap::from(orders);
    let sorted = std::iter::from_fn(|| heap.pop());
    let weigh = |order: u64| weight(top, logits[!(order as u32) as usize], LOG2_E);
    if p.top_k == 0 {
        let total = logits.iter().map(|&l| weight(top, l, LOG2_E)).sum();
        return top_p(p, sorted, total, weigh);
    }
    let kept: Vec<u64> = sorted.take(p.top_k as usize).collect();
    match p.top_p {
        0 => kept[kept.len() - 1],
        _ => {
            let total = kept.iter().map(|&order| weigh(order)).sum();
            top_p(p, kept.into_iter(), total, weigh)
        }
    }
}

/// The order of the last token that top-p keeps among these, which weigh `total` or more.
fn top_p(p: &Choice, mut sorted: impl Iterator<Item = u64>, total: u64, weigh: impl Fn(u64) -> u64) -> u64 {
    let target = (u128::from(p.top_p) * u128::from(total)).div_ceil(1 << 32).max(1);
    let mut sum = 0;
    sorted
        .find(|&order| {
            sum += u128::from(weigh(order));
            sum >= target
        })
        .expect("the target is at most the sum")
}

/// One number for value and index: greater for a greater value, and for the lower index of equal values. Not for NaN.
fn order(value: f32, index: usize) -> u64 {
    // -0 + 0 = 0
    let bits = (value + 0.0).to_bits();
    let key = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    u64::from(key) << 32 | u64::from(!(index as u32))
}

/// e^((l - top) * scale / log2(e)) in units of 2^-32, 0 from 2^-34 on. `top` is the greatest logit; with an infinite one
/// the infinite logits alone have weight.
fn weight(top: f32, l: f32, scale: f32) -> u64 {
    if l == top {
        return 1 << 32;
    }
    let u = (top - l) * scale;
    // Also where it is NaN.
    if u.partial_cmp(&34.0) != Some(std::cmp::Ordering::Less) {
        return 0;
    }
    let whole = u as u32;
    let g = u - whole as f32;
    // 2^-g on [0, 1), relative error 2e-7; exactly 1 at 0.
    const COEFFICIENTS: [f32; 7] = [
        0.00010902324,
        -0.0012747484,
        0.00957918,
        -0.05549076,
        0.24022436,
        -0.69314706,
        1.0,
    ];
    let p = COEFFICIENTS.iter().fold(0.0, |p, c| p * g + c);
    let weight = u64::from((p * 16777216.0) as u32) << 8;
    match whole {
        0 => weight,
        _ => (weight + (1 << (whole - 1))) >> whole,
    }
}

/// 64 random bits of row (its number or its key) and step under a seed: Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2,
/// 3").
fn random(key: u64, row: u64, step: u32) -> u64 {
    let [a, b, ..] = philox([row as u32, (row >> 32) as u32, step, 0], key);
    u64::from(b) << 32 | u64::from(a)
}

fn philox(mut counter: [u32; 4], key: u64) -> [u32; 4] {
    let (mut k0, mut k1) = (key as u32, (key >> 32) as u32);
    for _ in 0..10 {
        let a = u64::from(counter[0]) * 0xD251_1F53;
        let b = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ k0,
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ k1,
            a as u32,
        ];
        k0 = k0.wrapping_add(0x9E37_79B9);
        k1 = k1.wrapping_add(0xBB67_AE85);
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the Random123 distribution.
    #[test]
    fn philox_gives_the_known_answers() {
        assert_eq!(philox([0; 4], 0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], u64::MAX),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                0x299f_31d0_a409_3822
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn weights_are_the_exponential() {
        for i in 0..200_000 {
            let below = i as f32 * 1e-4;
            let got = weight(3.0, 3.0 - below, LOG2_E) as f64;
            let want = (f64::from(3.0 - below) - 3.0).exp() * 4294967296.0;
            // Half a unit, and the rounding of exponent and polynomial.
            assert!((got - want).abs() <= 0.5 + 2e-6 * want, "{below}: {got} {want}");
        }
        let inf = f32::INFINITY;
        assert_eq!(weight(1.0, -inf, 1.0), 0);
        assert_eq!(weight(1.0, 1.0, f32::MAX), 1 << 32);
        assert_eq!((weight(inf, inf, 1.0), weight(inf, 5.0, 1.0)), (1 << 32, 0));
        assert_eq!(weight(34.0, 0.0, 1.0), 0);
    }
}

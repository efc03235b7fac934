//! Blocks of 32 elements, each with a scale of its own.

use super::half_at;

/// d: f16, 16 bytes of nibbles: element l low, element l + 16 high.
pub(super) fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    let (low, high) = out.split_at_mut(16);
    for l in 0..16 {
        let q = block[2 + l];
        low[l] = d * (i32::from(q & 15) - 8) as f32;
        high[l] = d * (i32::from(q >> 4) - 8) as f32;
    }
}

/// d: f16, 32 signed bytes.
pub(super) fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    for l in 0..32 {
        out[l] = d * f32::from(block[2 + l] as i8);
    }
}

/// d, m: f16, nibbles as in Q4_0.
pub(super) fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    let (low, high) = out.split_at_mut(16);
    for l in 0..16 {
        let q = block[4 + l];
        low[l] = d * f32::from(q & 15) + m;
        high[l] = d * f32::from(q >> 4) + m;
    }
}

/// The 32 elements of Q5_0 and Q5_1: nibbles as in Q4_0, and for element l bit l of the 32 bits `qh` as a fifth one.
fn five_bits<'a>(qh: &'a [u8], qs: &'a [u8]) -> impl Fn(usize) -> u8 + 'a {
    move |l| qs[l % 16] >> (4 * (l / 16)) & 15 | (qh[l / 8] >> (l % 8) & 1) << 4
}

/// d: f16, qh: 32 bits, 16 bytes of nibbles.
pub(super) fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    let q = five_bits(&block[2..6], &block[6..]);
    for (l, out) in out.iter_mut().enumerate() {
        *out = d * (i32::from(q(l)) - 16) as f32;
    }
}

/// d, m: f16, qh: 32 bits, 16 bytes of nibbles.
pub(super) fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    let q = five_bits(&block[4..8], &block[8..]);
    for (l, out) in out.iter_mut().enumerate() {
        *out = d * f32::from(q(l)) + m;
    }
}

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

/// Element l and element l + 16 of Q5_0 and Q5_1: nibbles as in Q4_0, and of element l bit l of `qh` as a fifth bit.
fn five_bits(qh: u32, qs: u8, l: usize) -> (i32, i32) {
    let (low, high) = (qh >> l & 1, qh >> (l + 16) & 1);
    (
        (u32::from(qs & 15) | low << 4) as i32,
        (u32::from(qs >> 4) | high << 4) as i32,
    )
}

fn word_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// d: f16, qh: 32 bits, 16 bytes of nibbles.
pub(super) fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let (d, qh) = (half_at(block, 0), word_at(block, 2));
    let (low, high) = out.split_at_mut(16);
    for l in 0..16 {
        let (a, b) = five_bits(qh, block[6 + l], l);
        low[l] = d * (a - 16) as f32;
        high[l] = d * (b - 16) as f32;
    }
}

/// d, m: f16, qh: 32 bits, 16 bytes of nibbles.
pub(super) fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m, qh) = (half_at(block, 0), half_at(block, 2), word_at(block, 4));
    let (low, high) = out.split_at_mut(16);
    for l in 0..16 {
        let (a, b) = five_bits(qh, block[8 + l], l);
        low[l] = d * a as f32 + m;
        high[l] = d * b as f32 + m;
    }
}

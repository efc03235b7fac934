//! Blocks of 32 elements, each with a scale of its own.

use super::packed::{self, Element, Scales};
use super::{Format, at, half_at, nibble};

/// d: f16, 16 bytes of nibbles: element l low, element l + 16 high.
pub(super) struct q4_0;
impl Format<18, 32> for q4_0 {
    const PLANE: fn(&Element, usize) -> usize = packed::nibbles;

    fn expand(block: &[u8; 18], out: &mut [f32; 32]) {
        let d = half_at(block, 0);
        let (low, high) = out.split_at_mut(16);
        for l in 0..16 {
            let q = block[2 + l];
            low[l] = d * (i32::from(q & 15) - 8) as f32;
            high[l] = d * (i32::from(q >> 4) - 8) as f32;
        }
    }

    fn native_quant(b: usize, e: usize, bit: usize) -> usize {
        nibble(b * Self::STEP + 2, e, bit)
    }

    fn scales(row: &mut Scales) {
        row.halves(Self::STEP);
    }
}

/// d: f16, 32 signed bytes.
pub(super) struct q8_0;
impl Format<34, 32> for q8_0 {
    const PLANE: fn(&Element, usize) -> usize = packed::bytes;

    fn expand(block: &[u8; 34], out: &mut [f32; 32]) {
        let d = half_at(block, 0);
        for l in 0..32 {
            out[l] = d * f32::from(block[2 + l] as i8);
        }
    }

    fn native_quant(b: usize, e: usize, bit: usize) -> usize {
        at(b * Self::STEP + 2 + e, bit)
    }

    fn scales(row: &mut Scales) {
        row.halves(Self::STEP);
    }
}

/// d, m: f16, nibbles as in Q4_0.
pub(super) struct q4_1;
impl Format<20, 32> for q4_1 {
    const PLANE: fn(&Element, usize) -> usize = packed::nibbles;

    fn expand(block: &[u8; 20], out: &mut [f32; 32]) {
        let (d, m) = (half_at(block, 0), half_at(block, 2));
        let (low, high) = out.split_at_mut(16);
        for l in 0..16 {
            let q = block[4 + l];
            low[l] = d * f32::from(q & 15) + m;
            high[l] = d * f32::from(q >> 4) + m;
        }
    }

    fn native_quant(b: usize, e: usize, bit: usize) -> usize {
        nibble(b * Self::STEP + 4, e, bit)
    }

    fn scales(row: &mut Scales) {
        row.pairs_of_halves(Self::STEP);
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
pub(super) struct q5_0;
impl Format<22, 32> for q5_0 {
    const PLANE: fn(&Element, usize) -> usize = packed::fives;

    fn expand(block: &[u8; 22], out: &mut [f32; 32]) {
        let (d, qh) = (half_at(block, 0), word_at(block, 2));
        let (low, high) = out.split_at_mut(16);
        for l in 0..16 {
            let (a, b) = five_bits(qh, block[6 + l], l);
            low[l] = d * (a - 16) as f32;
            high[l] = d * (b - 16) as f32;
        }
    }

    fn native_quant(b: usize, e: usize, bit: usize) -> usize {
        match bit {
            0..4 => nibble(b * Self::STEP + 6, e, bit),
            _ => at(b * Self::STEP + 2, e),
        }
    }

    fn scales(row: &mut Scales) {
        row.halves(Self::STEP);
    }
}

/// d, m: f16, qh: 32 bits, 16 bytes of nibbles.
pub(super) struct q5_1;
impl Format<24, 32> for q5_1 {
    const PLANE: fn(&Element, usize) -> usize = packed::fives;

    fn expand(block: &[u8; 24], out: &mut [f32; 32]) {
        let (d, m, qh) = (half_at(block, 0), half_at(block, 2), word_at(block, 4));
        let (low, high) = out.split_at_mut(16);
        for l in 0..16 {
            let (a, b) = five_bits(qh, block[8 + l], l);
            low[l] = d * a as f32 + m;
            high[l] = d * b as f32 + m;
        }
    }

    fn native_quant(b: usize, e: usize, bit: usize) -> usize {
        match bit {
            0..4 => nibble(b * Self::STEP + 8, e, bit),
            _ => at(b * Self::STEP + 4, e),
        }
    }

    fn scales(row: &mut Scales) {
        row.pairs_of_halves(Self::STEP);
    }
}

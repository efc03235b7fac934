//! Formats whose four-bit codes are places in a table of values.

use super::packed::{self, Element, Scales};
use super::{Format, at, half_at, nibble};

const IQ4: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
/// Twice the values of E2M1.
const E2M1: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// 16 bytes of codes: element l has the low nibble of byte l, element l + 16 the high one.
fn look_up(table: &[i8; 16], scale: f32, codes: &[u8], out: &mut [f32; 32]) {
    let (low, high) = out.split_at_mut(16);
    for l in 0..16 {
        low[l] = scale * f32::from(table[usize::from(codes[l] & 15)]);
        high[l] = scale * f32::from(table[usize::from(codes[l] >> 4)]);
    }
}

/// d: f16, 16 bytes of codes.
pub(super) struct iq4_nl;
impl Format<18, 32> for iq4_nl {
    const PLANE: fn(&Element, usize) -> usize = packed::selectors;

    fn expand(block: &[u8; 18], out: &mut [f32; 32]) {
        look_up(&IQ4, half_at(block, 0), &block[2..], out);
    }

    fn native_quant(b: usize, e: usize, bit: usize) -> usize {
        nibble(b * Self::STEP + 2, e, bit)
    }

    fn scales(row: &mut Scales) {
        row.halves(Self::STEP);
    }
}

/// d: f16, 16 bits of upper scale bits, 4 bytes of lower ones, 128 bytes of codes. The scale of sub-block j has the
/// nibble j % 2 of lower byte j / 2 and bits 2 j of the upper ones.
pub(super) struct iq4_xs;
impl Format<136, 256> for iq4_xs {
    const PLANE: fn(&Element, usize) -> usize = packed::selectors;

    fn expand(block: &[u8; 136], out: &mut [f32; 256]) {
        let d = half_at(block, 0);
        let upper = u16::from_le_bytes([block[2], block[3]]);
        for (j, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let low = block[4 + j / 2] >> (4 * (j % 2)) & 15;
            let high = (upper >> (2 * j) & 3) as u8;
            let scale = d * f32::from((low | high << 4) as i8 - 32);
            look_up(&IQ4, scale, &block[8 + 16 * j..], out);
        }
    }

    fn native_quant(b: usize, e: usize, bit: usize) -> usize {
        nibble(8 + b * 16, e, bit)
    }

    fn scales(row: &mut Scales) {
        for b in 0..8 {
            let place = 2 * row.half + b % 2;
            for bit in 0..4 {
                row.bit(at(4 + b / 2, b % 2 * 4 + bit), at(row.lane(b / 2) * 2, 4 * place + bit));
            }
            for bit in 0..2 {
                row.bit(
                    at(2 + b / 4, b % 4 * 2 + bit),
                    at(64 + row.lane(b / 2), 2 * place + bit),
                );
            }
        }
        row.run(0, 96 + row.g * 4 + row.half * 2, 16);
    }
}

/// A power of two: 2^(e - 127), halved because the table's values are doubled; 16 bytes of codes.
pub(super) struct mxfp4;
impl Format<17, 32> for mxfp4 {
    const PLANE: fn(&Element, usize) -> usize = packed::selectors;

    fn expand(block: &[u8; 17], out: &mut [f32; 32]) {
        let e = u32::from(block[0]);
        // Below 2^-126 an f32 is subnormal: its top mantissa bits are the powers of two.
        let bits = if e < 2 { 0x0020_0000 << e } else { (e - 1) << 23 };
        look_up(&E2M1, f32::from_bits(bits), &block[1..], out);
    }

    fn native_quant(b: usize, e: usize, bit: usize) -> usize {
        nibble(b * Self::STEP + 1, e, bit)
    }

    fn scales(row: &mut Scales) {
        for b in 0..8 {
            row.run(b * Self::STEP, row.lane(b / 2) * 4 + row.half * 2 + b % 2, 8);
        }
    }
}

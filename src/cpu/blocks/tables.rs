//! Formats whose four-bit codes are places in a table of values.

use super::half_at;

const IQ4: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
/// Twice the values of E2M1.
const E2M1: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// 16 bytes of codes: element l has the low nibble of byte l, element l + 16 the high one.
fn expand(table: &[i8; 16], scale: f32, codes: &[u8], out: &mut [f32; 32]) {
    let (low, high) = out.split_at_mut(16);
    for l in 0..16 {
        low[l] = scale * f32::from(table[usize::from(codes[l] & 15)]);
        high[l] = scale * f32::from(table[usize::from(codes[l] >> 4)]);
    }
}

/// d: f16, 16 bytes of codes.
pub(super) fn iq4_nl(block: &[u8; 18], out: &mut [f32; 32]) {
    expand(&IQ4, half_at(block, 0), &block[2..], out);
}

/// d: f16, 16 bits of upper scale bits, 4 bytes of lower ones, 128 bytes of codes. The scale of sub-block j has the
/// nibble j % 2 of lower byte j / 2 and bits 2 j of the upper ones.
pub(super) fn iq4_xs(block: &[u8; 136], out: &mut [f32; 256]) {
    let d = half_at(block, 0);
    let upper = u16::from_le_bytes([block[2], block[3]]);
    for (j, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let low = block[4 + j / 2] >> (4 * (j % 2)) & 15;
        let high = (upper >> (2 * j) & 3) as u8;
        let scale = d * f32::from((low | high << 4) as i8 - 32);
        expand(&IQ4, scale, &block[8 + 16 * j..], out);
    }
}

/// A power of two: 2^(e - 127), halved because the table's values are doubled; 16 bytes of codes.
pub(super) fn mxfp4(block: &[u8; 17], out: &mut [f32; 32]) {
    let e = u32::from(block[0]);
    // Below 2^-126 an f32 is subnormal: its top mantissa bits are the powers of two.
    let bits = if e < 2 { 0x0020_0000 << e } else { (e - 1) << 23 };
    expand(&E2M1, f32::from_bits(bits), &block[1..], out);
}

//! Blocks of 256 elements. All but TQ2_0 have a quantised scale, and in some formats a minimum, for each 16 or 32 of them.

use super::packed::{self, Element, Scales};
use super::{Format, at, half_at};

/// Two bits of an element from byte `start` on: 32 bytes n hold those of blocks 4 n + s at bit 2 s.
fn pair(start: usize, b: usize, e: usize, bit: usize) -> usize {
    at(start + b / 4 * 32 + e, b % 4 * 2 + bit)
}

/// A nibble from byte `start` on: 32 bytes hold blocks 2 j (low) and 2 j + 1 (high).
fn block_nibble(start: usize, b: usize, e: usize, bit: usize) -> usize {
    at(start + b / 2 * 32 + e, b % 2 * 4 + bit)
}

/// 16 bytes of scales (low nibble) and minima (high), 64 bytes of quants, d, dmin: f16. Half n holds four runs j of 32:
/// element l of run j is bits 2 j of qs[32 n + l].
pub(super) struct q2_k;
impl Format<84, 256> for q2_k {
    const PLANE: fn(&Element, usize) -> usize = packed::pairs;

    fn expand(block: &[u8; 84], out: &mut [f32; 256]) {
        let (d, dmin) = (half_at(block, 80), half_at(block, 82));
        for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let (n, j, first) = (group / 8, group / 2 % 4, 16 * (group % 2));
            let scale = d * f32::from(block[group] & 15);
            let minimum = dmin * f32::from(block[group] >> 4);
            let qs = &block[16 + 32 * n + first..][..16];
            for l in 0..16 {
                out[l] = scale * f32::from(qs[l] >> (2 * j) & 3) - minimum;
            }
        }
    }

    fn native_quant(b: usize, e: usize, bit: usize) -> usize {
        pair(16, b, e, bit)
    }

    fn scales(row: &mut Scales) {
        for group in 0..16 {
            row.run(group, row.lane(group / 4) * 8 + row.half * 4 + group % 4, 8);
        }
        row.run(80, 256 + row.g * 8 + row.half * 4, 32);
    }
}

/// 64 bytes of quants as in Q2_K, d: f16.
pub(super) struct tq2_0;
impl Format<66, 256> for tq2_0 {
    const PLANE: fn(&Element, usize) -> usize = packed::pairs;

    fn expand(block: &[u8; 66], out: &mut [f32; 256]) {
        let d = half_at(block, 64);
        for (run, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let qs = &block[32 * (run / 4)..][..32];
            for l in 0..32 {
                let q = qs[l] >> (2 * (run % 4)) & 3;
                out[l] = d * f32::from(q as i8 - 1);
            }
        }
    }

    fn native_quant(b: usize, e: usize, bit: usize) -> usize {
        pair(0, b, e, bit)
    }

    fn scales(row: &mut Scales) {
        row.run(64, row.g * 4 + row.half * 2, 16);
    }
}

/// 32 bytes hmask, 64 bytes of quants, 12 bytes of scales, d: f16. Two bits of a quant lie as in Q2_K; the third, of run
/// r of eight, is bit r of hmask[l]. Of scale g the low nibble is half g / 8 of byte g % 8, the upper two bits are
/// bits 2 (g / 4) of byte 8 + g % 4.
pub(super) struct q3_k;
impl Format<110, 256> for q3_k {
    const PLANE: fn(&Element, usize) -> usize = packed::threes;

    fn expand(block: &[u8; 110], out: &mut [f32; 256]) {
        let (hmask, scales, d) = (&block[..32], &block[96..108], half_at(block, 108));
        for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let (n, run, first) = (group / 8, group / 2, 16 * (group % 2));
            let low = scales[group % 8] >> (4 * (group / 8)) & 15;
            let high = scales[8 + group % 4] >> (2 * (group / 4)) & 3;
            let scale = d * f32::from((low | high << 4) as i8 - 32);
            let qs = &block[32 + 32 * n..][..32];
            for (l, value) in out.iter_mut().enumerate() {
                let l = first + l;
                let q = qs[l] >> (2 * (run % 4)) & 3 | (hmask[l] >> run & 1) << 2;
                *value = scale * f32::from(q as i8 - 4);
            }
        }
    }

    fn native_quant(b: usize, e: usize, bit: usize) -> usize {
        match bit {
            0..2 => pair(32, b, e, bit),
            _ => at(e, b),
        }
    }

    fn scales(row: &mut Scales) {
        for group in 0..16 {
            for bit in 0..6 {
                let native = match bit {
                    0..4 => at(96 + group % 8, 4 * (group / 8) + bit),
                    _ => at(104 + group % 4, 2 * (group / 4) + bit - 4),
                };
                row.six_bits(native, group / 4, group % 4, bit);
            }
        }
        row.run(108, 192 + row.g * 4 + row.half * 2, 16);
    }
}

/// Scale and minimum of sub-block `j` of Q4_K and Q5_K: 6 bits each, packed in twelve bytes.
fn k_scale(block: &[u8], j: usize) -> (f32, f32) {
    let (d, dmin, s) = (half_at(block, 0), half_at(block, 2), &block[4..16]);
    let (scale, minimum) = if j < 4 {
        (s[j] & 63, s[j + 4] & 63)
    } else {
        (s[j + 4] & 15 | (s[j - 4] >> 6) << 4, s[j + 4] >> 4 | (s[j] >> 6) << 4)
    };
    (d * f32::from(scale), dmin * f32::from(minimum))
}

/// Bit `bit` of scale and minimum `b` of Q4_K and Q5_K in a native block.
fn k_scale_bits(b: usize, bit: usize) -> [usize; 2] {
    match (b, bit) {
        (0..4, _) => [at(4 + b, bit), at(8 + b, bit)],
        (_, 0..4) => [at(8 + b, bit), at(8 + b, 4 + bit)],
        _ => [at(b, 2 + bit), at(4 + b, 2 + bit)],
    }
}

fn k_scales(row: &mut Scales) {
    for b in 0..8 {
        for bit in 0..6 {
            let [scale, minimum] = k_scale_bits(b, bit);
            row.six_bits(scale, b / 2, b % 2, bit);
            row.six_bits(minimum, b / 2, 2 + b % 2, bit);
        }
    }
    row.run(0, 192 + row.g * 8 + row.half * 4, 32);
}

/// d, dmin: f16, 12 bytes of scales, 128 bytes of nibbles: 32 bytes hold sub-blocks 2g (low) and 2g + 1 (high).
pub(super) struct q4_k;
impl Format<144, 256> for q4_k {
    const PLANE: fn(&Element, usize) -> usize = packed::nibbles;

    fn expand(block: &[u8; 144], out: &mut [f32; 256]) {
        for (j, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (scale, minimum) = k_scale(block, j);
            let qs = &block[16 + 32 * (j / 2)..][..32];
            let shift = 4 * (j % 2);
            for l in 0..32 {
                out[l] = scale * f32::from(qs[l] >> shift & 15) - minimum;
            }
        }
    }

    fn native_quant(b: usize, e: usize, bit: usize) -> usize {
        block_nibble(16, b, e, bit)
    }

    fn scales(row: &mut Scales) {
        k_scales(row);
    }
}

/// As Q4_K with a fifth bit: bit j of byte l of `qh` belongs to element l of sub-block j.
pub(super) struct q5_k;
impl Format<176, 256> for q5_k {
    const PLANE: fn(&Element, usize) -> usize = packed::fives;

    fn expand(block: &[u8; 176], out: &mut [f32; 256]) {
        let qh = &block[16..48];
        for (j, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (scale, minimum) = k_scale(block, j);
            let qs = &block[48 + 32 * (j / 2)..][..32];
            let shift = 4 * (j % 2);
            for l in 0..32 {
                let q = qs[l] >> shift & 15 | (qh[l] >> j & 1) << 4;
                out[l] = scale * f32::from(q) - minimum;
            }
        }
    }

    fn native_quant(b: usize, e: usize, bit: usize) -> usize {
        match bit {
            0..4 => block_nibble(48, b, e, bit),
            _ => at(16 + e, b),
        }
    }

    fn scales(row: &mut Scales) {
        k_scales(row);
    }
}

/// 128 bytes ql, 64 bytes qh, 16 signed scales, d: f16. Half n holds four runs j of 32: element l of run j has nibble
/// j / 2 of ql[64 n + 32 (j & 1) + l] and bits 2 j of qh[32 n + l].
pub(super) struct q6_k;
impl Format<210, 256> for q6_k {
    const PLANE: fn(&Element, usize) -> usize = packed::sixes;

    fn expand(block: &[u8; 210], out: &mut [f32; 256]) {
        let d = half_at(block, 208);
        for (run, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (n, j) = (run / 4, run % 4);
            let ql = &block[64 * n + 32 * (j % 2)..][..32];
            let qh = &block[128 + 32 * n..][..32];
            for (half, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
                let scale = d * f32::from(block[192 + 2 * run + half] as i8);
                for (l, value) in out.iter_mut().enumerate() {
                    let l = 16 * half + l;
                    let q = ql[l] >> (4 * (j / 2)) & 15 | (qh[l] >> (2 * j) & 3) << 4;
                    *value = scale * f32::from(q as i8 - 32);
                }
            }
        }
    }

    fn native_quant(b: usize, e: usize, bit: usize) -> usize {
        match bit {
            0..4 => at(b / 4 * 64 + b % 2 * 32 + e, b % 4 / 2 * 4 + bit),
            _ => pair(128, b, e, bit - 4),
        }
    }

    fn scales(row: &mut Scales) {
        for group in 0..16 {
            row.run(192 + group, row.lane(group / 4) * 8 + row.half * 4 + group % 4, 8);
        }
        row.run(208, 256 + row.g * 4 + row.half * 2, 16);
    }
}

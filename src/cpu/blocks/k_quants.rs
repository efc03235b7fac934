//! Blocks of 256 elements with a quantised scale, and in some formats a minimum, for each 16 or 32 of them.

use super::half_at;

/// 16 bytes of scales (low nibble) and minima (high), 64 bytes of quants, d, dmin: f16. Half n holds four runs j of 32:
/// element l of run j is bits 2 j of qs[32 n + l].
pub(super) fn q2_k(block: &[u8; 84], out: &mut [f32; 256]) {
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

/// 32 bytes hmask, 64 bytes of quants, 12 bytes of scales, d: f16. Two bits of a quant lie as in Q2_K; the third, of run
/// r of eight, is bit r of hmask[l]. Of scale g the low nibble is half g / 8 of byte g % 8, the upper two bits are
/// bits 2 (g / 4) of byte 8 + g % 4.
pub(super) fn q3_k(block: &[u8; 110], out: &mut [f32; 256]) {
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

/// d, dmin: f16, 12 bytes of scales, 128 bytes of nibbles: 32 bytes hold sub-blocks 2g (low) and 2g + 1 (high).
pub(super) fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    for (j, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, minimum) = k_scale(block, j);
        let qs = &block[16 + 32 * (j / 2)..][..32];
        let shift = 4 * (j % 2);
        for l in 0..32 {
            out[l] = scale * f32::from(qs[l] >> shift & 15) - minimum;
        }
    }
}

/// As Q4_K with a fifth bit: bit j of byte l of `qh` belongs to element l of sub-block j.
pub(super) fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
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

/// 128 bytes ql, 64 bytes qh, 16 signed scales, d: f16. Half n holds four runs j of 32: element l of run j has nibble
/// j / 2 of ql[64 n + 32 (j & 1) + l] and bits 2 j of qh[32 n + l].
pub(super) fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
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

//! Weight rows as f32. Block formats are expanded bit for bit as the GGUF specification's reference does: scales are
//! widened to f32, every product and difference is rounded to f32.

use super::element::load_row;
use crate::abi::Dtype;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// Elements `first..first + out.len()` of a weight row. For block formats both ends are multiples of the block.
///
/// # Safety
/// The elements lie in memory that may be read, aligned for `dtype`.
pub(crate) unsafe fn dequantize(row: *const u8, dtype: Dtype, first: usize, out: &mut [f32]) {
    let start = row.wrapping_add(first / dtype.block_elements() * dtype.block_bytes());
    unsafe {
        match dtype {
            Dtype::F32 => out.copy_from_slice(std::slice::from_raw_parts(start.cast::<f32>(), out.len())),
            Dtype::F16 => std::slice::from_raw_parts(start.cast::<f16>(), out.len()).convert_to_f32_slice(out),
            Dtype::BF16 => std::slice::from_raw_parts(start.cast::<bf16>(), out.len()).convert_to_f32_slice(out),
            Dtype::Q4_0 => blocks(start, out, q4_0),
            Dtype::Q8_0 => blocks(start, out, q8_0),
            Dtype::Q4_K => blocks(start, out, q4_k),
            Dtype::Q5_K => blocks(start, out, q5_k),
            Dtype::Q6_K => blocks(start, out, q6_k),
            // No weights.
            Dtype::I32 | Dtype::Q8_1 => load_row(start, dtype, out),
        }
    }
}

unsafe fn blocks<const BYTES: usize, const ELEMENTS: usize>(
    mut from: *const u8,
    out: &mut [f32],
    expand: impl Fn(&[u8; BYTES], &mut [f32; ELEMENTS]),
) {
    let (chunks, rest) = out.as_chunks_mut::<ELEMENTS>();
    debug_assert!(rest.is_empty());
    for chunk in chunks {
        expand(unsafe { &*from.cast::<[u8; BYTES]>() }, chunk);
        from = from.wrapping_add(BYTES);
    }
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// d: f16, 16 bytes of nibbles: element l low, element l + 16 high.
fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    let (low, high) = out.split_at_mut(16);
    for l in 0..16 {
        let q = block[2 + l];
        low[l] = d * (i32::from(q & 15) - 8) as f32;
        high[l] = d * (i32::from(q >> 4) - 8) as f32;
    }
}

/// d: f16, 32 signed bytes.
fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    for l in 0..32 {
        out[l] = d * f32::from(block[2 + l] as i8);
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
fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
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
fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
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
fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
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

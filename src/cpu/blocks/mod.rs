//! Weight rows as f32. Block formats are expanded bit for bit as the GGUF specification's reference does: scales are
//! widened to f32, every product and difference is rounded to f32.

mod k_quants;
mod small;
mod tables;

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
            Dtype::Q4_0 => blocks(start, out, small::q4_0),
            Dtype::Q4_1 => blocks(start, out, small::q4_1),
            Dtype::Q5_0 => blocks(start, out, small::q5_0),
            Dtype::Q5_1 => blocks(start, out, small::q5_1),
            Dtype::Q8_0 => blocks(start, out, small::q8_0),
            Dtype::Q2_K => blocks(start, out, k_quants::q2_k),
            Dtype::Q3_K => blocks(start, out, k_quants::q3_k),
            Dtype::Q4_K => blocks(start, out, k_quants::q4_k),
            Dtype::Q5_K => blocks(start, out, k_quants::q5_k),
            Dtype::Q6_K => blocks(start, out, k_quants::q6_k),
            Dtype::IQ4_NL => blocks(start, out, tables::iq4_nl),
            Dtype::IQ4_XS => blocks(start, out, tables::iq4_xs),
            Dtype::MXFP4 => blocks(start, out, tables::mxfp4),
            // No weights.
            Dtype::I32 | Dtype::ACT_I8 => load_row(start, dtype, out),
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

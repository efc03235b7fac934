//! Weights of every type for tests: random contents, and what a launch makes of them.

use super::buffer::{Spec, encode};
use super::env::{Env, ok};
use super::parity::run_once;
use super::random::Random;
use half::f16;
use reflex_infer::*;
use std::ops::Range;

pub const WEIGHTS: [reflex_dtype; 16] = [
    REFLEX_DTYPE_F32,
    REFLEX_DTYPE_F16,
    REFLEX_DTYPE_BF16,
    REFLEX_DTYPE_Q4_0,
    REFLEX_DTYPE_Q4_1,
    REFLEX_DTYPE_Q5_0,
    REFLEX_DTYPE_Q5_1,
    REFLEX_DTYPE_Q8_0,
    REFLEX_DTYPE_Q2_K,
    REFLEX_DTYPE_Q3_K,
    REFLEX_DTYPE_Q4_K,
    REFLEX_DTYPE_Q5_K,
    REFLEX_DTYPE_Q6_K,
    REFLEX_DTYPE_IQ4_NL,
    REFLEX_DTYPE_IQ4_XS,
    REFLEX_DTYPE_MXFP4,
];

pub fn dtype_name(dtype: reflex_dtype) -> String {
    let name = unsafe { std::ffi::CStr::from_ptr(reflex_dtype_name(dtype)) };
    name.to_string_lossy().to_lowercase()
}

/// Where a block's scales lie, and what they are for weights whose root mean square is near 1.
enum Scales {
    /// Byte offset of each f16 and its magnitude; negative where it is to be (Q4_1, Q5_1: an addend).
    Halves(&'static [(usize, f32)]),
    /// A power of two in the first byte.
    Exponent(u8),
}

fn scales(dtype: reflex_dtype) -> Option<Scales> {
    Some(Scales::Halves(match dtype {
        REFLEX_DTYPE_Q4_0 => &[(0, 0.2)],
        REFLEX_DTYPE_Q4_1 => &[(0, 0.2), (2, -1.5)],
        REFLEX_DTYPE_Q5_0 => &[(0, 0.1)],
        REFLEX_DTYPE_Q5_1 => &[(0, 0.1), (2, -1.5)],
        REFLEX_DTYPE_Q8_0 => &[(0, 0.0135)],
        REFLEX_DTYPE_Q2_K => &[(80, 0.066), (82, 0.1)],
        REFLEX_DTYPE_Q3_K => &[(108, 0.023)],
        REFLEX_DTYPE_Q4_K => &[(0, 0.0066), (2, 0.033)],
        REFLEX_DTYPE_Q5_K => &[(0, 0.0025), (2, 0.038)],
        REFLEX_DTYPE_Q6_K => &[(208, 0.00073)],
        REFLEX_DTYPE_IQ4_NL => &[(0, 0.0145)],
        REFLEX_DTYPE_IQ4_XS => &[(0, 0.00078)],
        // Values up to 6 times a half or a quarter.
        REFLEX_DTYPE_MXFP4 => return Some(Scales::Exponent(126)),
        _ => return None,
    }))
}

fn random_blocks(
    random: &mut Random,
    dtype: reflex_dtype,
    elements: usize,
    mut half: impl FnMut(&mut Random, f32) -> f32,
    mut exponent: impl FnMut(&mut Random, u8) -> u8,
) -> Option<Vec<u8>> {
    let scales = scales(dtype)?;
    let size = reflex_dtype_block_bytes(dtype) as usize;
    let count = elements / reflex_dtype_block_elements(dtype) as usize;
    let mut bytes = random.bytes(count * size);
    for block in bytes.chunks_mut(size) {
        match scales {
            Scales::Halves(halves) => {
                for &(at, magnitude) in halves {
                    let value = f16::from_f32(half(random, magnitude));
                    block[at..at + 2].copy_from_slice(&value.to_le_bytes());
                }
            }
            Scales::Exponent(middle) => block[0] = exponent(random, middle),
        }
    }
    Some(bytes)
}

/// Random weights whose root mean square is near 1 (0.7 to 1.7): normals, or random blocks with scales to suit.
pub fn random_weights(random: &mut Random, dtype: reflex_dtype, elements: usize) -> Vec<u8> {
    let half = |random: &mut Random, magnitude| magnitude * random.range(0.5, 1.5);
    let exponent = |random: &mut Random, middle| middle - random.below(2) as u8;
    random_blocks(random, dtype, elements, half, exponent).unwrap_or_else(|| encode(dtype, &random.normals(elements)))
}

/// The bytes of a block that hold quants, in formats whose weights are `scale * q - minimum`.
fn quants(dtype: reflex_dtype) -> Option<Range<usize>> {
    Some(match dtype {
        REFLEX_DTYPE_Q4_1 => 4..20,
        REFLEX_DTYPE_Q5_1 => 4..24,
        REFLEX_DTYPE_Q2_K => 16..80,
        REFLEX_DTYPE_Q4_K => 16..144,
        REFLEX_DTYPE_Q5_K => 16..176,
        _ => return None,
    })
}

/// Magnitudes of weights, each the sum of its `scale * q` and its minimum: what rounding errors are relative to.
pub fn magnitudes(dtype: reflex_dtype, rows: usize, dim: usize, bytes: &[u8]) -> Vec<f64> {
    let weights = expand(&Env::cpu(), dtype, rows, dim, bytes);
    let minima = match quants(dtype) {
        None => vec![0.0; weights.len()],
        Some(quants) => {
            let mut bytes = bytes.to_vec();
            for block in bytes.chunks_mut(reflex_dtype_block_bytes(dtype) as usize) {
                block[quants.clone()].fill(0);
            }
            expand(&Env::cpu(), dtype, rows, dim, &bytes)
        }
    };
    let pairs = weights.iter().zip(minima).map(|(&w, m)| (f64::from(w), f64::from(m)));
    pairs.map(|(w, m)| (w - m).abs() + m.abs()).collect()
}

/// Random blocks whose scales are the largest, the smallest, subnormal, zero and the negatives of these. For formats
/// without blocks, normals.
pub fn extreme_weights(random: &mut Random, dtype: reflex_dtype, elements: usize) -> Vec<u8> {
    const HALVES: [f32; 6] = [65504.0, 6.104e-5, 6.0e-5, 5.97e-8, 0.0, 1.0];
    const EXPONENTS: [u8; 6] = [0, 1, 2, 127, 254, 255];
    let pick = |random: &mut Random| random.below(6) as usize;
    let half = |random: &mut Random, _| HALVES[pick(random)] * (1.0 - 2.0 * random.below(2) as f32);
    let exponent = |random: &mut Random, _| EXPONENTS[pick(random)];
    random_blocks(random, dtype, elements, half, exponent).unwrap_or_else(|| encode(dtype, &random.normals(elements)))
}

/// Weights as f32, by an embedding of every row: `[rows, dim]`.
pub fn expand(env: &Env, dtype: reflex_dtype, rows: usize, dim: usize, bytes: &[u8]) -> Vec<f32> {
    let ids: Vec<i32> = (0..rows as i32).collect();
    let mut outputs = run_once(env, |io| {
        let p = reflex_embedding_params {
            struct_size: size_of::<reflex_embedding_params>() as u32,
            table: io.input_bytes(Spec::new(dtype, &[rows as i64, dim as i64]), bytes),
            ids: io.ints(&ids),
            y: io.output(Spec::new(REFLEX_DTYPE_F32, &[rows as i64, dim as i64])),
            ..Default::default()
        };
        Box::new(move |context, stream| {
            let status = reflex_embedding(context, &p, stream);
            ok(status);
            status
        })
    });
    outputs.remove(0)
}

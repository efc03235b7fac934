//! Weights of every type for tests: random contents, and what a launch makes of them.

use super::buffer::{Spec, encode};
use super::env::{Env, ok, shared_cpu};
use super::parity::run_once;
use super::random::Random;
use half::f16;
use reflex_infer::*;

include!(concat!(env!("OUT_DIR"), "/formats.rs"));

/// What a block's scale is for weights whose root mean square is near 1, and the byte at which it lies.
#[derive(Clone, Copy)]
enum Scale {
    /// An f16; negative where it is to be (an addend).
    F16(usize, f32),
    /// A power of two.
    E8M0(usize, u8),
}

macro_rules! tables {
    ($({
        $NAME:ident $type:ident $lower:literal $number:ident $name:literal $packed:literal
        $ggml:literal $elements:literal $bytes:literal $bits:literal $group:literal
        [$($kind:ident($at:literal, $value:literal))*]
    })*) => {
        /// Every format that can be packed.
        pub const BLOCKS: [reflex_dtype; [$($ggml),*].len()] = [$($number),*];
        pub const WEIGHTS: [reflex_dtype; 3 + BLOCKS.len()] =
            [REFLEX_DTYPE_F32, REFLEX_DTYPE_F16, REFLEX_DTYPE_BF16, $($number),*];
        const SCALES: [&[Scale]; BLOCKS.len()] = [$(&[$(Scale::$kind($at, $value)),*]),*];
        /// ggml's number, and elements and bytes of a block.
        pub const BLOCK_SIZES: [(u32, u32, u32); BLOCKS.len()] = [$(($ggml, $elements, $bytes)),*];
        /// The names of `BLOCKS`.
        pub const BLOCK_NAMES: [&str; BLOCKS.len()] = [$(stringify!($NAME)),*];
    };
}
block_formats!(tables);

pub fn dtype_name(dtype: reflex_dtype) -> String {
    let name = unsafe { std::ffi::CStr::from_ptr(reflex_dtype_name(dtype)) };
    name.to_string_lossy().to_lowercase()
}

/// Nothing for formats without blocks.
fn scales(dtype: reflex_dtype) -> Option<&'static [Scale]> {
    let index = BLOCKS.iter().position(|&block| block == dtype)?;
    Some(SCALES[index])
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
        for &scale in scales {
            match scale {
                Scale::F16(at, magnitude) => {
                    let value = f16::from_f32(half(random, magnitude));
                    block[at..at + 2].copy_from_slice(&value.to_le_bytes());
                }
                Scale::E8M0(at, middle) => block[at] = exponent(random, middle),
            }
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

/// Magnitudes of weights, each the sum of its `scale * q` and its minimum: what rounding errors are relative to.
pub fn magnitudes(dtype: reflex_dtype, rows: usize, dim: usize, bytes: &[u8]) -> Vec<f64> {
    let weights = expand(shared_cpu(), dtype, rows, dim, bytes);
    let minima = match scales(dtype) {
        // `scale * q - minimum`, of which the scale comes first: without it the minimum is left.
        Some(&[Scale::F16(at, _), Scale::F16(..)]) => {
            let mut bytes = bytes.to_vec();
            for block in bytes.chunks_mut(reflex_dtype_block_bytes(dtype) as usize) {
                block[at..at + 2].fill(0);
            }
            expand(shared_cpu(), dtype, rows, dim, &bytes)
        }
        _ => vec![0.0; weights.len()],
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

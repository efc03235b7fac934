//! Weights of every type for tests: random contents, and what a launch makes of them.

use super::buffer::{Spec, encode};
use super::env::{Env, ok};
use super::parity::run_once;
use super::random::Random;
use half::f16;
use reflex_infer::*;

pub const WEIGHTS: [reflex_dtype; 8] = [
    REFLEX_DTYPE_F32,
    REFLEX_DTYPE_F16,
    REFLEX_DTYPE_BF16,
    REFLEX_DTYPE_Q4_0,
    REFLEX_DTYPE_Q8_0,
    REFLEX_DTYPE_Q4_K,
    REFLEX_DTYPE_Q5_K,
    REFLEX_DTYPE_Q6_K,
];

pub fn dtype_name(dtype: reflex_dtype) -> String {
    let name = unsafe { std::ffi::CStr::from_ptr(reflex_dtype_name(dtype)) };
    name.to_string_lossy().to_lowercase()
}

/// Random weights whose root mean square is near 1 (0.7 to 1.7): normals, or random blocks with scales to suit.
pub fn random_weights(random: &mut Random, dtype: reflex_dtype, elements: usize) -> Vec<u8> {
    // Byte offset of each f16 scale in a block and its magnitude.
    let scales: &[(usize, f32)] = match dtype {
        REFLEX_DTYPE_Q4_0 => &[(0, 0.2)],
        REFLEX_DTYPE_Q8_0 => &[(0, 0.0135)],
        REFLEX_DTYPE_Q4_K => &[(0, 0.0066), (2, 0.033)],
        REFLEX_DTYPE_Q5_K => &[(0, 0.0033), (2, 0.033)],
        REFLEX_DTYPE_Q6_K => &[(208, 0.00073)],
        _ => return encode(dtype, &random.normals(elements)),
    };
    let size = reflex_dtype_block_bytes(dtype) as usize;
    let count = elements / reflex_dtype_block_elements(dtype) as usize;
    let mut bytes = random.bytes(count * size);
    for block in bytes.chunks_mut(size) {
        for &(at, magnitude) in scales {
            let value = f16::from_f32(magnitude * random.range(0.5, 1.5));
            block[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
    }
    bytes
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

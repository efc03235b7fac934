//! The CPU backend: one plain file per op, which is also the reference that the CUDA kernels are tested against.

pub(crate) mod act_i8;
pub(crate) mod activation;
pub(crate) mod add;
pub(crate) mod argmax;
pub(crate) mod attention;
pub(crate) mod attention_decode;
pub(crate) mod blocks;
pub(crate) mod element;
pub(crate) mod embedding;
pub(crate) mod matmul;
pub(crate) mod norm;
pub(crate) mod packed;
pub(crate) mod quantize;
pub(crate) mod rope;
pub(crate) mod sample;
pub(crate) mod weights_pack;

//! The CPU backend against independent oracles.

#[path = "../support/mod.rs"]
mod support;

mod activation;
mod add;
mod argmax;
mod attention;
mod attention_decode;
mod calls;
mod cases;
mod decode_step;
mod embedding;
mod infinities;
mod limits;
mod matmul;
mod norm;
mod quantize;
mod rope;
mod sample;
mod weights_pack;

//! Every op's CUDA path against the CPU backend. Ignored, never passed, where there is no GPU.

#[path = "../support/mod.rs"]
mod support;

mod activation;
mod add;
mod argmax;
mod attention;
mod attention_decode;
mod calls;
mod decode_case;
mod decode_step;
mod embedding;
mod matmul;
mod norm;
mod quantize;
mod rope;
mod runtime;
mod sample;
mod telemetry;
mod weights_pack;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut suite = support::Suite::default();
    activation::tests(&mut suite);
    add::tests(&mut suite);
    argmax::tests(&mut suite);
    attention::tests(&mut suite);
    attention_decode::tests(&mut suite);
    calls::tests(&mut suite);
    decode_step::tests(&mut suite);
    embedding::tests(&mut suite);
    matmul::tests(&mut suite);
    norm::tests(&mut suite);
    quantize::tests(&mut suite);
    rope::tests(&mut suite);
    runtime::tests(&mut suite);
    sample::tests(&mut suite);
    telemetry::tests(&mut suite);
    weights_pack::tests(&mut suite);
    suite.run()
}

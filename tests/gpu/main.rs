//! Every op's CUDA path against the CPU backend: the problems of `cases/`, and what no list can describe. Ignored, never passed, where there
//! is no GPU.
//!
//! Besides the options of libtest: `--tier smoke` for a part that takes half a minute, `--case 'norm rows=3 dim=77'` for one problem, in
//! `cases/` or not, and `--kernels` for the kernel that each problem gets on this device.

#[path = "../support/mod.rs"]
mod support;

mod attention;
mod attention_decode;
mod calls;
mod candidates;
mod matmul;
mod rope;
mod runtime;
mod sample;
mod telemetry;
mod weights_pack;

use std::process::ExitCode;
use support::{Suite, Wanted, case_ops, usage};

fn main() -> ExitCode {
    let wanted = match Wanted::read(std::env::args().skip(1), std::env::var("REFLEX_TIER").ok()) {
        Ok(wanted) => wanted,
        Err(what) => return usage(&what),
    };
    let mut suite = Suite::new(wanted);
    for op in case_ops() {
        suite.cases(op);
    }
    attention::tests(&mut suite);
    attention_decode::tests(&mut suite);
    calls::tests(&mut suite);
    candidates::tests(&mut suite);
    matmul::tests(&mut suite);
    rope::tests(&mut suite);
    runtime::tests(&mut suite);
    sample::tests(&mut suite);
    telemetry::tests(&mut suite);
    weights_pack::tests(&mut suite);
    suite.run()
}

//! Problems of every op from `cases/`, and how their operands are made: what tests of both backends are about.

mod bounds;
mod list;

pub use activation::Case as ActivationCase;
pub use add::Case as AddCase;
pub use argmax::Case as ArgmaxCase;
pub use attention::Case as AttentionCase;
pub use attention_decode::Case as DecodeCase;
pub use bounds::{Size, has_pattern, tolerance_of};
pub use embedding::Case as EmbeddingCase;
pub use list::{Descriptor, List, Tier, dtype_named};
pub use matmul::{Case as MatmulCase, Product as MatmulProduct};
pub use norm::Case as NormCase;
pub use quantize::Case as QuantizeCase;

use super::calls::Calls;
use super::env::{Env, SelectedKernel, selected};
use super::parity::{Contents, Io, Launch};
use reflex_infer::*;
use std::sync::OnceLock;

pub const ACTIVATIONS: &[(&str, reflex_activation_kind)] = &[
    ("silu", REFLEX_ACTIVATION_SILU),
    ("gelu_tanh", REFLEX_ACTIVATION_GELU_TANH),
    ("gelu_erf", REFLEX_ACTIVATION_GELU_ERF),
];

/// A launch with its operands, and the kernel that it is.
pub struct Call {
    pub launch: Launch,
    pub kernel: Box<dyn Fn(&Env) -> String>,
}

impl Call {
    /// Params of an op, and its functions.
    pub fn new<P: Copy + 'static>(
        p: P,
        run: extern "C" fn(*const reflex_context, *const P, reflex_stream) -> reflex_status,
        kernel: SelectedKernel<P>,
    ) -> Call {
        Call {
            launch: Box::new(move |context, stream| run(context, &p, stream)),
            kernel: Box::new(move |env| selected(env, kernel, &p)),
        }
    }
}

/// A descriptor read as a problem of its op.
pub trait Problem: Send + Sync {
    /// Its operands on one backend. They are the same on every backend and every time.
    fn call(&self, io: &Io) -> Call;

    /// What its errors are measured by, of this kernel.
    fn size(&self, kernel: &str) -> Size;

    /// The name by which the list has the kernel's bound.
    fn bounded_by(&self, kernel: &str) -> String {
        kernel.to_string()
    }

    /// Whether the CPU backend's results are what a device's are compared with.
    fn compared_with_cpu(&self) -> bool {
        true
    }

    /// Name of the kernel that a device has to choose (`*` for anything), and the oldest SM that has it.
    fn expects_kernel(&self) -> Option<(&str, u32)> {
        None
    }

    /// The words with which CUDA refuses it: only the CPU backend takes it.
    fn declined_by_cuda(&self) -> Option<&'static str> {
        None
    }

    /// What holds besides, on one backend.
    fn check(&self, _env: &Env, _contents: &Contents) {}
}

type Read = fn(&Descriptor) -> Box<dyn Problem>;

macro_rules! modules {
    ($($module:ident { $($op:tt)+ })+) => {
        $(pub mod $module;)+

        /// Module, list and reader.
        const OPS: &[(&str, &str, Read)] = &[$((
            stringify!($module),
            include_str!(concat!("../../../cases/", stringify!($module), ".txt")),
            |d| Box::new($module::Case::read(d)),
        )),+];

        /// Of each module.
        pub fn call_makers() -> impl Iterator<Item = fn(&mut Calls)> {
            [$($module::random_calls as fn(&mut Calls)),+].into_iter()
        }
    };
}
reflex_infer::for_each_op!(modules);

fn texts() -> impl Iterator<Item = &'static str> {
    OPS.iter().map(|(_, text, _)| *text)
}

/// The ops that have a list.
pub fn case_ops() -> impl Iterator<Item = &'static str> {
    OPS.iter().map(|(op, ..)| *op)
}

/// The problems of one op, both tiers.
pub fn cases(op: &str) -> &'static List {
    static LISTS: [OnceLock<List>; OPS.len()] = [const { OnceLock::new() }; OPS.len()];
    let at = OPS.iter().position(|(known, ..)| *known == op);
    let at = at.unwrap_or_else(|| panic!("no cases/{op}.txt is known: src/ops/registry.rs names the ops"));
    LISTS[at].get_or_init(|| List::parse(op, OPS[at].1))
}

pub fn problem(case: &Descriptor) -> Box<dyn Problem> {
    let (.., read) = OPS.iter().find(|(op, ..)| *op == case.op).expect("an op of the lists");
    read(case)
}

/// The problems that a text such as `norm rows=3 dim=77` describes: of the lists or not.
pub fn read_case(text: &str) -> Result<Vec<Descriptor>, String> {
    let (op, words) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    if !case_ops().any(|known| known == op) {
        let known: Vec<&str> = case_ops().collect();
        return Err(format!("case `{text}`: expected one of {} first", known.join(", ")));
    }
    cases(op).read(words).map_err(|what| format!("case `{text}`: {what}"))
}

/// The one problem that a text describes.
pub fn one_case(text: &str) -> Descriptor {
    let mut cases = read_case(text).unwrap_or_else(|what| panic!("{what}"));
    assert_eq!(cases.len(), 1, "{text}");
    cases.remove(0)
}

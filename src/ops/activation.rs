use crate::abi::{Params, reflex_tensor};

/// The function `reflex_activation` applies.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct reflex_activation_kind(pub u32);

/// x * sigmoid(x); with `up` this is SwiGLU.
pub const REFLEX_ACTIVATION_SILU: reflex_activation_kind = reflex_activation_kind(0);
/// GELU in its tanh form; with `up` this is GeGLU as Gemma has it.
pub const REFLEX_ACTIVATION_GELU_TANH: reflex_activation_kind = reflex_activation_kind(1);
/// GELU by the error function.
pub const REFLEX_ACTIVATION_GELU_ERF: reflex_activation_kind = reflex_activation_kind(2);

/// Operands of `reflex_activation`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_activation_params {
    pub struct_size: u32,
    /// `REFLEX_ACTIVATION_*`.
    pub kind: reflex_activation_kind,
    /// `[.., n]`, rank 1 to 4, F32, F16 or BF16; rows are dense, outer strides are free (halves of a merged buffer).
    pub gate: reflex_tensor,
    /// Optional, the shape of `gate`: multiplies the activated gate.
    pub up: reflex_tensor,
    /// The shape of `gate`. May be `gate` or `up` itself.
    pub y: reflex_tensor,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_activation_params {
    const NAME: &'static str = "reflex_activation_params";
    const MIN_SIZE: usize = 248;
}

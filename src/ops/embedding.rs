use crate::abi::{Params, reflex_tensor};

/// Operands of `reflex_embedding`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_embedding_params {
    pub struct_size: u32,
    /// Multiplies every element; 0 selects 1.
    pub scale: f32,
    /// `[vocab, dim]`, any weight type.
    pub table: reflex_tensor,
    /// `[tokens]`, I32, read on the device. An id outside the table gives a row of NaN.
    pub ids: reflex_tensor,
    /// `[tokens, dim]`, F32, F16 or BF16.
    pub y: reflex_tensor,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_embedding_params {
    const NAME: &'static str = "reflex_embedding_params";
    const MIN_SIZE: usize = 248;
}

use crate::abi::{Params, reflex_tensor};

/// Operands of `reflex_add`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_add_params {
    pub struct_size: u32,
    /// Multiplies `b`; 0 selects 1.
    pub scale: f32,
    /// `[.., n]`, rank 1 to 4, F32, F16 or BF16; rows are dense, outer strides are free.
    pub a: reflex_tensor,
    /// The shape of `a`, or `[n]`: added to every row.
    pub b: reflex_tensor,
    /// The shape of `a`. May be `a` or `b` itself (`b` only when it has the shape of `a`).
    pub y: reflex_tensor,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_add_params {
    const NAME: &'static str = "reflex_add_params";
    const MIN_SIZE: usize = 248;
}

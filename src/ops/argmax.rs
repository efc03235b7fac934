use crate::abi::{Params, reflex_tensor};

/// Operands of `reflex_argmax`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_argmax_params {
    pub struct_size: u32,
    pub reserved: u32,
    /// `[rows, n]`, F32, F16 or BF16, n at least 1.
    pub x: reflex_tensor,
    /// `[rows]`, I32: index of the greatest element of each row; the lowest index on a tie; NaN counts as less than
    /// everything; 0 when a row is NaN throughout.
    pub ids: reflex_tensor,
    /// Optional, `[m]`, I32: every element is increased by one, after nothing else of this launch reads it. Lets a
    /// captured decode step advance its own positions and lengths.
    pub counters: reflex_tensor,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_argmax_params {
    const NAME: &'static str = "reflex_argmax_params";
    const MIN_SIZE: usize = 248;
}

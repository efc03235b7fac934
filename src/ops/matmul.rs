use crate::abi::{Params, reflex_tensor};
use std::ffi::c_void;

/// A row's result does not depend, bit for bit, on how many other rows there are.
pub const REFLEX_MATMUL_BATCH_INVARIANT: u32 = 1;

/// Operands of `reflex_matmul`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reflex_matmul_params {
    pub struct_size: u32,
    /// `REFLEX_MATMUL_*` bits.
    pub flags: u32,
    /// `[rows, k]`, F32, F16 or BF16.
    pub x: reflex_tensor,
    /// `[n, k]`, any weight type; data 16-byte aligned for block formats.
    pub weight: reflex_tensor,
    /// Optional, `[n]`, F32, F16 or BF16.
    pub bias: reflex_tensor,
    /// Optional, `[rows, n]`, F32, F16 or BF16: added to the product. May be `y` itself.
    pub residual: reflex_tensor,
    /// `[rows, n]`, F32, F16 or BF16.
    pub y: reflex_tensor,
    /// Scratch of `reflex_matmul_workspace_size` bytes, 256-byte aligned; may be NULL when that is 0.
    pub workspace: *mut c_void,
    pub workspace_size: usize,
}

impl Default for reflex_matmul_params {
    fn default() -> Self {
        // SAFETY: plain data, valid when zero.
        unsafe { std::mem::zeroed() }
    }
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_matmul_params {
    const NAME: &'static str = "reflex_matmul_params";
    const MIN_SIZE: usize = 424;
}

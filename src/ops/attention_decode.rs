use crate::abi::{Params, reflex_tensor};
use std::ffi::c_void;

/// Operands of `reflex_attention_decode`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reflex_attention_decode_params {
    pub struct_size: u32,
    /// Multiplies q k^T; 0 selects 1 / sqrt(head_dim).
    pub scale: f32,
    /// `[batch, q_heads, head_dim]`, F32, F16 or BF16: one query a sequence, which sees every key of it.
    pub q: reflex_tensor,
    /// `[batch, capacity, kv_heads, head_dim]`, F32, F16 or BF16. q_heads is a multiple of kv_heads.
    pub k: reflex_tensor,
    /// `[batch, capacity, kv_heads, v_head_dim]`, the type of `k`.
    pub v: reflex_tensor,
    /// Optional, `[batch]`, I32, read on the device: keys of each sequence, the new token's included; a value outside
    /// 0..=capacity is clamped. Absent: capacity.
    pub kv_lengths: reflex_tensor,
    /// `[batch, q_heads, v_head_dim]`, F32, F16 or BF16. A sequence without keys gives zeros.
    pub y: reflex_tensor,
    /// Scratch of `reflex_attention_decode_workspace_size` bytes, 256-byte aligned; may be NULL when that is 0.
    /// The size depends on shapes alone, never on `kv_lengths`.
    pub workspace: *mut c_void,
    pub workspace_size: usize,
}

impl Default for reflex_attention_decode_params {
    fn default() -> Self {
        // SAFETY: plain data, valid when zero.
        unsafe { std::mem::zeroed() }
    }
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_attention_decode_params {
    const NAME: &'static str = "reflex_attention_decode_params";
    const MIN_SIZE: usize = 424;
}

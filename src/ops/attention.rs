use crate::abi::{Params, reflex_tensor};

/// Which keys a query sees.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct reflex_attention_mask(pub u32);

/// Keys up to the query's own position, aligned to the end: query i of T sees keys 0 ..= length - T + i.
pub const REFLEX_ATTENTION_CAUSAL: reflex_attention_mask = reflex_attention_mask(0);
/// Every key of the sequence.
pub const REFLEX_ATTENTION_FULL: reflex_attention_mask = reflex_attention_mask(1);

/// Operands of `reflex_attention`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_attention_params {
    pub struct_size: u32,
    /// `REFLEX_ATTENTION_*`.
    pub mask: reflex_attention_mask,
    /// Multiplies q k^T; 0 selects 1 / sqrt(head_dim).
    pub scale: f32,
    pub reserved: u32,
    /// `[batch, tokens, q_heads, head_dim]`, F32, F16 or BF16.
    pub q: reflex_tensor,
    /// `[batch, capacity, kv_heads, head_dim]`, F32, F16 or BF16. q_heads is a multiple of kv_heads.
    pub k: reflex_tensor,
    /// `[batch, capacity, kv_heads, v_head_dim]`, the type of `k`.
    pub v: reflex_tensor,
    /// Optional, `[batch]`, I32, read on the device: keys of each sequence, the new tokens' included; a value outside
    /// 0..=capacity is clamped. Absent: capacity.
    pub kv_lengths: reflex_tensor,
    /// `[batch, tokens, q_heads, v_head_dim]`, F32, F16 or BF16. A query that sees no key gives zeros.
    pub y: reflex_tensor,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_attention_params {
    const NAME: &'static str = "reflex_attention_params";
    const MIN_SIZE: usize = 416;
}

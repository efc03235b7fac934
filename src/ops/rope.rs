use crate::abi::{Params, reflex_tensor};

/// How `reflex_rope` pairs the elements of a head.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct reflex_rope_mode(pub u32);

/// Pairs (i, i + rotary_dim / 2): GPT-NeoX, Qwen, Hugging Face Llama.
pub const REFLEX_ROPE_NEOX: reflex_rope_mode = reflex_rope_mode(0);
/// Pairs (2i, 2i + 1): the original Llama, GGUF files of architecture `llama`.
pub const REFLEX_ROPE_INTERLEAVED: reflex_rope_mode = reflex_rope_mode(1);

/// Operands of `reflex_rope`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_rope_params {
    pub struct_size: u32,
    /// `REFLEX_ROPE_*`.
    pub mode: reflex_rope_mode,
    /// Base of the frequencies; 0 selects 10000.
    pub theta_base: f32,
    /// Multiplies the position (1 / factor of linear scaling); 0 selects 1.
    pub freq_scale: f32,
    /// Multiplies cosine and sine (YaRN's magnitude); 0 selects 1.
    pub magnitude: f32,
    /// Leading elements of a head that are rotated, even; 0 selects all of them. The others pass through.
    pub rotary_dim: u32,
    /// `[tokens, q_heads, head_dim]`, F32, F16 or BF16. Optional where only K and V are wanted.
    pub q: reflex_tensor,
    /// `[tokens, kv_heads, head_dim]`. Optional.
    pub k: reflex_tensor,
    /// `[tokens, kv_heads, v_head_dim]`: copied to `v_cache`, not rotated. Present exactly when `v_cache` is.
    pub v: reflex_tensor,
    /// The shape of `q`; absent: q is rotated in place.
    pub q_out: reflex_tensor,
    /// The shape of `k`; absent: k is rotated in place, or with `k_cache` written there alone.
    pub k_out: reflex_tensor,
    /// `[tokens]`, I32, read on the device.
    pub positions: reflex_tensor,
    /// Optional, `[rotary_dim / 2]`, F32: divides the frequencies (Llama 3's `rope_freqs`).
    pub freq_factors: reflex_tensor,
    /// Optional, `[slots, kv_heads, head_dim]`, F16 or F32: receives the rotated K at each token's slot.
    pub k_cache: reflex_tensor,
    /// Optional, `[slots, kv_heads, v_head_dim]`, F16 or F32: receives V at each token's slot.
    pub v_cache: reflex_tensor,
    /// Optional, `[tokens]`, I32, read on the device: row of the caches for each token; absent: its position.
    /// A slot outside the cache is skipped (give -1 to padding tokens).
    pub slots: reflex_tensor,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_rope_params {
    const NAME: &'static str = "reflex_rope_params";
    const MIN_SIZE: usize = 824;
}

use crate::abi::{Params, reflex_tensor};
use std::ffi::c_void;

/// Operands of `reflex_sample`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reflex_sample_params {
    pub struct_size: u32,
    /// Divides the logits that survive the filters; 0 takes the greatest logit, as `reflex_argmax` does.
    pub temperature: f32,
    /// Keeps this many greatest logits; 0 keeps all. On a tie the lower index is kept.
    pub top_k: u32,
    /// Keeps the smallest set of most probable tokens whose probability reaches this; 0 or 1 keeps all.
    pub top_p: f32,
    /// Keeps tokens with at least this fraction of the greatest probability; 0 keeps all.
    pub min_p: f32,
    pub reserved: u32,
    /// Key of the random numbers.
    pub seed: u64,
    /// `[rows, n]`, F32, F16 or BF16, n at least 1. NaN counts as minus infinity.
    pub logits: reflex_tensor,
    /// `[rows]`, I32, read on the device: the random number of a row depends on seed, row and this (give the
    /// position, so that every step of a replayed graph draws anew). Absent: 0.
    pub steps: reflex_tensor,
    /// `[rows]`, I32: the drawn token of each row.
    pub ids: reflex_tensor,
    /// Optional, `[m]`, I32: every element is increased by one once the draw is done. May be `steps` itself.
    pub counters: reflex_tensor,
    /// Scratch of `reflex_sample_workspace_size` bytes, 256-byte aligned; may be NULL when that is 0.
    pub workspace: *mut c_void,
    pub workspace_size: usize,
}

impl Default for reflex_sample_params {
    fn default() -> Self {
        // SAFETY: plain data, valid when zero.
        unsafe { std::mem::zeroed() }
    }
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_sample_params {
    const NAME: &'static str = "reflex_sample_params";
    const MIN_SIZE: usize = 368;
}

//! The KV cache: the one type that every op takes that reads or writes keys and values.

use super::params::Params;
use super::tensor::reflex_tensor;

/// A view of the keys and values of a batch of sequences. The memory belongs to the caller; the library never owns it.
///
/// An engine fills one for each layer and hands it to every op by pointer. It is host memory that a call reads before
/// it returns; neither the library nor a captured graph keeps a pointer to it.
///
/// A cache is contiguous, or it is paged, with a `block_table`. In a contiguous one, key `j` of sequence `b` is
/// `k[b][j]`. In a paged one, `k` and `v` are pools of pages, and key `j` of sequence `b` is `k[page][j % page_size]`
/// with `page = block_table[b][j / page_size]`. Sequences may share pages. Strides of the outer dimensions are free, so
/// that heads may lie outside of the keys, as in `[batch, kv_heads, capacity, head_dim]`.
///
/// What lies on the device is not trusted. A page outside of 0 <= page < pages is a page of no keys: the sequence keeps
/// its length and the other keys their positions, but nothing is read of this page, its keys have no weight, and what
/// would be appended to it is skipped. Entries of the block table behind a sequence's last page may be anything.
///
/// Not every op has a kernel on CUDA for every cache: its `_supported` says whether it has, and `REFLEX_UNSUPPORTED`
/// is the cue to use another layout. This version has kernels for contiguous caches whose k and v have one type;
/// `reflex_rope` appends to paged pools, too. The CPU backend takes every cache.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_kv_cache {
    pub struct_size: u32,
    /// 0.
    pub flags: u32,
    /// `[batch, capacity, kv_heads, head_dim]`, F32, F16 or BF16; with a `block_table`
    /// `[pages, page_size, kv_heads, head_dim]`, where page_size is a power of two from 8 to 256.
    pub k: reflex_tensor,
    /// As `k`, with v_head_dim in place of head_dim, and of any of these types.
    pub v: reflex_tensor,
    /// Reserved for the scales of a quantised k. It has to be absent: this version has no quantised caches, and refuses
    /// one (`REFLEX_UNSUPPORTED`).
    pub k_scale: reflex_tensor,
    /// Reserved for the scales of a quantised v. It has to be absent, as `k_scale`.
    pub v_scale: reflex_tensor,
    /// Present where the cache is paged: `[batch, max_pages]`, I32, read on the device: the pages of each sequence. The
    /// capacity of the cache is then max_pages * page_size.
    pub block_table: reflex_tensor,
    /// Optional, `[batch]`, I32, read on the device: the number of keys of each sequence, which counts those of the new
    /// tokens. A value outside 0..=capacity is clamped. When absent, every sequence has capacity keys.
    pub lengths: reflex_tensor,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_kv_cache {
    const MIN_SIZE: usize = 488;
}

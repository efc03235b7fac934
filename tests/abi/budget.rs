//! Budgets of memory: sizes of caches against those of the tensors that they are made of, what fits, and what overflows.

use crate::support::*;
use reflex_infer::*;
use std::ptr::null;

fn cache(layers: u32, kv_heads: u32, head_dim: u32, tokens: u64) -> reflex_kv_budget_params {
    reflex_kv_budget_params {
        struct_size: size_of::<reflex_kv_budget_params>() as u32,
        layers,
        kv_heads,
        k_head_dim: head_dim,
        tokens,
        ..Default::default()
    }
}

fn out<T: Default>() -> T {
    let mut value = T::default();
    // SAFETY: every such struct begins with its size.
    unsafe { (&raw mut value).cast::<u32>().write(size_of::<T>() as u32) };
    value
}

fn sizes(p: &reflex_kv_budget_params) -> reflex_kv_sizes {
    let mut sizes = out();
    ok(reflex_kv_budget(p, &mut sizes));
    sizes
}

#[track_caller]
fn refused(p: &reflex_kv_budget_params, words: &str) {
    let mut sizes = reflex_kv_sizes { bytes: 7, ..out() };
    assert_eq!(status_name(reflex_kv_budget(p, &mut sizes)), "REFLEX_INVALID_ARGUMENT");
    let message = last_error();
    assert!(
        message.starts_with("reflex_kv_budget: ") && message.contains(words),
        "{message}"
    );
    assert_eq!(sizes.bytes, 7, "a refused call has written nothing");
}

/// Bytes of a contiguous `[sequences, tokens, kv_heads, dim]`.
fn tensor_bytes(dtype: reflex_dtype, shape: [i64; 4]) -> u64 {
    let tensor = reflex_tensor {
        dtype,
        rank: 4,
        shape,
        ..Default::default()
    };
    let mut bytes = 0;
    ok(reflex_tensor_bytes(&tensor, &mut bytes));
    bytes
}

#[test]
fn a_cache_is_as_large_as_its_tensors() {
    let types = [
        REFLEX_DTYPE_F32,
        REFLEX_DTYPE_F16,
        REFLEX_DTYPE_BF16,
        REFLEX_DTYPE_Q8_0,
        REFLEX_DTYPE_Q4_0,
    ];
    for k_dtype in types {
        for v_dtype in types {
            let p = reflex_kv_budget_params {
                k_dtype,
                v_dtype,
                v_head_dim: 64,
                sequences: 3,
                ..cache(5, 2, 96, 77)
            };
            let s = sizes(&p);
            assert_eq!(s.k_layer_bytes, tensor_bytes(k_dtype, [3, 77, 2, 96]));
            assert_eq!(s.v_layer_bytes, tensor_bytes(v_dtype, [3, 77, 2, 64]));
            assert_eq!(s.bytes, 5 * (s.k_layer_bytes + s.v_layer_bytes));
            assert_eq!(
                (s.token_bytes * 3 * 77, s.tokens, s.pages, s.page_bytes),
                (s.bytes, 77, 0, 0)
            );
        }
    }
    // Qwen3-4B with 4,096 tokens.
    assert_eq!(sizes(&cache(36, 8, 128, 4096)).bytes, 603_979_776);
    let scaled = reflex_kv_budget_params {
        k_dtype: REFLEX_DTYPE_Q8_0,
        k_scale_bytes: 4,
        v_scale_bytes: 2,
        ..cache(1, 2, 64, 1)
    };
    assert_eq!(sizes(&scaled).bytes, 2 * (68 + 4) + 2 * (68 + 2));
    let latent = reflex_kv_budget_params {
        flags: REFLEX_KV_BUDGET_V_IN_K,
        ..cache(2, 1, 576, 10)
    };
    assert_eq!(
        (sizes(&latent).bytes, sizes(&latent).v_layer_bytes),
        (2 * 10 * 576 * 2, 0)
    );
}

#[test]
fn pages_are_whole() {
    let paged = |tokens, page_size| {
        sizes(&reflex_kv_budget_params {
            page_size,
            sequences: 2,
            ..cache(3, 1, 8, tokens)
        })
    };
    let token = 3 * 2 * 8 * 2;
    for (tokens, page_size, rounded) in [(0, 16, 0), (1, 16, 16), (16, 16, 16), (17, 16, 32), (100, 256, 256)] {
        let s = paged(tokens, page_size);
        assert_eq!((s.tokens, s.pages), (rounded, 2 * rounded / u64::from(page_size)));
        assert_eq!(
            (s.page_bytes, s.bytes),
            (token * u64::from(page_size), 2 * rounded * token)
        );
    }
}

/// The tokens that fit are the most whose cache is no larger.
#[test]
fn what_fits_is_the_inverse() {
    for page_size in [0, 1, 16, 64] {
        for bytes in [0, 1, 1535, 1536, 1537, 100_000, 1 << 40] {
            let p = reflex_kv_budget_params {
                page_size,
                sequences: 3,
                bytes,
                ..cache(2, 2, 64, 0)
            };
            let tokens = sizes(&p).fit_tokens;
            let with = |tokens| sizes(&reflex_kv_budget_params { tokens, ..p }).bytes;
            assert!(
                with(tokens) <= bytes && with(tokens + 1) > bytes,
                "{tokens} tokens in {bytes} bytes"
            );
            assert_eq!(tokens % u64::from(page_size.max(1)), 0);
        }
    }
}

#[test]
fn caches_that_cannot_be_are_refused() {
    let good = cache(2, 2, 64, 10);
    let with = |change: fn(&mut reflex_kv_budget_params)| {
        let mut p = good;
        change(&mut p);
        p
    };
    refused(&with(|p| p.layers = 0), "layers is 0, expected 1 or more");
    refused(&with(|p| p.kv_heads = 0), "kv_heads is 0");
    refused(&with(|p| p.k_head_dim = 0), "k_head_dim is 0");
    refused(
        &with(|p| p.flags = 2),
        "flags is 0x2, expected REFLEX_KV_BUDGET_* bits (0x1)",
    );
    refused(&with(|p| p.reserved = 1), "reserved is 1");
    refused(
        &with(|p| p.k_dtype = REFLEX_DTYPE_I32),
        "k_dtype is I32, expected F32, F16, BF16 or a block",
    );
    refused(
        &with(|p| p.v_dtype = packed(REFLEX_DTYPE_Q8_0)),
        "v_dtype is Q8_0_PACKED",
    );
    refused(&with(|p| p.v_dtype = reflex_dtype(77)), "v_dtype is 77");
    refused(
        &with(|p| (p.k_dtype, p.k_head_dim) = (REFLEX_DTYPE_Q8_0, 72)),
        "k_head_dim is 72, expected a multiple of 32 (Q8_0)",
    );
    refused(
        &with(|p| (p.flags, p.v_head_dim) = (REFLEX_KV_BUDGET_V_IN_K, 64)),
        "v_head_dim is 64, expected 0 with REFLEX_KV_BUDGET_V_IN_K",
    );
    // Each of these products by itself.
    let most = u32::MAX;
    let heads = reflex_kv_budget_params {
        k_dtype: REFLEX_DTYPE_F32,
        ..cache(1, most, most, 0)
    };
    refused(&heads, "the size of K of a token overflows 64 bits");
    refused(
        &cache(most, 1 << 16, 1 << 16, 0),
        "the size of a token overflows 64 bits",
    );
    refused(&with(|p| p.tokens = u64::MAX), "overflows 64 bits");
    refused(
        &with(|p| (p.tokens, p.page_size) = (u64::MAX, 16)),
        "the size of tokens of a sequence overflows",
    );
    refused(
        &with(|p| (p.tokens, p.sequences) = (1 << 40, 1 << 40)),
        "overflows 64 bits",
    );
    // Where only what could fit overflows nothing is wrong.
    let many = with(|p| (p.tokens, p.sequences, p.bytes) = (0, u64::MAX, u64::MAX));
    assert_eq!(sizes(&many).fit_tokens, 0);
}

fn memory(free: u64, cache: *const reflex_kv_budget_params) -> reflex_memory_budget_params {
    reflex_memory_budget_params {
        struct_size: size_of::<reflex_memory_budget_params>() as u32,
        free_bytes: free,
        reserve_bytes: 100,
        model_bytes: 2000,
        scratch_bytes: 300,
        cache,
        ..Default::default()
    }
}

#[test]
fn memory_fits_to_the_byte() {
    // 4,096 bytes a token.
    let kv = reflex_kv_budget_params {
        page_size: 4,
        ..cache(8, 2, 64, 10)
    };
    let need = 2400 + 12 * 4096;
    let mut fit = out();
    ok(reflex_memory_budget(&memory(need + 9, &kv), &mut fit));
    assert_eq!((fit.needed_bytes, fit.shortage_bytes, fit.left_bytes), (need, 0, 9));
    assert_eq!(
        (fit.cache_bytes, fit.cache_room_bytes, fit.fit_tokens),
        (12 * 4096, 12 * 4096 + 9, 12)
    );
    ok(reflex_memory_budget(&memory(need, &kv), &mut fit));
    let status = reflex_memory_budget(&memory(need - 1, &kv), &mut fit);
    assert_eq!(status_name(status), "REFLEX_OUT_OF_MEMORY");
    assert_eq!(
        last_error(),
        "reflex_memory_budget: 1 bytes are missing: free_bytes is 51551, expected 51552 or more (reserve 100, model 2000, \
         scratch 300, cache of 10 tokens 49152, with room for 8 tokens)"
    );
    assert_eq!((fit.shortage_bytes, fit.left_bytes, fit.fit_tokens), (1, 0, 8));
    // The model alone.
    ok(reflex_memory_budget(&memory(2400, null()), &mut fit));
    assert_eq!((fit.needed_bytes, fit.cache_bytes, fit.fit_tokens), (2400, 0, 0));
    let status = reflex_memory_budget(&memory(1000, null()), &mut fit);
    assert_eq!(status_name(status), "REFLEX_OUT_OF_MEMORY");
    assert!(last_error().contains("1400 bytes are missing"), "{}", last_error());
    assert_eq!((fit.shortage_bytes, fit.cache_room_bytes), (1400, 0));
}

#[test]
fn budgets_that_cannot_be_are_refused() {
    let refused = |p: &reflex_memory_budget_params, words: &str| {
        let mut fit = reflex_memory_fit {
            needed_bytes: 7,
            ..out()
        };
        assert_eq!(
            status_name(reflex_memory_budget(p, &mut fit)),
            "REFLEX_INVALID_ARGUMENT"
        );
        assert!(last_error().contains(words), "{}", last_error());
        assert_eq!(fit.needed_bytes, 7);
    };
    let mut p = memory(u64::MAX, null());
    p.model_bytes = u64::MAX - 50;
    refused(
        &p,
        "the size of reserve_bytes, model_bytes and scratch_bytes overflows 64 bits",
    );
    let kv = cache(1, 1, 1 << 20, (u64::MAX >> 22) - 1);
    refused(&memory(u64::MAX, &cache(0, 1, 8, 1)), "cache: layers is 0");
    let mut p = memory(u64::MAX, &kv);
    p.model_bytes = 1 << 40;
    refused(&p, "the size of reserve, model, scratch and cache overflows 64 bits");
    p.reserved = 1;
    refused(&p, "reserved is 1");
}

//! Memory before there is any: the bytes of a cache of keys and values, and whether model, scratch and cache fit.

use crate::abi::{Dtype, Error, Params, REFLEX_OUT_OF_MEMORY, Result, guard, out_struct, read_params};
use crate::abi::{reflex_dtype, reflex_status};
use std::mem::MaybeUninit;

/// V is a part of K, as in latent attention, and takes no memory of its own.
pub const REFLEX_KV_BUDGET_V_IN_K: u32 = 1;

/// The shape of a cache of keys and values.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_kv_budget_params {
    pub struct_size: u32,
    /// `REFLEX_KV_BUDGET_*` bits.
    pub flags: u32,
    /// The number of layers that keep keys and values of this shape, 1 or more.
    pub layers: u32,
    /// KV heads of a layer, 1 or more.
    pub kv_heads: u32,
    /// Elements of a head of K, 1 or more.
    pub k_head_dim: u32,
    /// Elements of a head of V; 0 selects `k_head_dim`. It is 0 with `REFLEX_KV_BUDGET_V_IN_K`.
    pub v_head_dim: u32,
    /// F32, F16, BF16 or a block format that is not packed; 0 selects F16.
    pub k_dtype: reflex_dtype,
    /// The type of V; 0 selects `k_dtype`.
    pub v_dtype: reflex_dtype,
    /// Bytes that are kept beside a head of K for each token, such as 4 for a scale in F32.
    pub k_scale_bytes: u32,
    /// The same for V.
    pub v_scale_bytes: u32,
    /// Tokens of a page; 0 for a contiguous cache.
    pub page_size: u32,
    pub reserved: u32,
    /// Sequences that each have room for as many tokens; 0 selects 1.
    pub sequences: u64,
    /// Tokens of each sequence that the cache is for. With pages they are rounded up to whole ones.
    pub tokens: u64,
    /// Memory for the cache, of which `reflex_kv_sizes.fit_tokens` is made.
    pub bytes: u64,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_kv_budget_params {
    const MIN_SIZE: usize = 72;
}

/// What a cache of keys and values takes, in bytes where nothing else is said.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_kv_sizes {
    pub struct_size: u32,
    pub reserved: u32,
    /// One token of one sequence in all layers, K, V and their scales.
    pub token_bytes: u64,
    /// One page in all layers; 0 for a contiguous cache.
    pub page_bytes: u64,
    /// Tokens of each sequence that the cache has room for: those of the params, up to whole pages.
    pub tokens: u64,
    /// Pages of all sequences; 0 for a contiguous cache.
    pub pages: u64,
    /// K of one layer with its scales, of all sequences.
    pub k_layer_bytes: u64,
    /// V of one layer with its scales, of all sequences.
    pub v_layer_bytes: u64,
    /// The whole cache.
    pub bytes: u64,
    /// The most tokens of each sequence whose cache is at most `bytes` of the params, in whole pages.
    pub fit_tokens: u64,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_kv_sizes {
    const MIN_SIZE: usize = 72;
}

/// What is to fit into the memory of a device.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reflex_memory_budget_params {
    pub struct_size: u32,
    pub reserved: u32,
    /// Memory that is free, as `reflex_memory_info` tells it before anything is allocated.
    pub free_bytes: u64,
    /// What is to stay free for others.
    pub reserve_bytes: u64,
    /// Weights, and what is needed to load them.
    pub model_bytes: u64,
    /// Workspaces, activations, logits.
    pub scratch_bytes: u64,
    /// Optional: the cache and the tokens that it is to have room for. Its `bytes` are not looked at. It is host memory
    /// that the call reads before it returns.
    pub cache: *const reflex_kv_budget_params,
}

impl Default for reflex_memory_budget_params {
    fn default() -> Self {
        // SAFETY: plain data, valid when zero.
        unsafe { std::mem::zeroed() }
    }
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_memory_budget_params {
    const MIN_SIZE: usize = 48;
}

/// What fits into the memory of a device, in bytes where nothing else is said.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct reflex_memory_fit {
    pub struct_size: u32,
    pub reserved: u32,
    /// Reserve, model, scratch and cache.
    pub needed_bytes: u64,
    /// How much of that is missing; 0 where all fits.
    pub shortage_bytes: u64,
    /// What is free beside that; 0 where it does not fit.
    pub left_bytes: u64,
    /// The cache, with the tokens of its params.
    pub cache_bytes: u64,
    /// What is free for a cache beside reserve, model and scratch; 0 where these do not fit.
    pub cache_room_bytes: u64,
    /// The most tokens of each sequence that fit there, in whole pages; 0 without a cache.
    pub fit_tokens: u64,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_memory_fit {
    const MIN_SIZE: usize = 56;
}

/// Computes what a cache of keys and values takes, and how many tokens fit into `params->bytes`. A pure function of
/// sizes: it needs no context and no GPU.
///
/// A head of K takes the bytes of `reflex_dtype_row_bytes` and `k_scale_bytes` for each token, and a head of V the same
/// of its own. Rows follow one another without gaps; what an allocator rounds up is not counted.
///
/// Set `out->struct_size` before the call; no more than that is written, and only on success. Thread-safe.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT` for a number that is no such type or count, a head that is no multiple of its
/// type's block, and sizes of more than 64 bits; `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_kv_budget(params: *const reflex_kv_budget_params, out: *mut reflex_kv_sizes) -> reflex_status {
    guard("reflex_kv_budget", || {
        let out = out_struct("out", out)?;
        let mut room = MaybeUninit::uninit();
        let p = read_params(params, &mut room)?;
        out.write(Cache::of(p)?.sizes(p, p.bytes)?);
        Ok(())
    })
}

/// Computes whether model, scratch and a cache of keys and values fit into the memory that is free, and how many tokens
/// of cache do. A pure function of sizes: it needs no context and no GPU.
///
/// Set `out->struct_size` before the call; no more than that is written. It is written on success, and where something
/// does not fit. Thread-safe.
///
/// Statuses: `REFLEX_OUT_OF_MEMORY` where something does not fit: the message names the bytes that are missing, and
/// the tokens for which there is room. `REFLEX_INVALID_ARGUMENT` for a cache that `reflex_kv_budget` refuses and for
/// sums of more than 64 bits; `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_memory_budget(
    params: *const reflex_memory_budget_params,
    out: *mut reflex_memory_fit,
) -> reflex_status {
    guard("reflex_memory_budget", || {
        let out = out_struct("out", out)?;
        let mut room = MaybeUninit::uninit();
        let p = read_params(params, &mut room)?;
        expect_zero("reserved", p.reserved)?;
        let beside = sum(
            "reserve_bytes, model_bytes and scratch_bytes",
            &[p.reserve_bytes, p.model_bytes, p.scratch_bytes],
        )?;
        let cache_room_bytes = p.free_bytes.saturating_sub(beside);
        let mut room = MaybeUninit::uninit();
        let sizes = match p.cache.is_null() {
            true => None,
            false => {
                let cache = read_params(p.cache, &mut room).map_err(|error| error.of("cache"))?;
                let sizes = Cache::of(cache).and_then(|known| known.sizes(cache, cache_room_bytes));
                Some((cache, sizes.map_err(|error| error.of("cache"))?))
            }
        };
        let cache_bytes = sizes.as_ref().map_or(0, |(_, sizes)| sizes.bytes);
        let needed_bytes = sum("reserve, model, scratch and cache", &[beside, cache_bytes])?;
        let fit = reflex_memory_fit {
            needed_bytes,
            shortage_bytes: needed_bytes.saturating_sub(p.free_bytes),
            left_bytes: p.free_bytes.saturating_sub(needed_bytes),
            cache_bytes,
            cache_room_bytes,
            fit_tokens: sizes.as_ref().map_or(0, |(_, sizes)| sizes.fit_tokens),
            ..Default::default()
        };
        out.write(fit);
        match fit.shortage_bytes {
            0 => Ok(()),
            shortage => Err(Error::new(
                REFLEX_OUT_OF_MEMORY,
                words(p, &fit, shortage, sizes.map(|(cache, _)| cache)),
            )),
        }
    })
}

fn words(
    p: &reflex_memory_budget_params,
    fit: &reflex_memory_fit,
    shortage: u64,
    cache: Option<&reflex_kv_budget_params>,
) -> String {
    let of_cache = cache.map_or(String::new(), |cache| {
        format!(
            ", cache of {} tokens {}, with room for {} tokens",
            cache.tokens, fit.cache_bytes, fit.fit_tokens
        )
    });
    format!(
        "{shortage} bytes are missing: free_bytes is {}, expected {} or more (reserve {}, model {}, scratch {}{of_cache})",
        p.free_bytes, fit.needed_bytes, p.reserve_bytes, p.model_bytes, p.scratch_bytes
    )
}

/// Bytes of one token in one layer.
struct Cache {
    k: u64,
    v: u64,
}

impl Cache {
    fn of(p: &reflex_kv_budget_params) -> Result<Cache> {
        if p.flags & !REFLEX_KV_BUDGET_V_IN_K != 0 {
            return Err(Error::invalid(format!(
                "flags is {:#x}, expected REFLEX_KV_BUDGET_* bits ({REFLEX_KV_BUDGET_V_IN_K:#x})",
                p.flags
            )));
        }
        expect_zero("reserved", p.reserved)?;
        for (field, count) in [
            ("layers", p.layers),
            ("kv_heads", p.kv_heads),
            ("k_head_dim", p.k_head_dim),
        ] {
            if count == 0 {
                return Err(Error::invalid(format!("{field} is 0, expected 1 or more")));
            }
        }
        let or = |value: u32, other: u32| if value == 0 { other } else { value };
        let k_dtype = reflex_dtype(or(p.k_dtype.0, Dtype::F16.abi().0));
        let v_dtype = reflex_dtype(or(p.v_dtype.0, k_dtype.0));
        let k = head_bytes("k_dtype", k_dtype, "k_head_dim", p.k_head_dim)? + u64::from(p.k_scale_bytes);
        let v = if p.flags & REFLEX_KV_BUDGET_V_IN_K == 0 {
            let dim = or(p.v_head_dim, p.k_head_dim);
            head_bytes("v_dtype", v_dtype, "v_head_dim", dim)? + u64::from(p.v_scale_bytes)
        } else {
            for (field, value) in [
                ("v_head_dim", p.v_head_dim),
                ("v_dtype", p.v_dtype.0),
                ("v_scale_bytes", p.v_scale_bytes),
            ] {
                if value != 0 {
                    return Err(Error::invalid(format!(
                        "{field} is {value}, expected 0 with REFLEX_KV_BUDGET_V_IN_K"
                    )));
                }
            }
            0
        };
        let of_layer = |name, head| product(name, &[p.kv_heads.into(), head]);
        Ok(Cache {
            k: of_layer("K of a token", k)?,
            v: of_layer("V of a token", v)?,
        })
    }

    /// The sizes, and how many tokens fit into `bytes`.
    fn sizes(&self, p: &reflex_kv_budget_params, bytes: u64) -> Result<reflex_kv_sizes> {
        let sequences = p.sequences.max(1);
        // A contiguous cache has pages of one token, of which nothing is said.
        let page = u64::from(p.page_size).max(1);
        let token_bytes = product("a token", &[sum("a token", &[self.k, self.v])?, p.layers.into()])?;
        let page_bytes = product("a page", &[token_bytes, page])?;
        let pages_each = p.tokens.div_ceil(page);
        let tokens = product("tokens of a sequence", &[pages_each, page])?;
        let pages = product("pages", &[pages_each, sequences])?;
        let all_tokens = product("tokens of all sequences", &[tokens, sequences])?;
        // So many sequences that a page of each has more than 64 bits fit nowhere.
        let fit_pages = page_bytes.checked_mul(sequences).map_or(0, |step| bytes / step);
        let paged = p.page_size > 0;
        Ok(reflex_kv_sizes {
            token_bytes,
            page_bytes: if paged { page_bytes } else { 0 },
            tokens,
            pages: if paged { pages } else { 0 },
            k_layer_bytes: product("K of a layer", &[self.k, all_tokens])?,
            v_layer_bytes: product("V of a layer", &[self.v, all_tokens])?,
            bytes: product("the cache", &[token_bytes, all_tokens])?,
            // No more than bytes / token_bytes.
            fit_tokens: fit_pages * page,
            ..Default::default()
        })
    }
}

fn head_bytes(field: &str, dtype: reflex_dtype, dim_field: &str, dim: u32) -> Result<u64> {
    let Some((known, packed)) = Dtype::parse(dtype) else {
        return Err(Error::invalid(format!("{field} is {}", Dtype::unknown(dtype))));
    };
    if packed || matches!(known, Dtype::I32 | Dtype::ACT_I8) {
        return Err(Error::invalid(format!(
            "{field} is {}, expected F32, F16, BF16 or a block format that is not packed",
            known.c_name(packed).to_str().unwrap_or("?")
        )));
    }
    known.row_bytes(packed, dim_field, dim.into())
}

fn expect_zero(field: &str, value: u32) -> Result<()> {
    match value {
        0 => Ok(()),
        _ => Err(Error::invalid(format!("{field} is {value}, expected 0"))),
    }
}

fn overflows(what: &str) -> Error {
    Error::invalid(format!("the size of {what} overflows 64 bits"))
}

fn product(what: &str, factors: &[u64]) -> Result<u64> {
    let all = factors.iter().try_fold(1u64, |all, &n| all.checked_mul(n));
    all.ok_or_else(|| overflows(what))
}

fn sum(what: &str, parts: &[u64]) -> Result<u64> {
    let all = parts.iter().try_fold(0u64, |all, &n| all.checked_add(n));
    all.ok_or_else(|| overflows(what))
}

//! The KV cache of a call, checked: what every op reads that takes a `reflex_kv_cache`.

use super::operands::Operands;
use super::schedule::{Takes, only};
use crate::abi::{Dtype, Error, Result, View, read_struct, reflex_kv_cache, reflex_tensor};
use std::mem::MaybeUninit;

/// Both ranks are 4: keys are `[batch, capacity, kv_heads, dim]`, or `[pages, page_size, kv_heads, dim]` with a table.
#[derive(Clone, Copy)]
pub(crate) struct KvCache {
    pub k: View,
    pub v: View,
    /// `[batch, max_pages]`: the pages of each sequence.
    pub block_table: Option<View>,
    pub lengths: Option<View>,
    pub batch: i64,
    pub capacity: i64,
    pub kv_heads: i64,
    pub dim: i64,
    pub v_dim: i64,
}

/// The largest size of a dimension: the kernels count in 32 bits.
pub(crate) const LARGEST: i64 = 1 << 30;

const LEAST_PAGE: i64 = 8;
const LARGEST_PAGE: i64 = 256;

impl KvCache {
    /// The cache that the params' field `cache` points to.
    pub fn required(cache: *const reflex_kv_cache) -> Result<KvCache> {
        let mut room = MaybeUninit::uninit();
        KvCache::new(read_struct("cache", cache, &mut room)?)
    }

    pub fn optional(cache: *const reflex_kv_cache) -> Result<Option<KvCache>> {
        match cache.is_null() {
            true => Ok(None),
            false => KvCache::required(cache).map(Some),
        }
    }

    fn new(c: &reflex_kv_cache) -> Result<KvCache> {
        if c.flags != 0 {
            return Err(Error::invalid(format!("cache.flags is {}, expected 0", c.flags)));
        }
        for (field, scale) in [("k_scale", &c.k_scale), ("v_scale", &c.v_scale)] {
            if !scale.data.is_null() {
                return Err(Error::unsupported(format!(
                    "cache.{field}.data is set, expected NULL: this library has no quantised caches"
                )));
            }
        }
        let (k, v) = (keys("cache.k", &c.k)?, keys("cache.v", &c.v)?);
        let [outer, inner, kv_heads, dim] = [0, 1, 2, 3].map(|i| k.dim(i));
        let v_dim = v.dim(3);
        v.expect_shape(&[outer, inner, kv_heads, v_dim], "cache.k's, but for v_head_dim")?;
        let block_table = View::optional("cache.block_table", &c.block_table)?;
        let (batch, capacity) = match &block_table {
            None => (outer, inner),
            Some(table) => pages(table, &k)?,
        };
        let lengths = View::optional("cache.lengths", &c.lengths)?;
        if let Some(lengths) = &lengths {
            let batch_of = match &block_table {
                None => "[batch] of cache.k",
                Some(_) => "[batch] of cache.block_table",
            };
            lengths
                .expect_dtype(&[Dtype::I32])?
                .expect_shape(&[batch], batch_of)?
                .expect_dense_rows()?;
        }
        Ok(KvCache {
            k,
            v,
            block_table,
            lengths,
            batch,
            capacity,
            kv_heads,
            dim,
            v_dim,
        })
    }

    /// Checks that there is one sequence for each of `q`'s, whose heads have as many elements.
    pub fn expect_queries(&self, q: &View) -> Result<()> {
        let (batch, dim) = (q.dim(0), q.dim(q.rank() - 1));
        if let Some(table) = &self.block_table {
            table.expect_shape(&[batch, table.dim(1)], "[batch] of q, [max_pages]")?;
        }
        let outer = if self.is_paged() { self.k.dim(0) } else { batch };
        self.k.expect_shape(
            &[outer, self.k.dim(1), self.kv_heads, dim],
            match self.is_paged() {
                true => "[pages, page_size, kv_heads], [head_dim] of q",
                false => "[batch] of q, [capacity, kv_heads], [head_dim] of q",
            },
        )?;
        Ok(())
    }

    pub fn is_paged(&self) -> bool {
        self.block_table.is_some()
    }

    /// The keys of a page, or of a sequence where these are contiguous.
    pub fn page_size(&self) -> i64 {
        self.k.dim(1)
    }

    /// The rows of K and V that a slot may name: those of all sequences, or of all pages.
    pub fn slots(&self) -> i64 {
        self.k.dim(0) * self.k.dim(1)
    }

    /// The bytes between the slots of `view`, which is k or v, where they are evenly apart.
    pub fn slot_stride(view: &View) -> Option<i64> {
        match (view.dim(0), view.dim(1)) {
            (_, 1) => Some(view.stride(0)),
            (0 | 1, _) => Some(view.stride(1)),
            (_, inner) => (view.stride(0) == inner * view.stride(1)).then_some(view.stride(1)),
        }
    }

    /// Adds what says where the keys of a sequence are.
    pub fn read_places<'a>(&'a self, to: &mut Operands<'a>) {
        to.read(self.block_table.as_ref()).read(self.lengths.as_ref());
    }

    /// Takes the caches that kernels without a block table read.
    pub fn contiguous(&self) -> Takes {
        only(!self.is_paged(), "contiguous caches")?;
        only(self.k.dtype == self.v.dtype, "K and V of one type")
    }
}

/// Checks keys or values but for their shape.
fn keys(field: &'static str, tensor: &reflex_tensor) -> Result<View> {
    let view = View::required(field, tensor)?;
    view.expect_dtype(Dtype::FLOATS)?
        .expect_rank(4..=4)?
        .expect_dense_rows()?;
    (0..3).try_for_each(|i| view.expect_dim(i, 0..=LARGEST).map(drop))?;
    Ok(view)
}

/// Checks a block table, and gives the batch and the capacity of the cache.
fn pages(table: &View, k: &View) -> Result<(i64, i64)> {
    let page_size = k.dim(1);
    if !(LEAST_PAGE..=LARGEST_PAGE).contains(&page_size) || !page_size.unsigned_abs().is_power_of_two() {
        return Err(k.invalid(format!(
            "shape[1] is {page_size}, expected a power of two from {LEAST_PAGE} to {LARGEST_PAGE} (page_size, with cache.block_table)"
        )));
    }
    table
        .expect_dtype(&[Dtype::I32])?
        .expect_rank(2..=2)?
        .expect_dense_rows()?
        .expect_dim(0, 0..=LARGEST)?;
    let max_pages = table.dim(1);
    if max_pages > LARGEST / page_size {
        return Err(Error::unsupported(format!(
            "cache.block_table.shape[1] is {max_pages}, expected at most {} with pages of {page_size} keys",
            LARGEST / page_size
        )));
    }
    Ok((table.dim(0), max_pages * page_size))
}

//! Attention over a KV cache: the reference of both attention ops.

use super::element::{load_row, store_row};
use super::kv_cache;
use crate::abi::View;
use crate::ops::Reference;
use crate::ops::attention::{AttentionCache, AttentionPlan};
use crate::runtime::CpuBackend;

impl Reference for AttentionPlan {
    fn run(&self, cpu: &CpuBackend) {
        let c = &self.cache;
        let [batch, tokens, kv_heads] = [c.batch, self.tokens, c.kv_heads].map(|n| n as usize);
        let work = (c.group * c.capacity).saturating_mul(c.dim + c.v_dim) as usize;
        cpu.for_each(batch * tokens * kv_heads, work, |i| {
            let (b, token, kv_head) = (i / kv_heads / tokens, i / kv_heads % tokens, i % kv_heads);
            let length = kv_cache::length(c, b);
            let visible = match self.causal {
                // Aligned to the end: the last query sees every key.
                true => (length + token + 1).saturating_sub(tokens).min(length),
                false => length,
            };
            let row = |view: &View, head: i64| view.row(&[b as i64, token as i64, head]);
            // SAFETY: the plan checked shapes and strides; the memory is the caller's contract.
            let query = |head, to: &mut [f32]| unsafe { load_row(row(&self.q, head), self.q.dtype, to) };
            // SAFETY: as above.
            let output = |head, from: &[f32]| unsafe { store_row(row(&self.y, head), self.y.dtype, from) };
            attend(c, b, kv_head, visible, query, output);
        });
    }
}

/// One query of each head that shares `kv_head`, over the first `visible` keys of sequence `b`. `load_query` reads the query
/// of a head, `store_output` writes its result.
pub(super) fn attend(
    c: &AttentionCache,
    b: usize,
    kv_head: usize,
    visible: usize,
    load_query: impl Fn(i64, &mut [f32]),
    store_output: impl Fn(i64, &[f32]),
) {
    let (group, dim, v_dim) = (c.group as usize, c.dim as usize, c.v_dim as usize);
    let heads = || (0..group).map(|i| (kv_head * group + i) as i64);
    // Where a page is missing, nothing is read.
    let places: Vec<Option<[i64; 2]>> = (0..visible).map(|j| kv_cache::place(c, b, j)).collect();
    let there = |first: usize, end: usize| {
        let keys = (first..end).zip(&places[first..end]);
        keys.filter_map(|(j, place)| place.map(|place| (j, place)))
    };

    let mut queries = vec![0.0f32; group * dim];
    for (query, head) in queries.chunks_exact_mut(dim).zip(heads()) {
        load_query(head, query);
    }

    let mut weights = vec![f32::NEG_INFINITY; group * visible];
    let mut key = vec![0.0f32; dim];
    for (j, place) in there(0, visible) {
        // SAFETY: the plan checked shapes and strides, and `visible` is at most the capacity; the memory is the caller's
        // contract.
        unsafe { load_row(kv_cache::row(&c.k, place, kv_head), c.k.dtype, &mut key) };
        for (i, query) in queries.chunks_exact(dim).enumerate() {
            weights[i * visible + j] = dot(query, &key) * c.scale;
        }
    }
    let mut sums = vec![0.0f64; group];
    if visible > 0 {
        for (weights, sum) in weights.chunks_exact_mut(visible).zip(&mut sums) {
            *sum = exponentials(weights);
        }
    }

    // Products are summed in f32 over a stretch of keys, stretches in f64.
    const STRETCH: usize = 128;
    let mut totals = vec![0.0f64; group * v_dim];
    let mut value = vec![0.0f32; v_dim];
    for first in (0..visible).step_by(STRETCH) {
        let mut partial = vec![0.0f32; group * v_dim];
        for (j, place) in there(first, visible.min(first + STRETCH)) {
            // SAFETY: as above.
            unsafe { load_row(kv_cache::row(&c.v, place, kv_head), c.v.dtype, &mut value) };
            for (i, partial) in partial.chunks_exact_mut(v_dim).enumerate() {
                let weight = weights[i * visible + j];
                for (sum, &value) in partial.iter_mut().zip(&value) {
                    *sum += weight * value;
                }
            }
        }
        for (total, partial) in totals.iter_mut().zip(partial) {
            *total += f64::from(partial);
        }
    }
    for ((totals, sum), head) in totals.chunks_exact(v_dim).zip(sums).zip(heads()) {
        // No key, or none with a weight: zeros.
        let result = |&total: &f64| if sum == 0.0 { 0.0 } else { (total / sum) as f32 };
        store_output(head, &totals.iter().map(result).collect::<Vec<f32>>());
    }
}

/// Turns scores into e^(score - max), and gives their sum. A NaN makes the sum NaN.
fn exponentials(scores: &mut [f32]) -> f64 {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let max = if max == f32::NEG_INFINITY { 0.0 } else { max };
    scores
        .iter_mut()
        .map(|score| {
            *score = (*score - max).exp();
            f64::from(*score)
        })
        .sum()
}

/// In eight chains, so that the compiler can use vector instructions without reordering sums; the chains in f64.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut lanes = [0.0f32; LANES];
    // Head sizes are multiples of 8.
    for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i];
        }
    }
    lanes.iter().map(|&v| f64::from(v)).sum::<f64>() as f32
}

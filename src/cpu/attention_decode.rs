//! Attention of one query per sequence.

use super::attention::{attend, kv_length};
use super::backend::CpuBackend;
use crate::abi::View;
use crate::ops::attention_decode::AttentionDecodePlan;

pub(crate) fn attention_decode(p: &AttentionDecodePlan, cpu: &CpuBackend) {
    let c = &p.cache;
    let kv_heads = c.kv_heads as usize;
    let work = (c.group * c.capacity).saturating_mul(c.dim + c.v_dim) as usize;
    cpu.for_each(c.batch as usize * kv_heads, work, |i| {
        let (b, kv_head) = (i / kv_heads, i % kv_heads);
        let row = |view: &View, head: i64| view.row(&[b as i64, head]);
        attend(c, b, kv_head, kv_length(c, b), &p.q, &p.y, row);
    });
}

//! Attention of one query per sequence, and what a decode step does before it.

use super::act_i8;
use super::attention::attend;
use super::element::{load_row, store_row};
use super::kv_cache;
use crate::abi::Dtype;
use crate::ops::Reference;
use crate::ops::attention_decode::AttentionDecodePlan;
use crate::runtime::CpuBackend;

impl Reference for AttentionDecodePlan {
    fn run(&self, cpu: &CpuBackend) {
        let mut q = vec![0.0f32; self.q_bytes() / 4];
        let scratch = q.as_mut_ptr().cast();
        if let Some(rope) = self.rope(scratch) {
            rope.run(cpu);
        }
        attend_all(&self.after_rope(scratch), cpu);
    }
}

fn attend_all(p: &AttentionDecodePlan, cpu: &CpuBackend) {
    let c = &p.cache;
    let kv_heads = c.kv_heads as usize;
    let work = (c.group * c.capacity).saturating_mul(c.dim + c.v_dim) as usize;
    cpu.for_each(c.batch as usize * kv_heads, work, |i| {
        let (b, kv_head) = (i / kv_heads, i % kv_heads);
        // SAFETY: the plan checked shapes and strides; the memory is the caller's contract.
        let query = |head, to: &mut [f32]| unsafe { load_row(p.q.row(&[b as i64, head]), p.q.dtype, to) };
        // SAFETY: as above.
        let output = |head, from: &[f32]| unsafe {
            match p.y.dtype {
                // The heads are parts of one row.
                Dtype::ACT_I8 => act_i8::store(
                    p.y.row(&[b as i64]),
                    p.y.dim(1) as usize,
                    head as usize * from.len(),
                    from,
                ),
                _ => store_row(p.y.row(&[b as i64, head]), p.y.dtype, from),
            }
        };
        attend(c, b, kv_head, kv_cache::length(c, b), query, output);
    });
}

//! What a call of each op may be like.

use super::super::blocks::BLOCKS;
use super::super::matmul::{MatmulCall, weight_of};
use super::super::packed::packed;
use super::{Calls, Maker, Scratch};
use reflex_infer::*;

macro_rules! scratch {
    ($size:ident, $optional:literal) => {
        Some(Scratch {
            size: $size,
            set: |p, data, bytes| (p.workspace, p.workspace_size) = (data, bytes),
            optional: $optional,
        })
    };
}

pub(super) fn rows(calls: &mut Calls) {
    calls.op(
        "norm",
        (reflex_norm, reflex_norm_supported),
        None,
        |m, p: &mut reflex_norm_params| {
            let shape = m.shape();
            p.x = m.floats(&shape);
            p.residual = m.optional(|m| m.floats(&shape));
            p.weight = m.optional(|m| m.floats(&shape[shape.len() - 1..]));
            let x = p.x;
            p.residual_out = m.optional(|m| m.in_place(x, x.dtype));
            let dtype = m.float_or_act_i8();
            let of = if p.residual.data.is_null() { p.x } else { p.residual };
            p.y = m.in_place(of, dtype);
        },
    );
    calls.op(
        "activation",
        (reflex_activation, reflex_activation_supported),
        None,
        |m, p: &mut reflex_activation_params| {
            let shape = m.shape();
            p.kind = reflex_activation_kind(m.random.below(3) as u32);
            p.gate = m.floats(&shape);
            p.up = m.optional(|m| m.floats(&shape));
            let dtype = m.float_or_act_i8();
            p.y = m.in_place(p.gate, dtype);
        },
    );
    calls.op(
        "add",
        (reflex_add, reflex_add_supported),
        None,
        |m, p: &mut reflex_add_params| {
            let shape = m.shape();
            p.a = m.floats(&shape);
            let row = m.one_in(3);
            p.b = m.floats(if row { &shape[shape.len() - 1..] } else { &shape });
            let dtype = m.float();
            p.y = m.in_place(p.a, dtype);
        },
    );
    calls.op(
        "quantize",
        (reflex_quantize, reflex_quantize_supported),
        None,
        |m, p: &mut reflex_quantize_params| {
            let shape = m.shape();
            p.x = m.floats(&shape);
            p.y = m.tensor(REFLEX_DTYPE_ACT_I8, &shape);
        },
    );
}

/// Sizes of heads that kernels of their own take, and others.
const HEADS: [i64; 7] = [8, 32, 64, 64, 128, 128, 40];

pub(super) fn heads(calls: &mut Calls) {
    calls.op(
        "rope",
        (reflex_rope, reflex_rope_supported),
        None,
        |m, p: &mut reflex_rope_params| {
            let (tokens, q_heads, kv_heads, slots) = (m.dim(), m.dim(), m.dim(), m.dim());
            let (dim, v_dim) = (m.pick(&[0, 2, 6, 8, 32, 64, 128]), m.pick(&[0, 3, 8, 64]));
            p.mode = reflex_rope_mode(m.random.below(2) as u32);
            p.positions = m.ints(tokens);
            if !m.one_in(4) {
                p.q = m.floats(&[tokens, q_heads, dim]);
                let q = p.q;
                p.q_out = m.optional(|m| m.in_place(q, q.dtype));
                p.q_norm = m.optional(|m| m.floats(&[dim]));
            }
            if !m.one_in(3) {
                p.k = m.floats(&[tokens, kv_heads, dim]);
                let k = p.k;
                p.k_out = m.optional(|m| m.in_place(k, k.dtype));
                p.k_cache = m.optional(|m| m.floats(&[slots, kv_heads, dim]));
                p.k_norm = m.optional(|m| m.floats(&[dim]));
            }
            if m.one_in(2) {
                p.v = m.floats(&[tokens, kv_heads, v_dim]);
                p.v_cache = m.floats(&[slots, kv_heads, v_dim]);
            }
            p.freq_factors = m.optional(|m| m.tensor(REFLEX_DTYPE_F32, &[dim / 2]));
            if !p.k_cache.data.is_null() || !p.v_cache.data.is_null() {
                p.slots = m.optional(|m| m.ints(tokens));
            }
        },
    );
    calls.op(
        "attention",
        (reflex_attention, reflex_attention_supported),
        None,
        |m, p: &mut reflex_attention_params| {
            let (batch, tokens, capacity) = (m.dim().min(3), m.dim(), m.dim());
            let (kv_heads, group) = (m.dim().min(3), m.dim().min(4));
            let (dim, v_dim) = (m.pick(&HEADS), m.pick(&HEADS));
            let v_dim = if m.one_in(2) { dim } else { v_dim };
            p.mask = reflex_attention_mask(m.random.below(2) as u32);
            p.q = m.floats(&[batch, tokens, kv_heads * group, dim]);
            p.k = m.floats(&[batch, capacity, kv_heads, dim]);
            p.v = m.tensor(p.k.dtype, &[batch, capacity, kv_heads, v_dim]);
            p.kv_lengths = m.optional(|m| m.ints(batch));
            p.y = if dim == v_dim && m.one_in(4) {
                p.q
            } else {
                m.floats(&[batch, tokens, kv_heads * group, v_dim])
            };
        },
    );
    calls.op(
        "attention_decode",
        (reflex_attention_decode, reflex_attention_decode_supported),
        scratch!(reflex_attention_decode_workspace_size, false),
        |m, p: &mut reflex_attention_decode_params| {
            let (batch, capacity) = (m.dim().min(4), m.pick(&[0, 1, 3, 9, 65]));
            let (kv_heads, group) = (m.dim().min(2), m.dim().min(4));
            let dim = m.pick(&HEADS);
            let v_dim = if m.one_in(4) { m.pick(&HEADS) } else { dim };
            p.q = m.floats(&[batch, kv_heads * group, dim]);
            p.k = m.floats(&[batch, capacity, kv_heads, dim]);
            p.v = m.tensor(p.k.dtype, &[batch, capacity, kv_heads, v_dim]);
            p.kv_lengths = m.optional(|m| m.ints(batch));
            p.y = match m.one_in(3) {
                true => m.tensor(REFLEX_DTYPE_ACT_I8, &[batch, kv_heads * group * v_dim]),
                false if dim == v_dim && m.one_in(4) => p.q,
                false => m.floats(&[batch, kv_heads * group, v_dim]),
            };
            if m.one_in(2) {
                p.k_new = m.floats(&[batch, kv_heads, dim]);
                p.v_new = m.floats(&[batch, kv_heads, v_dim]);
                p.k_norm = m.optional(|m| m.floats(&[dim]));
            }
            p.q_norm = m.optional(|m| m.floats(&[dim]));
            if m.one_in(2) {
                p.mode = reflex_rope_mode(m.random.below(2) as u32);
                p.positions = m.ints(batch);
                p.freq_factors = m.optional(|m| m.tensor(REFLEX_DTYPE_F32, &[dim / 2]));
            }
        },
    );
}

pub(super) fn matrices(calls: &mut Calls) {
    calls.op(
        "matmul",
        (MatmulCall::launch, MatmulCall::supported),
        Some(Scratch {
            size: MatmulCall::workspace_size,
            set: |p, data, bytes| (p.workspace, p.workspace_size) = (data, bytes),
            optional: false,
        }),
        matmul,
    );
    calls.op(
        "weights_pack",
        (reflex_weights_pack, reflex_weights_pack_supported),
        scratch!(reflex_weights_pack_workspace_size, false),
        |m, p: &mut reflex_weights_pack_params| {
            let (n, k, dtype) = (
                m.pick(&[0, 1, 16, 17, 40]),
                m.pick(&[0, 32, 256, 256, 512, 544]),
                m.pick(&BLOCKS),
            );
            p.source = m.tensor(dtype, &[n, k]);
            p.destination = match m.one_in(4) {
                true => reflex_tensor {
                    dtype: packed(dtype),
                    ..p.source
                },
                false => m.tensor(packed(dtype), &[n, k]),
            };
        },
    );
    calls.op(
        "weights_unpack",
        (reflex_weights_unpack, reflex_weights_unpack_supported),
        scratch!(reflex_weights_unpack_workspace_size, false),
        |m, p: &mut reflex_weights_unpack_params| {
            let (n, k, dtype) = (
                m.pick(&[0, 1, 16, 17, 40]),
                m.pick(&[0, 32, 256, 256, 512, 544]),
                m.pick(&BLOCKS),
            );
            p.source = m.tensor(packed(dtype), &[n, k]);
            p.destination = match m.one_in(4) {
                true => reflex_tensor { dtype, ..p.source },
                false => m.tensor(dtype, &[n, k]),
            };
        },
    );
    calls.op(
        "embedding",
        (reflex_embedding, reflex_embedding_supported),
        None,
        |m, p: &mut reflex_embedding_params| {
            let (vocab, k, ids) = (m.pick(&[0, 1, 16, 33]), m.pick(&[0, 8, 32, 256, 256, 512]), m.dim());
            p.table = m.weight(vocab, k);
            p.ids = m.ints(ids);
            p.y = m.floats(&[ids, k]);
        },
    );
}

/// Every mode: exact and in integers, gated, with the norm in front and the one behind, and nothing to sum.
fn matmul(m: &mut Maker, p: &mut MatmulCall) {
    *p = MatmulCall::default();
    let rows = m.pick(&[0, 1, 1, 2, 3, 8, 9, 17, 65]);
    let k = m.pick(&[0, 0, 32, 64, 256, 256, 512, 544]);
    let n = m.pick(&[0, 1, 16, 32, 32, 40, 64]);
    for flag in [REFLEX_MATMUL_BATCH_INVARIANT, REFLEX_MATMUL_CONSTANT_WEIGHTS] {
        p.flags |= if m.one_in(3) { flag } else { 0 };
    }
    p.flags |= if m.one_in(2) { REFLEX_MATMUL_INT8 } else { 0 };
    let dtype = m.float_or_act_i8();
    p.x = m.tensor(dtype, &[rows, k]);
    let quantised = dtype == REFLEX_DTYPE_ACT_I8;
    match quantised {
        true if m.one_in(3) => p.x_squares = m.tensor(REFLEX_DTYPE_F32, &[rows, k / 32]),
        false if m.one_in(3) => p.norm = m.floats(&[k]),
        _ => {}
    }
    let integers = quantised || p.flags & REFLEX_MATMUL_INT8 != 0;
    let gated = m.one_in(4);
    let count = if gated { 2 } else { 1 + m.random.below(3) as usize };
    for i in 0..count {
        let n = if i > 0 && !gated { m.pick(&[0, 16, 32, 48]) } else { n };
        let mut product = reflex_matmul_product {
            weight: weight_of(m.weight(n, k)),
            bias: m.optional(|m| m.floats(&[n])),
            ..Default::default()
        };
        if i == 0 || !gated {
            let dtype = if integers && m.one_in(3) {
                REFLEX_DTYPE_ACT_I8
            } else {
                m.float()
            };
            product.y = m.tensor(dtype, &[rows, n]);
            let y = product.y;
            product.residual = m.optional(|m| m.in_place(y, REFLEX_DTYPE_F32));
        }
        p.push(product);
    }
    if m.mishap(40) {
        p.product_count = m.pick(&[0, 1, 2, 3, 4, u32::MAX]);
    }
    if m.mishap(40) {
        let place = m.random.below(3) as usize;
        p.products[place].weight.scales = p.x;
    }
    if gated {
        p.flags |= REFLEX_MATMUL_GATED;
        p.activation = reflex_activation_kind(m.random.below(3) as u32);
    }
    if integers && (gated || count == 1) && m.one_in(2) {
        p.y_norm = m.floats(&[n]);
        p.y_normed = m.tensor(REFLEX_DTYPE_ACT_I8, &[rows, n]);
        p.y_squares = m.tensor(REFLEX_DTYPE_F32, &[rows, n / 32]);
    }
}

pub(super) fn tokens(calls: &mut Calls) {
    /// Of a vocabulary; the last is long enough for several blocks to share a row.
    const VOCABULARIES: [i64; 5] = [1, 7, 100, 1000, 1 << 15];
    calls.op(
        "argmax",
        (reflex_argmax, reflex_argmax_supported),
        scratch!(reflex_argmax_workspace_size, true),
        |m, p: &mut reflex_argmax_params| {
            let (n, rows, count) = (m.pick(&VOCABULARIES), m.dim(), m.dim());
            p.x = m.floats(&[if n > 1000 { rows.min(1) } else { rows }, n]);
            p.ids = m.ints(p.x.shape[0]);
            p.counters = m.optional(|m| m.ints(count));
        },
    );
    calls.op(
        "sample",
        (reflex_sample, reflex_sample_supported),
        scratch!(reflex_sample_workspace_size, false),
        |m, p: &mut reflex_sample_params| {
            let (n, rows, count) = (m.pick(&VOCABULARIES[..4]), m.dim(), m.dim());
            p.temperature = m.pick(&[0.0, 0.7, -1.0, 1.0]);
            p.top_k = m.pick(&[0, 1, 40]);
            p.top_p = m.pick(&[0.0, 0.9, 1.0, 1.5]);
            p.logits = m.floats(&[rows, n]);
            p.steps = m.optional(|m| m.ints(rows));
            p.temperatures = m.optional(|m| m.tensor(REFLEX_DTYPE_F32, &[rows]));
            p.top_ks = m.optional(|m| m.ints(rows));
            p.ids = m.ints(rows);
            let steps = p.steps;
            p.counters = m.optional(|m| match m.one_in(2) && !steps.data.is_null() {
                true => reflex_tensor {
                    shape: [rows + count, 0, 0, 0],
                    stride: [0; 4],
                    ..steps
                },
                false => m.ints(count),
            });
        },
    );
}

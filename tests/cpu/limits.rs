//! The largest sizes that each op takes, as the header gives them: asked, without memory of that size.

use crate::support::*;
use reflex_infer::*;
use std::ptr::without_provenance_mut;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const MOST: i64 = i32::MAX as i64;

/// An operand number `place` at an address of its own, far from the others.
fn at(place: usize, dtype: reflex_dtype, shape: &[i64]) -> reflex_tensor {
    let mut tensor = reflex_tensor {
        data: without_provenance_mut(place << 56),
        dtype,
        rank: shape.len() as u32,
        ..Default::default()
    };
    tensor.shape[..shape.len()].copy_from_slice(shape);
    tensor
}

#[track_caller]
fn takes(status: reflex_status) {
    assert!(status == REFLEX_SUCCESS, "{}", last_error());
}

#[track_caller]
fn refuses(status: reflex_status, words: &str) {
    let message = last_error();
    assert!(
        [REFLEX_INVALID_ARGUMENT, REFLEX_UNSUPPORTED].contains(&status) && message.contains(words),
        "`{message}` does not say `{words}`"
    );
}

#[test]
fn rows_of_elementwise_ops() {
    let env = Env::cpu();
    let norm = |shape: &[i64]| {
        let p = reflex_norm_params {
            struct_size: size_of::<reflex_norm_params>() as u32,
            x: at(1, F32, shape),
            y: at(2, F32, shape),
            ..Default::default()
        };
        reflex_norm_supported(env.context, &p)
    };
    takes(norm(&[2, MOST / 2]));
    takes(norm(&[MOST, 2]));
    refuses(
        norm(&[2, MOST / 2 + 1]),
        "norm: x.shape[1] is 1073741824, expected 0 to 1073741823",
    );
    refuses(
        norm(&[2, MOST / 2 + 1, 2]),
        "norm: x.shape has 2147483648 rows of the last dimension, expected at most 2147483647",
    );
    let activation = |shape: &[i64]| {
        let p = reflex_activation_params {
            struct_size: size_of::<reflex_activation_params>() as u32,
            gate: at(1, F32, shape),
            y: at(2, F32, shape),
            ..Default::default()
        };
        reflex_activation_supported(env.context, &p)
    };
    takes(activation(&[2, MOST / 2]));
    takes(activation(&[MOST, 2]));
    refuses(
        activation(&[2, MOST / 2 + 1]),
        "activation: gate.shape[1] is 1073741824",
    );
    refuses(
        activation(&[MOST + 1, 2]),
        "activation: gate.shape[0] is 2147483648, expected at most 2147483647",
    );
    let add = |shape: &[i64]| {
        let p = reflex_add_params {
            struct_size: size_of::<reflex_add_params>() as u32,
            a: at(1, F32, shape),
            b: at(2, F32, shape),
            y: at(3, F32, shape),
            ..Default::default()
        };
        reflex_add_supported(env.context, &p)
    };
    takes(add(&[2, MOST / 2]));
    takes(add(&[MOST, 2]));
    refuses(add(&[2, MOST / 2 + 1]), "add: a.shape[1] is 1073741824");
    refuses(
        add(&[MOST + 1, 2]),
        "add: a.shape[0] is 2147483648, expected at most 2147483647",
    );
    let softcap = |shape: &[i64]| {
        let p = reflex_softcap_params {
            struct_size: size_of::<reflex_softcap_params>() as u32,
            x: at(1, F32, shape),
            y: at(2, F32, shape),
            cap: 1.0,
        };
        reflex_softcap_supported(env.context, &p)
    };
    takes(softcap(&[2, MOST / 2]));
    takes(softcap(&[MOST, 2]));
    refuses(softcap(&[2, MOST / 2 + 1]), "softcap: x.shape[1] is 1073741824");
    refuses(
        softcap(&[MOST + 1, 2]),
        "softcap: x.shape[0] is 2147483648, expected at most 2147483647",
    );
    let softmax = |shape: &[i64]| {
        let p = reflex_softmax_params {
            struct_size: size_of::<reflex_softmax_params>() as u32,
            x: at(1, F32, shape),
            y: at(2, F32, shape),
            ..Default::default()
        };
        reflex_softmax_supported(env.context, &p)
    };
    takes(softmax(&[2, MOST / 2]));
    takes(softmax(&[MOST, 2]));
    refuses(softmax(&[2, MOST / 2 + 1]), "softmax: x.shape[1] is 1073741824");
    refuses(
        softmax(&[MOST + 1, 2]),
        "softmax: x.shape[0] is 2147483648, expected at most 2147483647",
    );
    let quantize = |shape: &[i64]| {
        let p = reflex_quantize_params {
            struct_size: size_of::<reflex_quantize_params>() as u32,
            x: at(1, F32, shape),
            y: at(2, REFLEX_DTYPE_ACT_I8, shape),
            ..Default::default()
        };
        reflex_quantize_supported(env.context, &p)
    };
    takes(quantize(&[2, (1 << 30) - 64]));
    takes(quantize(&[MOST, 64]));
    refuses(quantize(&[2, 1 << 30]), "quantize: x.shape[1] is 1073741824");
    refuses(
        quantize(&[MOST + 1, 64]),
        "quantize: x.shape[0] is 2147483648, expected at most 2147483647",
    );
}

#[test]
fn rows_and_logits_of_choices() {
    let env = Env::cpu();
    let argmax = |rows, n| {
        let p = reflex_argmax_params {
            struct_size: size_of::<reflex_argmax_params>() as u32,
            x: at(1, F32, &[rows, n]),
            ids: at(2, REFLEX_DTYPE_I32, &[rows]),
            ..Default::default()
        };
        reflex_argmax_supported(env.context, &p)
    };
    let sample = |rows, n| {
        let p = reflex_sample_params {
            struct_size: size_of::<reflex_sample_params>() as u32,
            logits: at(1, F32, &[rows, n]),
            ids: at(2, REFLEX_DTYPE_I32, &[rows]),
            ..Default::default()
        };
        reflex_sample_supported(env.context, &p)
    };
    for [rows, n] in [[MOST, 1], [1, MOST / 2]] {
        takes(argmax(rows, n));
        takes(sample(rows, n));
    }
    refuses(
        argmax(MOST + 1, 1),
        "x.shape[0] is 2147483648, expected 0 to 2147483647",
    );
    refuses(
        argmax(1, MOST / 2 + 1),
        "x.shape[1] is 1073741824, expected 1 to 1073741823",
    );
    refuses(sample(MOST + 1, 1), "logits.shape[0] is 2147483648");
    refuses(sample(1, MOST / 2 + 1), "logits.shape[1] is 1073741824");
}

#[test]
fn products_and_tables() {
    let env = Env::cpu();
    let matmul = |flags, x: reflex_dtype, weight: reflex_dtype, [rows, k, n]: [i64; 3]| {
        let product = product_of(at(2, weight, &[n, k]), at(3, F32, &[rows, n]));
        let p = MatmulCall::new(flags, at(1, x, &[rows, k]), &[product]);
        MatmulCall::supported(env.context, &p)
    };
    const LARGEST: i64 = 1 << 30;
    takes(matmul(0, F32, F32, [LARGEST, 1, 8]));
    takes(matmul(0, F32, F32, [1, LARGEST, 1]));
    takes(matmul(0, F32, F32, [8, 1, LARGEST]));
    refuses(
        matmul(0, F32, F32, [LARGEST + 1, 1, 1]),
        "matmul: x.shape[0] is 1073741825, expected 0 to",
    );
    refuses(
        matmul(0, F32, F32, [1, LARGEST + 1, 1]),
        "matmul: x.shape[1] is 1073741825",
    );
    refuses(
        matmul(0, F32, F32, [1, 1, LARGEST + 1]),
        "matmul: products[0].weight.data.shape[0] is 1073741825",
    );
    refuses(
        matmul(0, F32, F32, [LARGEST, 1, 9]),
        "matmul: products[0].y.shape is [1073741824, 9], expected rows * ((n + 7) / 8) of at most 2147483647",
    );
    let (act, q4) = (REFLEX_DTYPE_ACT_I8, packed(REFLEX_DTYPE_Q4_K));
    takes(matmul(0, act, q4, [1 << 18, 256, 32]));
    refuses(
        matmul(0, act, q4, [(1 << 18) + 1, 256, 32]),
        "matmul: x.shape[0] is 262145, expected at most 262144 with an x of ACT_I8",
    );
    // The flag allows: more rows are multiplied exactly.
    takes(matmul(REFLEX_MATMUL_INT8, F32, q4, [(1 << 18) + 1, 256, 32]));
    let embedding = |dim| {
        let p = reflex_embedding_params {
            struct_size: size_of::<reflex_embedding_params>() as u32,
            table: at(1, F32, &[2, dim]),
            ids: at(2, REFLEX_DTYPE_I32, &[1]),
            y: at(3, F32, &[1, dim]),
            ..Default::default()
        };
        reflex_embedding_supported(env.context, &p)
    };
    takes(embedding(LARGEST));
    refuses(embedding(LARGEST + 1), "embedding: table.shape[1] is 1073741825");
    let pack = |n, k| {
        let p = reflex_weights_pack_params {
            struct_size: size_of::<reflex_weights_pack_params>() as u32,
            source: at(1, REFLEX_DTYPE_Q8_0, &[n, k]),
            destination: at(2, packed(REFLEX_DTYPE_Q8_0), &[n, k]),
            ..Default::default()
        };
        reflex_weights_pack_supported(env.context, &p)
    };
    takes(pack(LARGEST, 256));
    takes(pack(16, LARGEST));
    refuses(pack(LARGEST + 1, 256), "weights_pack: source.shape[0] is 1073741825");
    refuses(pack(16, LARGEST + 256), "weights_pack: source.shape[1] is 1073742080");
}

#[test]
fn heads_keys_and_tokens() {
    let env = Env::cpu();
    let attention = |[batch, tokens, q_heads, kv_heads, capacity, dim]: [i64; 6]| {
        let cache = [batch, capacity, kv_heads, dim];
        let p = reflex_attention_params {
            q: at(1, F32, &[batch, tokens, q_heads, dim]),
            y: at(4, F32, &[batch, tokens, q_heads, dim]),
            ..Default::default()
        };
        let cache = kv_cache(at(2, F32, &cache), at(3, F32, &cache), Default::default());
        AttentionCall::supported(env.context, &AttentionCall::new(p, cache))
    };
    const LARGEST: i64 = 1 << 30;
    takes(attention([1, 1, 1, 1, LARGEST, 256]));
    takes(attention([1, LARGEST, 1, 1, 1, 8]));
    takes(attention([1, 1, LARGEST, LARGEST, 1, 8]));
    takes(attention([LARGEST, 1, 1, 1, 1, 8]));
    refuses(
        attention([1, 1, 1, 1, LARGEST + 1, 8]),
        "attention: cache.k.shape[1] is 1073741825",
    );
    refuses(
        attention([1, LARGEST + 1, 1, 1, 1, 8]),
        "attention: q.shape[1] is 1073741825",
    );
    refuses(
        attention([1, 1, LARGEST + 1, 1, 1, 8]),
        "attention: q.shape[2] is 1073741825",
    );
    refuses(
        attention([1, LARGEST, 2, 1, 1, 8]),
        "attention: q.shape has 2147483648 rows of head_dim elements, expected at most 2147483647",
    );
    refuses(
        attention([1, LARGEST / 2 + 1, 2, 1, 1, 8]),
        "attention: q.shape[1] is 536870913, expected at most 536870912 with 2 query heads to a kv head",
    );
    for dim in [0, 4, 12, 264] {
        refuses(
            attention([1, 1, 1, 1, 1, dim]),
            &format!("the last dimension of q is {dim}, expected a multiple of 8, 8 to 256"),
        );
    }
    let merge = |[tokens, heads, dim]: [i64; 3]| {
        let (part, lse) = ([tokens, heads, dim], [tokens, heads]);
        let p = reflex_attention_merge_params {
            struct_size: size_of::<reflex_attention_merge_params>() as u32,
            a: at(1, F32, &part),
            a_lse: at(2, F32, &lse),
            b: at(3, F32, &part),
            b_lse: at(4, F32, &lse),
            y: at(5, F32, &part),
            ..Default::default()
        };
        reflex_attention_merge_supported(env.context, &p)
    };
    takes(merge([MOST, 1, 8]));
    takes(merge([1, 2, MOST / 2]));
    refuses(
        merge([1, 2, MOST / 2 + 1]),
        "attention_merge: a.shape[2] is 1073741824, expected 0 to 1073741823",
    );
    refuses(
        merge([LARGEST, 2, 8]),
        "attention_merge: a.shape has 2147483648 rows of the last dimension, expected at most 2147483647",
    );
    let decode = |[batch, q_heads, kv_heads, capacity, dim]: [i64; 5]| {
        let cache = [batch, capacity, kv_heads, dim];
        let p = reflex_attention_decode_params {
            q: at(1, F32, &[batch, q_heads, dim]),
            y: at(4, F32, &[batch, q_heads, dim]),
            ..Default::default()
        };
        let cache = kv_cache(at(2, F32, &cache), at(3, F32, &cache), Default::default());
        DecodeCall::supported(env.context, &DecodeCall::new(p, cache))
    };
    takes(decode([1, 1, 1, LARGEST, 256]));
    takes(decode([1, LARGEST, LARGEST, 1, 8]));
    refuses(
        decode([1, 1, 1, LARGEST + 1, 8]),
        "attention_decode: cache.k.shape[1] is 1073741825",
    );
    refuses(
        decode([2, LARGEST, 1, 1, 8]),
        "attention_decode: q.shape has 2147483648 rows",
    );
    let rope = |[tokens, heads, dim]: [i64; 3], rotary_dim| {
        let p = reflex_rope_params {
            struct_size: size_of::<reflex_rope_params>() as u32,
            rotary_dim,
            q: at(1, F32, &[tokens, heads, dim]),
            positions: at(2, REFLEX_DTYPE_I32, &[tokens]),
            ..Default::default()
        };
        reflex_rope_supported(env.context, &p)
    };
    takes(rope([1, 1 << 14, 1024], 0));
    takes(rope([1, 1, 1 << 14], 1024));
    takes(rope([MOST, 1, 8], 0));
    refuses(
        rope([1, (1 << 14) + 1, 8], 0),
        "rope: q.shape[1] is 16385, expected 0 to 16384",
    );
    refuses(
        rope([1, 1, (1 << 14) + 2], 1024),
        "rope: q.shape[2] is 16386, expected 0 to 16384",
    );
    refuses(
        rope([1, 1, 2048], 0),
        "rope: rotary_dim is 0, which selects head_dim, 2048, expected at most 1024",
    );
    refuses(
        rope([MOST + 1, 1, 8], 0),
        "rope: q.shape[0] is 2147483648, expected 0 to 2147483647",
    );
}

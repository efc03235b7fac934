//! Ops on heads.

use super::*;

#[test]
fn rope_shares_no_memory() {
    let op = Op {
        name: "rope",
        call: reflex_rope,
        supported: reflex_rope_supported,
        fields: both(
            reads!(
                p: reflex_rope_params; "q": p.q, "k": p.k, "v": p.v, "positions": p.positions, "slots": p.slots, "freq_factors": p.freq_factors,
                "q_norm": p.q_norm, "k_norm": p.k_norm,
            ),
            vec![
                Field::output("q_out", |p: &mut reflex_rope_params| &mut p.q_out, &["q"]),
                Field::output("k_out", |p| &mut p.k_out, &["k"]),
                Field::output("k_cache", |p| &mut p.k_cache, &[]),
                Field::output("v_cache", |p| &mut p.v_cache, &[]),
            ],
        ),
        make: |at, rows| {
            let heads = [rows, 2, 32];
            sized!(reflex_rope_params {
                q: at.f32(&heads),
                k: at.f32(&heads),
                v: at.f32(&heads),
                positions: at.i32(rows),
                slots: at.i32(rows),
                freq_factors: at.f32(&[16]),
                q_norm: at.f32(&[32]),
                k_norm: at.f32(&[32]),
                q_out: at.f32(&heads),
                k_out: at.f32(&heads),
                k_cache: at.f32(&heads),
                v_cache: at.f32(&heads),
            })
        },
        workspace: None,
    };
    op.check(&Env::cpu());
    // Without outputs of their own q and k are those.
    let in_place = Op {
        fields: both(
            reads!(p: reflex_rope_params; "v": p.v, "positions": p.positions, "freq_factors": p.freq_factors, "q_norm": p.q_norm),
            vec![
                Field::output("q", |p: &mut reflex_rope_params| &mut p.q, &[]),
                Field::output("k", |p| &mut p.k, &[]),
                Field::output("v_cache", |p| &mut p.v_cache, &[]),
            ],
        ),
        make: |at, rows| {
            let heads = [rows, 2, 32];
            sized!(reflex_rope_params {
                q: at.f32(&heads),
                k: at.f32(&heads),
                v: at.f32(&heads),
                positions: at.i32(rows),
                freq_factors: at.f32(&[16]),
                q_norm: at.f32(&[32]),
                v_cache: at.f32(&heads),
            })
        },
        ..op
    };
    in_place.check(&Env::cpu());
}

#[test]
fn attention_shares_no_memory() {
    let op = Op {
        name: "attention",
        call: reflex_attention,
        supported: reflex_attention_supported,
        fields: both(
            reads!(p: reflex_attention_params; "q": p.q, "k": p.k, "v": p.v, "kv_lengths": p.kv_lengths),
            vec![Field::output("y", |p: &mut reflex_attention_params| &mut p.y, &["q"])],
        ),
        make: |at, rows| {
            let shape = [rows, 1, 2, 32];
            sized!(reflex_attention_params {
                q: at.f32(&shape),
                k: at.f32(&shape),
                v: at.f32(&shape),
                kv_lengths: at.i32(rows),
                y: at.f32(&shape),
            })
        },
        workspace: None,
    };
    op.check(&Env::cpu());
}

#[test]
fn attention_decode_shares_no_memory() {
    let op = Op {
        name: "attention_decode",
        call: reflex_attention_decode,
        supported: reflex_attention_decode_supported,
        fields: both(
            reads!(p: reflex_attention_decode_params; "q": p.q, "k": p.k, "v": p.v, "kv_lengths": p.kv_lengths),
            vec![Field::output(
                "y",
                |p: &mut reflex_attention_decode_params| &mut p.y,
                &["q"],
            )],
        ),
        make: |at, rows| {
            let (heads, cache) = ([rows, 2, 32], [rows, 2, 2, 32]);
            sized!(reflex_attention_decode_params {
                q: at.f32(&heads),
                k: at.f32(&cache),
                v: at.f32(&cache),
                kv_lengths: at.i32(rows),
                y: at.f32(&heads),
            })
        },
        workspace: workspace!(),
    };
    op.check(&Env::cpu());
    // With a new token the caches are written.
    let step = Op {
        fields: both(
            reads!(
                p: reflex_attention_decode_params; "q": p.q, "kv_lengths": p.kv_lengths, "k_new": p.k_new, "v_new": p.v_new, "positions": p.positions,
                "freq_factors": p.freq_factors, "q_norm": p.q_norm, "k_norm": p.k_norm,
            ),
            vec![
                Field::output("k", |p: &mut reflex_attention_decode_params| &mut p.k, &[]),
                Field::output("v", |p| &mut p.v, &[]),
                Field::output("y", |p| &mut p.y, &["q"]),
            ],
        ),
        make: |at, rows| {
            let (heads, cache) = ([rows, 2, 32], [rows, 2, 2, 32]);
            sized!(reflex_attention_decode_params {
                q: at.f32(&heads),
                kv_lengths: at.i32(rows),
                k_new: at.f32(&heads),
                v_new: at.f32(&heads),
                positions: at.i32(rows),
                freq_factors: at.f32(&[16]),
                q_norm: at.f32(&[32]),
                k_norm: at.f32(&[32]),
                k: at.f32(&cache),
                v: at.f32(&cache),
                y: at.f32(&heads),
            })
        },
        ..op
    };
    step.check(&Env::cpu());
}

#[test]
fn attention_merge_shares_no_memory() {
    let op = Op {
        name: "attention_merge",
        call: reflex_attention_merge,
        supported: reflex_attention_merge_supported,
        fields: both(
            reads!(p: reflex_attention_merge_params; "a": p.a, "a_lse": p.a_lse, "b": p.b, "b_lse": p.b_lse),
            vec![
                Field::output("y", |p: &mut reflex_attention_merge_params| &mut p.y, &["a", "b"]),
                Field::output("y_lse", |p| &mut p.y_lse, &["a_lse", "b_lse"]),
            ],
        ),
        make: |at, rows| {
            let (heads, lse) = ([rows, 8, 32], [rows, 8]);
            sized!(reflex_attention_merge_params {
                a: at.f32(&heads),
                a_lse: at.f32(&lse),
                b: at.f32(&heads),
                b_lse: at.f32(&lse),
                y: at.f32(&heads),
                y_lse: at.f32(&lse),
            })
        },
        workspace: None,
    };
    op.check(&Env::cpu());
}

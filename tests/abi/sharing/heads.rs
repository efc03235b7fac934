//! Ops on heads.

use super::*;

impl Places {
    /// A contiguous cache of `rows` sequences.
    fn cache(&mut self, rows: i64) -> reflex_kv_cache {
        let shape = [rows, 2, 2, 32];
        kv_cache(self.f32(&shape), self.f32(&shape), self.i32(rows))
    }

    /// A cache of `rows` sequences and as many pages.
    fn paged_cache(&mut self, rows: i64) -> reflex_kv_cache {
        let shape = [rows, 8, 1, 32];
        reflex_kv_cache {
            block_table: self.at(I32, &[rows, 2]),
            ..kv_cache(self.f32(&shape), self.f32(&shape), self.i32(rows))
        }
    }
}

#[test]
fn rope_shares_no_memory() {
    let op = Op {
        name: "rope",
        call: RopeCall::launch,
        supported: RopeCall::supported,
        fields: both(
            reads!(
                p: RopeCall; "q": p.q, "k": p.k, "v": p.v, "positions": p.positions, "slots": p.slots, "freq_factors": p.freq_factors,
                "q_norm": p.q_norm, "k_norm": p.k_norm,
            ),
            vec![
                Field::output("q_out", |p: &mut RopeCall| &mut p.q_out, &["q"]),
                Field::output("k_out", |p| &mut p.k_out, &["k"]),
                Field::output("cache.k", |p| &mut p.cache.k, &[]),
                Field::output("cache.v", |p| &mut p.cache.v, &[]),
            ],
        ),
        make: |at, rows| {
            let heads = [rows, 2, 32];
            let params = sized!(reflex_rope_params {
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
            });
            RopeCall::new(params, at.cache(rows))
        },
        workspace: None,
    };
    op.check(&Env::cpu());
    // Without outputs of their own q and k are those.
    let in_place = Op {
        fields: both(
            reads!(p: RopeCall; "positions": p.positions, "freq_factors": p.freq_factors, "q_norm": p.q_norm),
            vec![
                Field::output("q", |p: &mut RopeCall| &mut p.q, &[]),
                Field::output("k", |p| &mut p.k, &[]),
            ],
        ),
        make: |at, rows| {
            let heads = [rows, 2, 32];
            let params = sized!(reflex_rope_params {
                q: at.f32(&heads),
                k: at.f32(&heads),
                positions: at.i32(rows),
                freq_factors: at.f32(&[16]),
                q_norm: at.f32(&[32]),
            });
            RopeCall::new(params, Default::default())
        },
        ..op
    };
    in_place.check(&Env::cpu());
}

#[test]
fn attention_shares_no_memory() {
    let op = Op {
        name: "attention",
        call: AttentionCall::launch,
        supported: AttentionCall::supported,
        fields: both(
            reads!(p: AttentionCall; "q": p.q, "cache.k": p.cache.k, "cache.v": p.cache.v, "cache.lengths": p.cache.lengths),
            vec![Field::output("y", |p: &mut AttentionCall| &mut p.y, &["q"])],
        ),
        make: |at, rows| {
            let shape = [rows, 1, 2, 32];
            let params = sized!(reflex_attention_params {
                q: at.f32(&shape),
                y: at.f32(&shape),
            });
            AttentionCall::new(params, at.cache(rows))
        },
        workspace: None,
    };
    op.check(&Env::cpu());
    let paged = Op {
        fields: both(
            reads!(
                p: AttentionCall; "cache.k": p.cache.k, "cache.v": p.cache.v, "cache.block_table": p.cache.block_table,
                "cache.lengths": p.cache.lengths,
            ),
            vec![Field::output("y", |p: &mut AttentionCall| &mut p.y, &[])],
        ),
        make: |at, rows| {
            let shape = [rows, 1, 2, 32];
            let params = sized!(reflex_attention_params {
                q: at.f32(&shape),
                y: at.f32(&shape),
            });
            AttentionCall::new(params, at.paged_cache(rows))
        },
        ..op
    };
    paged.check(&Env::cpu());
}

#[test]
fn attention_decode_shares_no_memory() {
    let op = Op {
        name: "attention_decode",
        call: DecodeCall::launch,
        supported: DecodeCall::supported,
        fields: both(
            reads!(p: DecodeCall; "q": p.q, "cache.k": p.cache.k, "cache.v": p.cache.v, "cache.lengths": p.cache.lengths),
            vec![Field::output("y", |p: &mut DecodeCall| &mut p.y, &["q"])],
        ),
        make: |at, rows| {
            let heads = [rows, 2, 32];
            let params = sized!(reflex_attention_decode_params {
                q: at.f32(&heads),
                y: at.f32(&heads),
            });
            DecodeCall::new(params, at.cache(rows))
        },
        workspace: Some(|p| {
            let p: &mut reflex_attention_decode_params = p;
            (&mut p.workspace, &mut p.workspace_size)
        }),
    };
    op.check(&Env::cpu());
    // With a new token the caches are written.
    let step = Op {
        fields: both(
            reads!(
                p: DecodeCall; "q": p.q, "cache.lengths": p.cache.lengths, "k_new": p.k_new, "v_new": p.v_new, "positions": p.positions,
                "freq_factors": p.freq_factors, "q_norm": p.q_norm, "k_norm": p.k_norm,
            ),
            vec![
                Field::output("cache.k", |p: &mut DecodeCall| &mut p.cache.k, &[]),
                Field::output("cache.v", |p| &mut p.cache.v, &[]),
                Field::output("y", |p| &mut p.y, &["q"]),
            ],
        ),
        make: |at, rows| {
            let heads = [rows, 2, 32];
            let params = sized!(reflex_attention_decode_params {
                q: at.f32(&heads),
                k_new: at.f32(&heads),
                v_new: at.f32(&heads),
                positions: at.i32(rows),
                freq_factors: at.f32(&[16]),
                q_norm: at.f32(&[32]),
                k_norm: at.f32(&[32]),
                y: at.f32(&heads),
            });
            DecodeCall::new(params, at.cache(rows))
        },
        ..op
    };
    step.check(&Env::cpu());
    // Pages are written, too, and their table is read.
    let paged = Op {
        fields: both(
            reads!(
                p: DecodeCall; "cache.block_table": p.cache.block_table, "cache.lengths": p.cache.lengths, "k_new": p.k_new, "v_new": p.v_new,
            ),
            vec![
                Field::output("cache.k", |p: &mut DecodeCall| &mut p.cache.k, &[]),
                Field::output("cache.v", |p| &mut p.cache.v, &[]),
            ],
        ),
        make: |at, rows| {
            let heads = [rows, 1, 32];
            let params = sized!(reflex_attention_decode_params {
                q: at.f32(&heads),
                k_new: at.f32(&heads),
                v_new: at.f32(&heads),
                y: at.f32(&heads),
            });
            DecodeCall::new(params, at.paged_cache(rows))
        },
        ..step
    };
    paged.check(&Env::cpu());
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

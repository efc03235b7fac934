//! Ops on rows.

use super::*;

#[test]
fn norm_shares_no_memory() {
    let op = Op {
        name: "norm",
        call: reflex_norm,
        supported: reflex_norm_supported,
        fields: both(
            reads!(p: reflex_norm_params; "x": p.x, "residual": p.residual, "weight": p.weight),
            vec![
                Field::output("residual_out", |p| &mut p.residual_out, &["x", "residual"]),
                Field::output("y", |p| &mut p.y, &["x", "residual"]),
            ],
        ),
        make: |at, rows| {
            let shape = [rows, 32];
            sized!(reflex_norm_params {
                x: at.f32(&shape),
                residual: at.f32(&shape),
                weight: at.f32(&[32]),
                residual_out: at.f32(&shape),
                y: at.f32(&shape),
            })
        },
        workspace: None,
    };
    op.check(&Env::cpu());
    let quantised = Op {
        fields: vec![
            Field {
                name: "x",
                of: |p: &mut reflex_norm_params| &mut p.x,
                written: false,
                in_place: &[],
            },
            Field::output("y", |p| &mut p.y, &[]),
        ],
        make: |at, rows| {
            sized!(reflex_norm_params {
                x: at.f32(&[rows, 64]),
                y: at.at(ACT_I8, &[rows, 64]),
            })
        },
        ..op
    };
    quantised.check(&Env::cpu());
}

#[test]
fn activation_shares_no_memory() {
    let op = Op {
        name: "activation",
        call: reflex_activation,
        supported: reflex_activation_supported,
        fields: both(
            reads!(p: reflex_activation_params; "gate": p.gate, "up": p.up),
            vec![Field::output(
                "y",
                |p: &mut reflex_activation_params| &mut p.y,
                &["gate", "up"],
            )],
        ),
        make: |at, rows| {
            let shape = [rows, 2, 32];
            sized!(reflex_activation_params {
                gate: at.f32(&shape),
                up: at.f32(&shape),
                y: at.f32(&shape),
            })
        },
        workspace: None,
    };
    op.check(&Env::cpu());
}

#[test]
fn add_shares_no_memory() {
    let op = Op {
        name: "add",
        call: reflex_add,
        supported: reflex_add_supported,
        fields: both(
            reads!(p: reflex_add_params; "a": p.a, "b": p.b),
            vec![Field::output("y", |p: &mut reflex_add_params| &mut p.y, &["a", "b"])],
        ),
        make: |at, rows| {
            let shape = [rows, 32];
            sized!(reflex_add_params {
                a: at.f32(&shape),
                b: at.f32(&shape),
                y: at.f32(&shape),
            })
        },
        workspace: None,
    };
    op.check(&Env::cpu());
    // A row for all the others is none of them.
    let row = Op {
        fields: vec![
            Field {
                name: "b",
                of: |p: &mut reflex_add_params| &mut p.b,
                written: false,
                in_place: &[],
            },
            Field::output("y", |p| &mut p.y, &[]),
        ],
        make: |at, rows| {
            sized!(reflex_add_params {
                a: at.f32(&[rows, 32]),
                b: at.f32(&[32]),
                y: at.f32(&[rows, 32]),
            })
        },
        ..op
    };
    row.check(&Env::cpu());
}

#[test]
fn softmax_shares_no_memory() {
    let op = Op {
        name: "softmax",
        call: reflex_softmax,
        supported: reflex_softmax_supported,
        fields: both(
            reads!(p: reflex_softmax_params; "x": p.x, "mask": p.mask),
            vec![Field::output("y", |p: &mut reflex_softmax_params| &mut p.y, &["x"])],
        ),
        make: |at, rows| {
            let shape = [rows, 32];
            sized!(reflex_softmax_params {
                x: at.f32(&shape),
                mask: at.f32(&shape),
                y: at.f32(&shape),
            })
        },
        workspace: None,
    };
    op.check(&Env::cpu());
}

#[test]
fn quantize_shares_no_memory() {
    let op = Op {
        name: "quantize",
        call: reflex_quantize,
        supported: reflex_quantize_supported,
        fields: both(
            reads!(p: reflex_quantize_params; "x": p.x),
            vec![Field::output("y", |p: &mut reflex_quantize_params| &mut p.y, &[])],
        ),
        make: |at, rows| {
            sized!(reflex_quantize_params {
                x: at.f32(&[rows, 64]),
                y: at.at(ACT_I8, &[rows, 64]),
            })
        },
        workspace: None,
    };
    op.check(&Env::cpu());
}

#[test]
fn embedding_shares_no_memory() {
    let op = Op {
        name: "embedding",
        call: reflex_embedding,
        supported: reflex_embedding_supported,
        fields: both(
            reads!(p: reflex_embedding_params; "table": p.table, "ids": p.ids),
            vec![Field::output("y", |p: &mut reflex_embedding_params| &mut p.y, &[])],
        ),
        make: |at, rows| {
            sized!(reflex_embedding_params {
                table: at.at(Q4_K, &[8, 256]),
                ids: at.i32(rows),
                y: at.f32(&[rows, 256]),
            })
        },
        workspace: None,
    };
    op.check(&Env::cpu());
}

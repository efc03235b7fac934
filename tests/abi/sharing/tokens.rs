//! The next token.

use super::*;

#[test]
fn argmax_shares_no_memory() {
    let op = Op {
        name: "argmax",
        call: reflex_argmax,
        supported: reflex_argmax_supported,
        fields: both(
            reads!(p: reflex_argmax_params; "x": p.x),
            vec![
                Field::output("ids", |p: &mut reflex_argmax_params| &mut p.ids, &[]),
                Field::output("counters", |p| &mut p.counters, &[]),
            ],
        ),
        make: |at, rows| {
            sized!(reflex_argmax_params {
                x: at.f32(&[rows, 32]),
                ids: at.i32(rows),
                counters: at.i32(16),
            })
        },
        workspace: workspace!(),
    };
    op.check(&Env::cpu());
}

#[test]
fn sample_shares_no_memory() {
    let op = Op {
        name: "sample",
        call: reflex_sample,
        supported: reflex_sample_supported,
        fields: both(
            reads!(p: reflex_sample_params; "logits": p.logits, "steps": p.steps, "temperatures": p.temperatures, "top_ks": p.top_ks),
            vec![
                Field::output("ids", |p: &mut reflex_sample_params| &mut p.ids, &[]),
                Field::output("counters", |p| &mut p.counters, &["steps"]),
            ],
        ),
        make: |at, rows| {
            sized!(reflex_sample_params {
                logits: at.f32(&[rows, 32]),
                steps: at.i32(rows),
                temperatures: at.f32(&[rows]),
                top_ks: at.i32(rows),
                ids: at.i32(rows),
                counters: at.i32(rows),
            })
        },
        workspace: workspace!(),
    };
    op.check(&Env::cpu());
    let env = Env::cpu();
    let memory = env.malloc(8 * PLACE);
    let make = |counters: i64, shift: usize| {
        let mut p = (op.make)(&mut Places { memory, next: 0 }, 8);
        p.counters.shape[0] = counters;
        p.counters.data = p.steps.data.wrapping_byte_add(shift);
        p
    };
    // They may begin with the steps, and have more or none behind them.
    op.taken(&env, &make(8, 0), "counters are steps");
    op.taken(&env, &make(16, 0), "counters begin with steps");
    for (counters, shift) in [(7, 0), (8, 4)] {
        op.refused(
            &env,
            &make(counters, shift),
            "another part",
            &[
                "counters.data",
                "overlaps steps",
                "expected to begin with steps (in place) or memory of its own",
            ],
        );
    }
    ok(reflex_device_free(env.context, memory));
}

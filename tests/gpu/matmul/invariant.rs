//! REFLEX_MATMUL_BATCH_INVARIANT: row 0 alone and among others has the same bits.

use crate::support::*;
use reflex_infer::*;

const ACT_I8: reflex_dtype = REFLEX_DTYPE_ACT_I8;
const F32: reflex_dtype = REFLEX_DTYPE_F32;

pub fn tests(suite: &mut Suite) {
    for weight in WEIGHTS {
        let name = dtype_name(weight);
        suite.test(format!("matmul::{name}_batch_invariant"), move |env| exact(env, weight));
        if BLOCKS.contains(&weight) {
            suite.test(format!("matmul::int8_{name}_batch_invariant"), move |env| {
                int8(env, weight)
            });
        }
    }
}

/// Bits of row 0 among the first `rows` of an x of this many rows.
fn first_row(env: &Env, case: &MatmulCase, rows: i64, x: &[f32], x_spec: fn(Spec) -> Spec) -> Vec<u32> {
    let n = case.products[0].n;
    let outputs = run_once(env, |io| {
        let spec = x_spec(Spec::new(case.x, &[rows, case.k]));
        let x = io.input(spec, &x[..(rows * case.k) as usize]);
        let y = io.output(Spec::new(F32, &[rows, n]));
        let made = product_of(case.weight(io, 0), y);
        let p = MatmulCall::new(case.flags, x, &[made]).with_workspace(io);
        Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
    });
    outputs[0][..n as usize].iter().map(|v| v.to_bits()).collect()
}

fn case(words: &str) -> MatmulCase {
    MatmulCase::read(&one_case(&format!("matmul {words} n=33 invariant=1")))
}

/// Aligned and not.
fn exact(env: &Env, weight: reflex_dtype) {
    let case = case(&format!("weight={} rows=21 k=10b", dtype_name(weight)));
    let x = case.x_values();
    let row = |rows, offset| match offset {
        0 => first_row(env, &case, rows, &x, |spec| spec.row_gap(0)),
        _ => first_row(env, &case, rows, &x, |spec| spec.row_gap(0).offset(1)),
    };
    let alone = row(1, 0);
    for (rows, offset) in [(2, 0), (3, 0), (5, 0), (8, 0), (9, 0), (21, 0), (1, 1), (21, 1)] {
        assert!(row(rows, offset) == alone, "rows {rows}, offset {offset}");
    }
}

/// Of an x of ACT_I8 and of one that the library quantises.
fn int8(env: &Env, weight: reflex_dtype) {
    for packed in [0, 1] {
        for x_type in [ACT_I8, F32] {
            let words = format!("weight={} rows=70 k=1280 packed={packed} int8=1", dtype_name(weight));
            let case = case(&format!("{words} x={}", dtype_name(x_type)));
            let x = case.x_values();
            let row = |rows| first_row(env, &case, rows, &x, |spec| spec);
            let alone = row(1);
            for rows in [2, 8, 9, 16, 17, 32, 33, 64, 65, 70] {
                assert!(
                    row(rows) == alone,
                    "rows {rows}, packed {packed}, x {}",
                    dtype_name(x_type)
                );
            }
        }
    }
}

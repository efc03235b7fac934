//! An infinity in a row of x makes all of that row of y infinite or NaN in integer products, and no other row.

use crate::support::*;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;

pub fn tests(suite: &mut Suite) {
    for weight in BLOCKS {
        for (layout, is_packed) in [("packed", true), ("native", false)] {
            for rows in [1, 3, 12, 20, 70] {
                // More rows of native weights are multiplied exactly.
                if !is_packed && rows > 64 {
                    continue;
                }
                let name = format!("matmul::int8_{}_infinity_rows_{rows}_{layout}", dtype_name(weight));
                suite.test(name, move |cuda| {
                    for env in [cuda, shared_cpu()] {
                        check(env, weight, is_packed, rows);
                    }
                });
            }
        }
    }
}

fn check(env: &Env, weight: reflex_dtype, is_packed: bool, rows: i64) {
    let (n, k) = (96, 768);
    let native = random_weights(&mut Random::new(12), weight, (n * k) as usize);
    let (dtype, bytes) = match is_packed {
        true => (packed(weight), packed_bytes(weight, n, k, &native)),
        false => (weight, native),
    };
    let infinite = (rows / 2) as usize;
    let mut x = Random::new(13).normals((rows * k) as usize);
    x[infinite * k as usize + 300] = f32::NEG_INFINITY;
    let outputs = run_once(env, |io| {
        let x = io.input(Spec::new(F32, &[rows, k]), &x);
        let weight = io.input_bytes(Spec::new(dtype, &[n, k]), &bytes);
        let product = product_of(weight, io.output(Spec::new(F32, &[rows, n])));
        let p = MatmulCall::new(REFLEX_MATMUL_INT8, x, &[product]).with_workspace(io);
        Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
    });
    for (row, y) in outputs[0].chunks(n as usize).enumerate() {
        let finite = y.iter().filter(|v| v.is_finite()).count();
        let wanted = if row == infinite { 0 } else { y.len() };
        assert_eq!(finite, wanted, "finite outputs of row {row}");
    }
}

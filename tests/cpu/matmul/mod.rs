mod bad_input;
mod case;
mod deferred_norm;
mod fused;
mod int8;
mod products;

use crate::cases::{each_case, wanted_tier};
use crate::support::*;
use reflex_infer::*;

/// The formula in f64, and the sum of the products' magnitudes.
fn oracle(x: &[f32], weight: &[f32]) -> (f64, f64) {
    x.iter().zip(weight).fold((0.0, 0.0), |(sum, magnitude), (&x, &w)| {
        let product = f64::from(x) * f64::from(w);
        (sum + product, magnitude + product.abs())
    })
}

/// `[rows, k]` times `[n, k]` with bias and residual, all operands in rows with gaps.
fn run(env: &Env, dtype: reflex_dtype, rows: i64, n: i64, k: i64) {
    let mut random = Random::new((rows * 131 + n * 17 + k) as u64);
    let x = random.normals((rows * k) as usize);
    let bytes = random_weights(&mut random, dtype, (n * k) as usize);
    let bias = random.normals(n as usize);
    let residual = random.normals((rows * n) as usize);
    let outputs = run_once(env, |io| {
        let y = Spec::new(REFLEX_DTYPE_F32, &[rows, n]).row_gap(3);
        let x = io.input(Spec::new(REFLEX_DTYPE_F32, &[rows, k]).row_gap(5), &x);
        let product = reflex_matmul_product {
            weight: weight_of(io.input_bytes(Spec::new(dtype, &[n, k]).row_gap(1), &bytes)),
            bias: io.input(Spec::new(REFLEX_DTYPE_F32, &[n]), &bias),
            residual: io.input(y.clone(), &residual),
            y: io.output(y),
            ..Default::default()
        };
        let p = MatmulCall::new(0, x, &[product]);
        Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
    });
    let weight = expand(env, dtype, n as usize, k as usize, &bytes);
    let (n, k) = (n as usize, k as usize);
    for row in 0..rows as usize {
        for o in 0..n {
            let (sum, magnitude) = oracle(&x[row * k..][..k], &weight[o * k..][..k]);
            let want = sum + f64::from(bias[o]) + f64::from(residual[row * n + o]);
            let got = f64::from(outputs[0][row * n + o]);
            // The documented bound, and the rounding to f32.
            let bound = 36.0 * 2f64.powi(-24) * magnitude + 2f64.powi(-24) * want.abs();
            assert!(
                (got - want).abs() <= bound,
                "{} [{rows}, {k}] x [{n}, {k}]: y[{row}][{o}] is {got}, expected {want} within {bound:e}",
                dtype_name(dtype)
            );
        }
    }
}

/// What the bounds of the GPU tests assume of their weights.
#[test]
fn random_weights_are_near_one() {
    let env = Env::cpu();
    for dtype in WEIGHTS {
        let bytes = random_weights(&mut Random::new(3), dtype, 1 << 14);
        let values = expand(&env, dtype, 1, 1 << 14, &bytes);
        let rms = (values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / values.len() as f64).sqrt();
        assert!((0.7..1.7).contains(&rms), "{}: {rms}", dtype_name(dtype));
    }
}

#[test]
fn equals_the_formula() {
    let env = Env::cpu();
    for dtype in WEIGHTS {
        let step = match reflex_dtype_block_elements(dtype) {
            1 => 1,
            block => i64::from(block),
        };
        for (rows, n, blocks) in [(1, 1, 1), (1, 7, 3), (3, 5, 9), (9, 13, 2)] {
            run(&env, dtype, rows, n, blocks * step);
        }
    }
    for k in [8, 255, 257, 1000, 4096] {
        run(&env, REFLEX_DTYPE_F32, 2, 3, k);
        run(&env, REFLEX_DTYPE_BF16, 2, 3, k);
    }
}

/// Problems of `cases/matmul.txt` that are products with bias, residual and gate, of a size for f64.
#[test]
fn problems_equal_the_formula() {
    let env = Env::cpu();
    each_case(
        "matmul",
        wanted_tier(),
        "matmul::problems_equal_the_formula",
        |descriptor| {
            let case = case::Case::read(descriptor);
            let work: i64 = case.products.iter().map(|product| case.rows * case.k * product.n).sum();
            let plain = case.norm.is_none() && case.y_norm.is_none() && !case.x_squares;
            if plain && descriptor.text("values") == "normal" && work < 1 << 22 {
                case.check(&env);
            }
        },
    );
}

/// Integers small enough that every sum is exact: the result must be, in every type.
#[test]
fn small_integers_are_exact() {
    let env = Env::cpu();
    let (rows, n, k) = (3usize, 4usize, 37usize);
    let x: Vec<f32> = (0..rows * k).map(|i| (i * 7 % 5) as f32 - 2.0).collect();
    let weight: Vec<f32> = (0..n * k).map(|i| (i * 5 % 7) as f32 - 3.0).collect();
    for x_type in [REFLEX_DTYPE_F32, REFLEX_DTYPE_F16, REFLEX_DTYPE_BF16] {
        for y_type in [REFLEX_DTYPE_F32, REFLEX_DTYPE_F16, REFLEX_DTYPE_BF16] {
            let outputs = run_once(&env, |io| {
                let y = io.in_out(Spec::new(y_type, &[rows as i64, n as i64]), &vec![1.0; rows * n]);
                let x = io.input(Spec::new(x_type, &[rows as i64, k as i64]), &x);
                let product = reflex_matmul_product {
                    weight: weight_of(io.input(Spec::new(REFLEX_DTYPE_F16, &[n as i64, k as i64]), &weight)),
                    residual: y,
                    y,
                    ..Default::default()
                };
                let p = MatmulCall::new(0, x, &[product]);
                Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
            });
            for row in 0..rows {
                for o in 0..n {
                    let (sum, _) = oracle(&x[row * k..][..k], &weight[o * k..][..k]);
                    assert_eq!(f64::from(outputs[0][row * n + o]), sum + 1.0);
                }
            }
        }
    }
}

#[test]
fn a_sum_over_nothing_is_bias_and_residual() {
    let env = Env::cpu();
    for (bias, want) in [(true, 5.0), (false, 3.0)] {
        let outputs = run_once(&env, |io| {
            let x = io.input(Spec::new(REFLEX_DTYPE_F32, &[2, 0]), &[]);
            let mut product = reflex_matmul_product {
                weight: weight_of(io.input_bytes(Spec::new(REFLEX_DTYPE_Q4_K, &[3, 0]), &[])),
                residual: io.input(Spec::new(REFLEX_DTYPE_F32, &[2, 3]), &[3.0; 6]),
                y: io.output(Spec::new(REFLEX_DTYPE_F32, &[2, 3])),
                ..Default::default()
            };
            if bias {
                product.bias = io.input(Spec::new(REFLEX_DTYPE_F32, &[3]), &[2.0; 3]);
            }
            let p = MatmulCall::new(0, x, &[product]);
            Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
        });
        assert_eq!(outputs[0], [want; 6]);
    }
}

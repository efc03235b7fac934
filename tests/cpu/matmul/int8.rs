//! Integer products: of an x of ACT_I8, and with REFLEX_MATMUL_INT8.

use super::case::*;
use crate::support::*;
use reflex_infer::*;

fn block(dtype: reflex_dtype) -> i64 {
    i64::from(reflex_dtype_block_elements(dtype))
}

#[test]
fn every_format_equals_the_formula() {
    let env = Env::cpu();
    for weight in BLOCKS {
        let step = block(weight);
        for (rows, n, k) in [(1, 1, step), (1, 37, 3 * step), (3, 16, 512), (9, 35, 512 + step)] {
            for product in [Product::new(weight, n), Product::new(weight, n).packed()] {
                Case::new(rows, k, &[product]).x(ACT_I8).check(&env);
            }
            let epilogue = Product {
                bias: Some(F16),
                residual: Some(BF16),
                ..Product::new(weight, n)
            };
            let case = Case {
                gaps: [1; 3],
                ..Case::new(rows, k, &[epilogue]).int8()
            };
            case.check(&env);
        }
    }
}

/// Half of a step of x is what the mode costs: far more than its f32 sums, and no more than documented.
#[test]
fn differs_from_the_exact_product_as_documented() {
    let env = Env::cpu();
    for weight in [REFLEX_DTYPE_Q4_K, REFLEX_DTYPE_Q8_0] {
        let (n, k) = (24usize, 1024usize);
        let case = Case::new(4, k as i64, &[Product::new(weight, n as i64)]);
        let exact = decode(F32, &case.run(&env)[0]);
        let rounded = decode(F32, &case.clone().int8().check(&env)[0]);
        let x = case.x_values();
        let weights = expand(&env, weight, n, k, &case.weight_bytes(0));
        let mut worst = 0.0f64;
        for (at, (exact, rounded)) in exact.into_iter().zip(rounded).enumerate() {
            let blocks = x[at / n * k..][..k]
                .chunks(32)
                .zip(weights[at % n * k..][..k].chunks(32));
            let bound: f64 = blocks
                .map(|(x, w)| {
                    let largest = x.iter().fold(0.0f32, |a, v| a.max(v.abs()));
                    f64::from(largest) / 254.0 * w.iter().map(|&w| f64::from(w.abs())).sum::<f64>()
                })
                .sum();
            let error = f64::from((exact - rounded).abs());
            assert!(error <= 1.001 * bound, "{error} above {bound}");
            worst = worst.max(error / bound);
        }
        assert!(worst > 1e-3, "nothing was rounded: {worst}");
    }
}

#[test]
fn packed_weights_give_the_same_bits() {
    let env = Env::cpu();
    for weight in BLOCKS {
        for (n, k) in [(15, 256), (16, block(weight)), (33, 512), (50, 768 + block(weight))] {
            let native = Product {
                bias: Some(F32),
                ..Product::new(weight, n)
            };
            for case in [Case::new(3, k, &[native]), Case::new(3, k, &[native]).int8()] {
                let other = Case {
                    products: vec![native.packed()],
                    ..case.clone()
                };
                assert!(case.run(&env) == other.run(&env), "{case:?}");
            }
        }
    }
}

#[test]
fn types_of_x_and_y() {
    let env = Env::cpu();
    for x in [F32, F16, BF16, ACT_I8] {
        for y in [F32, F16, BF16, ACT_I8] {
            for product in [
                Product::new(REFLEX_DTYPE_Q4_K, 96),
                Product::new(REFLEX_DTYPE_Q6_K, 96).packed(),
            ] {
                let product = Product {
                    y,
                    bias: Some(BF16),
                    residual: Some(F16),
                    ..product
                };
                Case::new(5, 512, &[product]).x(x).int8().check(&env);
            }
        }
    }
}

/// What the flag rounds x to is what reflex_quantize writes.
#[test]
fn quantising_before_or_within_is_the_same() {
    let env = Env::cpu();
    for weight in BLOCKS {
        let case = Case::new(7, 3 * block(weight), &[Product::new(weight, 21)]);
        let before = case.clone().x(ACT_I8);
        assert!(case.int8().run(&env) == before.run(&env), "{}", dtype_name(weight));
    }
}

/// A y of ACT_I8 is the f32 result, quantised.
#[test]
fn a_quantised_y_is_the_result_quantised() {
    let env = Env::cpu();
    for n in [32, 96, 128] {
        let f32 = Product {
            bias: Some(F32),
            ..Product::new(REFLEX_DTYPE_Q5_K, n)
        };
        let case = Case::new(4, 512, &[f32]).int8();
        let quantised = Case {
            products: vec![Product { y: ACT_I8, ..f32 }],
            ..case.clone()
        };
        let want = encode_act_i8(&decode(F32, &case.run(&env)[0]), n as usize);
        assert!(quantised.run(&env)[0] == want, "n = {n}");
    }
}

/// The flag allows; more rows than 64 of weights that are not packed, and weights without blocks, are computed as without it.
#[test]
fn the_flag_is_void_where_integers_do_not_serve() {
    let env = Env::cpu();
    let q4_k = Product::new(REFLEX_DTYPE_Q4_K, 5);
    let f16 = Product::new(F16, 3);
    for (case, is_void) in [
        (Case::new(64, 256, &[q4_k]), false),
        (Case::new(65, 256, &[q4_k]), true),
        (Case::new(65, 256, &[q4_k.packed()]), false),
        (Case::new(65, 256, &[q4_k, q4_k.packed()]), true),
        (Case::new(2, 256, &[f16]), true),
        (Case::new(2, 256, &[q4_k, f16]), true),
    ] {
        let flagged = case.clone().int8();
        assert!((flagged.check(&env) == case.check(&env)) == is_void, "{case:?}");
        assert_eq!(flagged.is_int8(), !is_void);
    }
    // But an x of ACT_I8 is always multiplied as it is.
    assert!(Case::new(65, 256, &[q4_k]).x(ACT_I8).is_int8());
    Case::new(65, 256, &[q4_k]).x(ACT_I8).check(&env);
}

#[test]
fn a_row_does_not_depend_on_the_others() {
    let env = Env::cpu();
    for x in [F32, ACT_I8] {
        let case = |rows| Case {
            flags: REFLEX_MATMUL_INT8 | REFLEX_MATMUL_BATCH_INVARIANT | REFLEX_MATMUL_CONSTANT_WEIGHTS,
            ..Case::new(rows, 512, &[Product::new(REFLEX_DTYPE_Q4_K, 9)]).x(x)
        };
        let alone = case(1).run(&env);
        for rows in [2, 9, 64] {
            assert!(case(rows).run(&env)[0][..36] == alone[0], "{rows} rows");
        }
    }
}

/// Whether products are of integers is a matter of the weights alone.
#[test]
fn the_number_of_rows_does_not_choose_batch_invariant_products() {
    let env = Env::cpu();
    let q4_k = Product::new(REFLEX_DTYPE_Q4_K, 5);
    let f16 = Product::new(F16, 3);
    for (products, is_int8) in [
        (vec![q4_k], true),
        (vec![q4_k.packed()], true),
        (vec![q4_k, q4_k.packed()], true),
        (vec![q4_k, f16], false),
    ] {
        let first_rows = |rows| {
            let case = Case {
                flags: REFLEX_MATMUL_INT8 | REFLEX_MATMUL_BATCH_INVARIANT,
                ..Case::new(rows, 256, &products)
            };
            assert_eq!(case.is_int8(), is_int8);
            let exact = Case {
                flags: REFLEX_MATMUL_BATCH_INVARIANT,
                ..case.clone()
            };
            let outputs = case.check(&env);
            assert_eq!(outputs == exact.check(&env), !is_int8, "{case:?}");
            outputs[0][..5 * 4].to_vec()
        };
        let alone = first_rows(1);
        for rows in [63, 64, 65, 130] {
            assert!(first_rows(rows) == alone, "{rows} rows of {products:?}");
        }
    }
    // So more rows than integers serve are refused, not computed exactly.
    for (flags, taken) in [
        (REFLEX_MATMUL_INT8, true),
        (REFLEX_MATMUL_BATCH_INVARIANT, true),
        (REFLEX_MATMUL_INT8 | REFLEX_MATMUL_BATCH_INVARIANT, false),
    ] {
        let rows = (1 << 18) + 1;
        // Addresses far from one another: nothing is read.
        let at = |bit: usize, dtype, [n, k]: [i64; 2]| reflex_tensor {
            data: std::ptr::without_provenance_mut(1 << bit),
            dtype,
            rank: 2,
            shape: [n, k, 0, 0],
            ..Default::default()
        };
        let product = product_of(at(41, REFLEX_DTYPE_Q4_K, [5, 256]), at(42, F32, [rows, 5]));
        let p = MatmulCall::new(flags, at(40, F32, [rows, 256]), &[product]);
        assert_eq!(
            MatmulCall::supported(env.context, &p) == REFLEX_SUCCESS,
            taken,
            "{flags}"
        );
    }
    assert_eq!(
        last_error(),
        "matmul: x.shape[0] is 262145, expected at most 262144 with REFLEX_MATMUL_INT8 and REFLEX_MATMUL_BATCH_INVARIANT"
    );
}

#[test]
fn zeros_and_nan_of_x() {
    let env = Env::cpu();
    for x_type in [F32, ACT_I8] {
        let mut x = vec![1.0f32; 3 * 256];
        x[..256].fill(0.0);
        x[256 + 100] = f32::NAN;
        let bytes = random_weights(&mut Random::new(2), REFLEX_DTYPE_Q6_K, 4 * 256);
        let outputs = run_once(&env, |io| {
            let x = io.input(Spec::new(x_type, &[3, 256]), &x);
            let product = reflex_matmul_product {
                weight: weight_of(io.input_bytes(Spec::new(REFLEX_DTYPE_Q6_K, &[4, 256]), &bytes)),
                bias: io.input(Spec::new(F32, &[4]), &[1.0, 2.0, 3.0, 4.0]),
                y: io.output(Spec::new(F32, &[3, 4])),
                ..Default::default()
            };
            let p = MatmulCall::new(REFLEX_MATMUL_INT8, x, &[product]);
            Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
        });
        assert_eq!(outputs[0][..4], [1.0, 2.0, 3.0, 4.0]);
        assert!(outputs[0][4..8].iter().all(|v| v.is_nan()));
        assert!(outputs[0][8..].iter().all(|v| v.is_finite()));
    }
}

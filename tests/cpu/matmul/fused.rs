//! Several weights over one x, and gated pairs.

use super::case::*;
use crate::support::*;
use reflex_infer::*;

const KINDS: [reflex_activation_kind; 3] = [
    REFLEX_ACTIVATION_SILU,
    REFLEX_ACTIVATION_GELU_TANH,
    REFLEX_ACTIVATION_GELU_ERF,
];

/// The heads' weights of a layer, each of another format, height, layout and epilogue.
fn qkv() -> [Product; 3] {
    [
        Product {
            bias: Some(F32),
            ..Product::new(REFLEX_DTYPE_Q4_K, 50).packed()
        },
        Product {
            y: F16,
            residual: Some(F32),
            ..Product::new(REFLEX_DTYPE_Q8_0, 17)
        },
        Product {
            bias: Some(BF16),
            in_place: true,
            ..Product::new(REFLEX_DTYPE_Q6_K, 32).packed()
        },
    ]
}

#[test]
fn each_product_is_what_it_is_alone() {
    let env = Env::cpu();
    let [q, k, v] = qkv();
    let plain = Product::new(F16, 21);
    for products in [vec![q, k], vec![q, k, v], vec![v, v, q], vec![plain, q, k]] {
        for rows in [1, 6, 70] {
            let exact = Case::new(rows, 512, &products);
            let mut cases = vec![exact.clone(), exact.clone().x(BF16), exact.clone().int8()];
            if !products.iter().any(|p| p.weight == F16) {
                cases.push(exact.x(ACT_I8));
            }
            for case in cases {
                let together = case.check(&env);
                for (i, y) in together.into_iter().enumerate() {
                    assert!(case.only(i).run(&env)[0] == y, "{i} of {case:?}");
                }
            }
        }
    }
}

#[test]
fn a_gated_pair_equals_the_formula() {
    let env = Env::cpu();
    for kind in KINDS {
        for (gate, up) in [
            (REFLEX_DTYPE_Q4_K, REFLEX_DTYPE_Q4_K),
            (REFLEX_DTYPE_Q4_0, REFLEX_DTYPE_Q6_K),
        ] {
            let gate = Product {
                bias: Some(F32),
                ..Product::new(gate, 64).packed()
            };
            let up = Product {
                bias: Some(F16),
                ..Product::new(up, 64)
            };
            for x in [F32, F16, ACT_I8] {
                for y in [F32, F16, BF16, ACT_I8] {
                    let residual = Product {
                        residual: Some(BF16),
                        ..gate
                    };
                    for gate in [gate, residual] {
                        Case::new(3, 256, &[Product { y, ..gate }, up])
                            .x(x)
                            .int8()
                            .gated(kind)
                            .check(&env);
                    }
                }
            }
            let in_place = Product {
                in_place: true,
                y: F16,
                ..gate
            };
            for rows in [1, 66] {
                let exact = Case {
                    gaps: [2; 3],
                    ..Case::new(rows, 256, &[in_place, Product { packed: true, ..up }])
                };
                exact.gated(kind).check(&env);
            }
        }
        // Weights without blocks have gates too.
        Case::new(2, 33, &[Product::new(F16, 7), Product::new(F32, 7)])
            .gated(kind)
            .check(&env);
    }
}

/// The pair is the activation op of its two products.
#[test]
fn a_gated_pair_is_two_products_and_an_activation() {
    let env = Env::cpu();
    let (rows, n) = (4, 96);
    let products = [
        Product {
            bias: Some(F32),
            ..Product::new(REFLEX_DTYPE_Q5_K, n)
        },
        Product::new(REFLEX_DTYPE_Q5_K, n).packed(),
    ];
    for kind in KINDS {
        for y in [F32, ACT_I8] {
            let case = Case::new(rows, 512, &products).int8();
            let [gate, up] = [0, 1].map(|i| decode(F32, &case.run(&env)[i]));
            let want = run_once_bytes(&env, |io| {
                let p = reflex_activation_params {
                    struct_size: size_of::<reflex_activation_params>() as u32,
                    kind,
                    gate: io.input(Spec::new(F32, &[rows, n]), &gate),
                    up: io.input(Spec::new(F32, &[rows, n]), &up),
                    y: io.output(if y == ACT_I8 {
                        act_i8(&[rows, n])
                    } else {
                        Spec::new(y, &[rows, n])
                    }),
                };
                Box::new(move |context, stream| reflex_activation(context, &p, stream))
            });
            let gated = Case {
                products: vec![Product { y, ..products[0] }, products[1]],
                ..case
            };
            let got = gated.gated(kind).run(&env);
            // By value: the epilogue's sum makes 0 of -0.
            let values = |bytes: &[u8]| match y {
                ACT_I8 => decode_act_i8(bytes, n as usize),
                _ => decode(y, bytes),
            };
            assert_eq!(values(&got[0]), values(&want[0]), "{kind:?} {}", dtype_name(y));
        }
    }
}

/// Columns of one matrix, as an engine keeps q, k and v: the views interleave.
#[test]
fn outputs_may_be_columns_of_one_matrix() {
    let env = Env::cpu();
    let case = Case::new(5, 512, &[40, 16, 24].map(|n| Product::new(REFLEX_DTYPE_Q4_K, n))).int8();
    let apart: Vec<Vec<f32>> = case.run(&env).iter().map(|bytes| decode(F32, bytes)).collect();
    let together = run_once(&env, |io| {
        // Their own outputs stay as they are.
        let mut p = case.params(io);
        let all = io.output(Spec::new(F32, &[5, 80]));
        let column = |y: &reflex_tensor, first: usize| reflex_tensor {
            data: all.data.wrapping_byte_add(4 * first),
            stride: [320, 4, 0, 0],
            ..*y
        };
        for (product, first) in p.products.iter_mut().zip([0, 40, 56]) {
            product.y = column(&product.y, first);
        }
        Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
    });
    let all = together.last().expect("the matrix");
    for (y, (first, n)) in apart.iter().zip([(0, 40), (40, 16), (56, 24)]) {
        for row in 0..5 {
            assert_eq!(all[row * 80 + first..][..n], y[row * n..][..n]);
        }
    }
}

#[test]
fn sums_over_nothing() {
    let env = Env::cpu();
    let [q, k, v] = qkv();
    for x in [F32, ACT_I8] {
        Case::new(3, 0, &[q, k, v]).x(x).check(&env);
        let biased = Product {
            bias: Some(F32),
            ..Product::new(REFLEX_DTYPE_Q4_0, 32)
        };
        for kind in KINDS {
            Case::new(3, 0, &[biased, biased]).x(x).gated(kind).check(&env);
        }
    }
    // ACT_I8 of zeros.
    let y = Product {
        y: ACT_I8,
        ..Product::new(REFLEX_DTYPE_Q4_K, 64)
    };
    let bytes = Case::new(2, 0, &[y]).x(ACT_I8).check(&env);
    assert!(bytes[0].iter().all(|&byte| byte == 0));
}

#[test]
fn empty_sums_in_every_mode() {
    check_empty_sums(&Env::cpu());
}

#[test]
fn nothing_to_write() {
    let env = Env::cpu();
    let [q, k, v] = qkv();
    for case in [
        Case::new(0, 512, &[q, k, v]),
        Case::new(0, 512, &[q, q]).gated(KINDS[0]),
    ] {
        for case in [case.clone(), case.clone().int8(), case.x(ACT_I8)] {
            assert!(case.run(&env).iter().all(Vec::is_empty));
        }
    }
    // One part without outputs, in each place.
    for empty in 0..3 {
        let mut products = [q, k, v];
        products[empty].n = 0;
        for case in [Case::new(4, 512, &products), Case::new(4, 512, &products).x(ACT_I8)] {
            assert!(case.check(&env)[empty].is_empty());
        }
    }
    let none = Product::new(REFLEX_DTYPE_Q4_K, 0);
    assert!(Case::new(4, 512, &[none, none]).int8().gated(KINDS[1]).run(&env)[0].is_empty());
}

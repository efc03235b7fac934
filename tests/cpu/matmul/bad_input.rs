//! What is refused, by which status, and what the message names.

use super::case::*;
use crate::support::*;
use reflex_infer::*;

#[test]
fn bad_input_is_refused() {
    let env = Env::cpu();
    let case = |change: &dyn Fn(&mut MatmulCall)| {
        refused(&env, |io| {
            let x = io.input(Spec::new(REFLEX_DTYPE_F32, &[2, 256]), &[0.0; 512]);
            let product = reflex_matmul_product {
                weight: weight_of(io.input_bytes(Spec::new(REFLEX_DTYPE_Q4_K, &[3, 256]), &[0; 432])),
                bias: io.input(Spec::new(REFLEX_DTYPE_F32, &[3]), &[0.0; 3]),
                residual: io.input(Spec::new(REFLEX_DTYPE_F32, &[2, 3]), &[0.0; 6]),
                y: io.output(Spec::new(REFLEX_DTYPE_F32, &[2, 3])),
                ..Default::default()
            };
            let mut p = MatmulCall::new(0, x, &[product]);
            change(&mut p);
            Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
        })
    };
    let expect = |(status, message): (reflex_status, String), want: reflex_status, field: &str| {
        assert!(
            status == want && message.contains(&format!("matmul: {field}")),
            "{message}"
        );
    };
    let invalid = REFLEX_INVALID_ARGUMENT;
    expect(case(&|p| p.flags = 16), invalid, "flags");
    expect(case(&|p| p.x.data = std::ptr::null_mut()), invalid, "x.data");
    expect(
        case(&|p| p.products[0].weight.data.data = std::ptr::null_mut()),
        invalid,
        "products[0].weight.data.data",
    );
    expect(
        case(&|p| p.products[0].y.data = std::ptr::null_mut()),
        invalid,
        "products[0].y.data",
    );
    expect(case(&|p| p.x.dtype = REFLEX_DTYPE_Q4_K), invalid, "x.dtype");
    expect(case(&|p| p.x.rank = 3), invalid, "x.rank");
    expect(case(&|p| p.x.stride = [2048, 8, 0, 0]), invalid, "x.stride[1]");
    expect(case(&|p| p.x.shape[0] = (1 << 30) + 1), invalid, "x.shape[0]");
    expect(case(&|p| p.x.shape[0] = -1), invalid, "x.shape[0]");
    expect(
        case(&|p| p.products[0].weight.data.dtype = REFLEX_DTYPE_I32),
        invalid,
        "products[0].weight.data.dtype",
    );
    expect(
        case(&|p| p.products[0].weight.data.shape[1] = 512),
        invalid,
        "products[0].weight.data.shape",
    );
    expect(
        case(&|p| p.products[0].weight.data.shape[1] = 200),
        invalid,
        "products[0].weight.data.shape[1]",
    );
    expect(
        case(&|p| p.products[0].bias.shape[0] = 2),
        invalid,
        "products[0].bias.shape",
    );
    expect(
        case(&|p| p.products[0].bias.dtype = REFLEX_DTYPE_I32),
        invalid,
        "products[0].bias.dtype",
    );
    expect(
        case(&|p| p.products[0].residual.shape[0] = 1),
        invalid,
        "products[0].residual.shape",
    );
    expect(
        case(&|p| p.products[0].residual.dtype = REFLEX_DTYPE_I32),
        invalid,
        "products[0].residual.dtype",
    );
    expect(case(&|p| p.products[0].y.shape[1] = 4), invalid, "products[0].y.shape");
    expect(
        case(&|p| p.products[0].y.dtype = REFLEX_DTYPE_I32),
        invalid,
        "products[0].y.dtype",
    );
    expect(
        case(&|p| p.products[0].y.stride = [0, 4, 0, 0]),
        invalid,
        "products[0].y.stride[0]",
    );
    expect(
        case(&|p| p.products[0].y.data = p.x.data),
        invalid,
        "products[0].y.data",
    );
    expect(
        case(&|p| p.products[0].y.data = p.products[0].weight.data.data),
        invalid,
        "products[0].y.data",
    );
    expect(
        case(&|p| p.products[0].y.data = p.products[0].bias.data),
        invalid,
        "products[0].y.data",
    );
    expect(
        case(&|p| p.products[0].y.data = p.products[0].residual.data.wrapping_byte_add(4)),
        invalid,
        "products[0].y.data",
    );
    expect(
        case(&|p| p.products[0].weight.data.data = p.products[0].weight.data.data.wrapping_byte_add(2)),
        REFLEX_MISALIGNED,
        "products[0].weight.data.data",
    );
    expect(
        case(&|p| p.products[0].weight.data.stride = [146, 144, 0, 0]),
        REFLEX_MISALIGNED,
        "products[0].weight.data.stride[0]",
    );
    expect(
        case(&|p| p.x.data = p.x.data.wrapping_byte_add(1)),
        REFLEX_MISALIGNED,
        "x.data",
    );
}

/// Products of `[2, 256]` with three weights, changed; the status and message of the refusal.
fn refusal(env: &Env, change: &dyn Fn(&mut MatmulCall)) -> (reflex_status, String) {
    let all = |n| Product {
        bias: Some(F32),
        residual: Some(F32),
        ..Product::new(REFLEX_DTYPE_Q4_K, n)
    };
    let case = Case::new(2, 256, &[all(32), all(64), all(16)]);
    refused(env, |io| {
        let mut p = case.params(io);
        change(&mut p);
        Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
    })
}

#[track_caller]
fn expect((status, message): (reflex_status, String), want: reflex_status, text: &str) {
    assert!(
        status == want && message.contains(&format!("matmul: {text}")),
        "{}: {message}",
        status_name(status)
    );
}

const INVALID: reflex_status = REFLEX_INVALID_ARGUMENT;

#[test]
fn flags_and_reserved_fields() {
    let env = Env::cpu();
    let case = |change: &dyn Fn(&mut MatmulCall)| refusal(&env, change);
    expect(
        case(&|p| p.flags = 16),
        INVALID,
        "flags is 0x10, expected REFLEX_MATMUL_* bits (0xf)",
    );
    expect(case(&|p| p.flags = 1 << 31), INVALID, "flags is 0x80000000");
    expect(case(&|p| p.reserved = 7), INVALID, "reserved is 7, expected 0");
    expect(
        case(&|p| p.activation = REFLEX_ACTIVATION_GELU_TANH),
        INVALID,
        "activation is 1, expected 0 without REFLEX_MATMUL_GATED",
    );
}

#[test]
fn every_product() {
    let env = Env::cpu();
    let case = |change: &dyn Fn(&mut MatmulCall)| refusal(&env, change);
    let null = std::ptr::null_mut();
    for i in 0..3 {
        let place = format!("products[{i}]");
        let other = |what: &str, change: &dyn Fn(&mut reflex_matmul_product)| {
            expect(
                case(&|p| change(&mut p.products[i])),
                INVALID,
                &format!("{place}.{what}"),
            )
        };
        let n = [32, 64, 16][i];
        other("weight.data.data is NULL, expected a pointer", &|o| {
            o.weight.data.data = null
        });
        other("weight.data.dtype is I32", &|o| o.weight.data.dtype = REFLEX_DTYPE_I32);
        other("weight.data.dtype is ACT_I8, expected", &|o| {
            o.weight.data.dtype = ACT_I8;
            o.weight.data.stride = [0; 4];
        });
        other("weight.data.dtype is 999 (0x3e7), which is no", &|o| {
            o.weight.data.dtype = reflex_dtype(999)
        });
        other("weight.data.rank is 1, expected 2", &|o| {
            o.weight.data.rank = 1;
            o.weight.data.shape[0] = 256;
            o.weight.data.stride = [0; 4];
        });
        other(
            &format!("weight.data.shape is [{n}, 512], expected [{n}, 256] ([n], [k] of x)"),
            &|o| {
                o.weight.data.shape[1] = 512;
            },
        );
        other("weight.data.shape[0] is -1", &|o| o.weight.data.shape[0] = -1);
        other("weight.data.shape[1] is 200, expected a multiple of 256", &|o| {
            o.weight.data.shape[1] = 200
        });
        other(&format!("bias.shape is [1], expected [{n}]"), &|o| o.bias.shape[0] = 1);
        other("bias.dtype is ACT_I8", &|o| {
            o.bias.dtype = ACT_I8;
            o.bias.shape[0] = 32;
        });
        other("residual.shape is [1,", &|o| o.residual.shape[0] = 1);
        other("residual.dtype is I32", &|o| o.residual.dtype = REFLEX_DTYPE_I32);
        other("y.data is NULL, expected a pointer", &|o| o.y.data = null);
        other(&format!("y.shape is [3, {n}], expected [2, {n}]"), &|o| {
            o.y.shape[0] = 3
        });
        other(&format!("y.shape is [2, 8], expected [2, {n}]"), &|o| o.y.shape[1] = 8);
        other("y.dtype is I32", &|o| o.y.dtype = REFLEX_DTYPE_I32);
        other("y.stride[0] is 0", &|o| o.y.stride = [0, 4, 0, 0]);
        expect(
            case(&|p| p.products[i].weight.data.data = p.products[i].weight.data.data.wrapping_byte_add(8)),
            REFLEX_MISALIGNED,
            &format!("{place}.weight.data.data"),
        );
        expect(
            case(&|p| p.products[i].weight.data.stride = [152, 144, 0, 0]),
            REFLEX_MISALIGNED,
            &format!("{place}.weight.data.stride[0] is 152, expected a multiple of 16"),
        );
    }
}

/// Every y against everything that is read or written, but for its own residual.
#[test]
fn outputs_share_memory_with_nothing() {
    let env = Env::cpu();
    type Field = fn(&mut MatmulCall) -> &mut reflex_tensor;
    macro_rules! fields {
        ($i:literal) => {
            [
                (concat!("products[", $i, "].weight.data"), |p| {
                    &mut p.products[$i].weight.data
                }),
                (concat!("products[", $i, "].bias"), |p| &mut p.products[$i].bias),
                (concat!("products[", $i, "].residual"), |p| {
                    &mut p.products[$i].residual
                }),
                (concat!("products[", $i, "].y"), |p| &mut p.products[$i].y),
            ]
        };
    }
    const PARTS: [[(&str, Field); 4]; 3] = [fields!(0), fields!(1), fields!(2)];
    for (i, part) in PARTS.iter().enumerate() {
        let (y_name, y) = part[3];
        let x: (&str, Field) = ("x", |p| &mut p.x);
        let all = PARTS
            .iter()
            .enumerate()
            .flat_map(|(j, part)| part.map(|field| (j, field)));
        for (j, (name, other)) in all.chain([(i, x)]) {
            if name == y_name {
                continue;
            }
            // Exactly its own residual's place would be allowed.
            let shift = if i == j && name.ends_with("residual") { 4 } else { 0 };
            let (status, message) = refusal(&env, &|p| y(p).data = other(p).data.wrapping_byte_add(shift));
            assert_eq!(status, INVALID, "{message}");
            let says = |a: &str, b: &str| {
                message.starts_with(&format!("matmul: {a}.data 0x"))
                    && message.contains(&format!(" overlaps {b} at 0x"))
            };
            assert!(says(y_name, name) || says(name, y_name), "{y_name}, {name}: {message}");
        }
    }
}

#[test]
fn gated_pairs() {
    let env = Env::cpu();
    let product = |n| Product {
        bias: Some(F32),
        ..Product::new(REFLEX_DTYPE_Q4_K, n)
    };
    let first = Product {
        residual: Some(F32),
        ..product(32)
    };
    let pair = Case::new(2, 256, &[first, product(32)]).gated(REFLEX_ACTIVATION_SILU);
    let case = |change: &dyn Fn(&mut MatmulCall)| {
        refused(&env, |io| {
            let mut p = pair.params(io);
            change(&mut p);
            Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
        })
    };
    let null = std::ptr::null_mut();
    expect(
        case(&|p| p.activation = reflex_activation_kind(3)),
        INVALID,
        "activation is 3, expected a REFLEX_ACTIVATION_*",
    );
    expect(
        case(&|p| p.products[1].weight.data.data = null),
        INVALID,
        "products[1].weight.data.data is NULL, expected a pointer",
    );
    for count in [0, 1, 3, 4] {
        expect(
            case(&|p| p.product_count = count),
            INVALID,
            &format!("product_count is {count}, expected 2 with REFLEX_MATMUL_GATED"),
        );
    }
    expect(
        case(&|p| p.products[1].y = p.products[0].y),
        INVALID,
        "products[1].y.data is set, expected NULL with REFLEX_MATMUL_GATED",
    );
    expect(
        case(&|p| p.products[1].residual = p.products[0].residual),
        INVALID,
        "products[1].residual.data is set, expected NULL with REFLEX_MATMUL_GATED",
    );
    expect(
        case(&|p| p.products[1].weight.data.shape[0] = 16),
        INVALID,
        "products[1].weight.data.shape is [16, 256], expected [32, 256]",
    );
    expect(
        case(&|p| p.products[1].bias.shape[0] = 16),
        INVALID,
        "products[1].bias.shape is [16], expected [32]",
    );
    expect(
        case(&|p| p.products[0].y.data = null),
        INVALID,
        "products[0].y.data is NULL",
    );
    for other in [
        |p: &MatmulCall| p.products[1].weight.data.data,
        |p: &MatmulCall| p.products[1].bias.data,
    ] {
        expect(
            case(&|p| p.products[0].y.data = other(p)),
            INVALID,
            "products[0].y.data 0x",
        );
    }
}

#[test]
fn what_integers_cannot_do() {
    let env = Env::cpu();
    let refusal = |case: Case| {
        refused(&env, |io| {
            let p = case.operands(io);
            Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
        })
    };
    let unsupported = REFLEX_UNSUPPORTED;
    let q4_k = Product::new(REFLEX_DTYPE_Q4_K, 32);
    let quantised = Product { y: ACT_I8, ..q4_k };
    for plain in [F32, F16, BF16] {
        let name = dtype_name(plain).to_uppercase();
        let plain = Product::new(plain, 32);
        expect(
            refusal(Case::new(2, 256, &[plain]).x(ACT_I8)),
            unsupported,
            &format!("products[0].weight.data.dtype is {name}, expected a block format with an x of ACT_I8"),
        );
        expect(
            refusal(Case::new(2, 256, &[q4_k, plain]).x(ACT_I8)),
            unsupported,
            &format!("products[1].weight.data.dtype is {name}"),
        );
        // The flag is void, and so there are no integers to quantise.
        expect(
            refusal(Case::new(2, 256, &[quantised, plain]).int8()),
            unsupported,
            "products[0].y.dtype is ACT_I8, expected a float type",
        );
    }
    expect(
        refusal(Case::new(2, 256, &[quantised])),
        unsupported,
        "products[0].y.dtype is ACT_I8",
    );
    expect(
        refusal(Case::new(2, 256, &[q4_k, q4_k, quantised])),
        unsupported,
        "products[2].y.dtype is ACT_I8",
    );
    expect(
        refusal(Case::new(65, 256, &[quantised]).int8()),
        unsupported,
        "products[0].y.dtype is ACT_I8",
    );
    expect(
        refusal(Case::new(2, 256, &[quantised, q4_k]).gated(REFLEX_ACTIVATION_SILU)),
        unsupported,
        "products[0].y.dtype is ACT_I8",
    );

    let case = |change: &dyn Fn(&mut MatmulCall)| {
        refused(&env, |io| {
            let mut p = Case::new(2, 256, &[quantised]).x(ACT_I8).params(io);
            change(&mut p);
            Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
        })
    };
    expect(
        case(&|p| (p.products[0].weight.data.shape[0], p.products[0].y.shape[1]) = (40, 40)),
        INVALID,
        "products[0].y.shape[1] is 40, expected a multiple of 32 (ACT_I8)",
    );
    expect(
        case(&|p| p.x.shape[1] = 250),
        INVALID,
        "x.shape[1] is 250, expected a multiple of 32 (ACT_I8)",
    );
    expect(
        case(&|p| p.x.data = p.x.data.wrapping_byte_add(8)),
        REFLEX_MISALIGNED,
        "x.data",
    );
    expect(
        case(&|p| p.products[0].y.data = p.products[0].y.data.wrapping_byte_add(4)),
        REFLEX_MISALIGNED,
        "products[0].y.data",
    );
    expect(
        case(&|p| p.products[0].y.stride = [40, 40, 0, 0]),
        REFLEX_MISALIGNED,
        "products[0].y.stride[0] is 40, expected a multiple of 16",
    );
    expect(case(&|p| p.x.dtype = packed(ACT_I8)), INVALID, "x.dtype is");
}

#[test]
fn packed_weights() {
    let env = Env::cpu();
    let case = |change: &dyn Fn(&mut MatmulCall)| {
        refused(&env, |io| {
            let products = [
                Product::new(REFLEX_DTYPE_Q5_K, 33).packed(),
                Product::new(REFLEX_DTYPE_Q8_0, 16).packed(),
            ];
            let mut p = Case::new(2, 512, &products).params(io);
            change(&mut p);
            Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
        })
    };
    expect(
        case(&|p| p.products[0].weight.data.stride = [368, 176, 0, 0]),
        INVALID,
        "products[0].weight.data.stride[0] is 368, expected 352 (a packed tensor is dense)",
    );
    expect(
        case(&|p| p.products[0].weight.data.data = p.products[0].weight.data.data.wrapping_byte_add(8)),
        REFLEX_MISALIGNED,
        "products[0].weight.data.data",
    );
    expect(
        case(&|p| p.products[1].weight.data.dtype = packed(F16)),
        INVALID,
        "products[1].weight.data.dtype is 4098 (0x1002), which is no REFLEX_DTYPE",
    );
    expect(
        case(&|p| p.x.dtype = packed(REFLEX_DTYPE_Q8_0)),
        INVALID,
        "x.dtype is Q8_0_PACKED, which is packed",
    );
}

/// What `_supported` says is what the launch says.
#[test]
fn supported_agrees_with_the_launch() {
    let env = Env::cpu();
    let quantised = Product {
        y: ACT_I8,
        ..Product::new(REFLEX_DTYPE_Q4_K, 32)
    };
    let io = Io::new(&env);
    let mut p = Case::new(2, 256, &[quantised]).int8().params(&io);
    ok(MatmulCall::supported(env.context, &p));
    p.flags = 0;
    assert_eq!(MatmulCall::supported(env.context, &p), REFLEX_UNSUPPORTED);
    let mut bytes = 1;
    assert_eq!(
        MatmulCall::workspace_size(env.context, &p, &mut bytes),
        REFLEX_UNSUPPORTED
    );
    assert_eq!(bytes, 1);
}

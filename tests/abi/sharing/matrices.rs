//! Products and packing.

use super::*;

/// A product of each of a call's weights, by the number of its outputs.
fn product(at: &mut Places, weight: reflex_dtype, rows: i64, n: i64) -> reflex_matmul_product {
    reflex_matmul_product {
        weight: weight_of(at.at(weight, &[n, 256])),
        bias: at.f32(&[n]),
        residual: at.f32(&[rows, n]),
        y: at.f32(&[rows, n]),
        ..Default::default()
    }
}

#[test]
fn matmul_shares_no_memory() {
    let three = Op {
        name: "matmul",
        call: MatmulCall::launch,
        supported: MatmulCall::supported,
        fields: both(
            reads!(
                p: MatmulCall; "x": p.x, "norm": p.norm,
                "products[0].weight.data": p.products[0].weight.data, "products[0].bias": p.products[0].bias,
                "products[0].residual": p.products[0].residual, "products[1].weight.data": p.products[1].weight.data,
                "products[1].bias": p.products[1].bias, "products[1].residual": p.products[1].residual,
                "products[2].weight.data": p.products[2].weight.data, "products[2].bias": p.products[2].bias,
                "products[2].residual": p.products[2].residual,
            ),
            vec![
                Field::output(
                    "products[0].y",
                    |p: &mut MatmulCall| &mut p.products[0].y,
                    &["products[0].residual"],
                ),
                Field::output("products[1].y", |p| &mut p.products[1].y, &["products[1].residual"]),
                Field::output("products[2].y", |p| &mut p.products[2].y, &["products[2].residual"]),
            ],
        ),
        make: |at, rows| {
            let products = [Q4_K, Q4_K, packed(Q4_K)].map(|weight| product(at, weight, rows, 32));
            let mut p = MatmulCall::new(0, at.f32(&[rows, 256]), &products);
            p.norm = at.f32(&[256]);
            p
        },
        workspace: Some(|p| {
            let p: &mut reflex_matmul_params = p;
            (&mut p.workspace, &mut p.workspace_size)
        }),
    };
    three.check(&Env::cpu());
    let gated = Op {
        fields: both(
            reads!(
                p: MatmulCall; "x": p.x, "x_squares": p.x_squares, "y_norm": p.y_norm,
                "products[0].weight.data": p.products[0].weight.data, "products[0].bias": p.products[0].bias,
                "products[0].residual": p.products[0].residual, "products[1].weight.data": p.products[1].weight.data,
                "products[1].bias": p.products[1].bias,
            ),
            vec![
                Field::output(
                    "products[0].y",
                    |p: &mut MatmulCall| &mut p.products[0].y,
                    &["products[0].residual"],
                ),
                Field::output("y_normed", |p| &mut p.y_normed, &[]),
                Field::output("y_squares", |p| &mut p.y_squares, &[]),
            ],
        ),
        make: |at, rows| {
            let pair = [
                product(at, Q4_K, rows, 64),
                reflex_matmul_product {
                    weight: weight_of(at.at(Q4_K, &[64, 256])),
                    bias: at.f32(&[64]),
                    ..Default::default()
                },
            ];
            let mut p = MatmulCall::new(REFLEX_MATMUL_GATED, at.at(ACT_I8, &[rows, 256]), &pair);
            p.x_squares = at.f32(&[rows, 8]);
            p.y_norm = at.f32(&[64]);
            p.y_normed = at.at(ACT_I8, &[rows, 64]);
            p.y_squares = at.f32(&[rows, 2]);
            p
        },
        ..three
    };
    gated.check(&Env::cpu());
}

#[test]
fn packing_shares_no_memory() {
    const PACKED: reflex_dtype = packed(Q4_K);
    let pack = Op {
        name: "weights_pack",
        call: reflex_weights_pack,
        supported: reflex_weights_pack_supported,
        fields: both(
            reads!(p: reflex_weights_pack_params; "source": p.source),
            vec![Field::output(
                "destination",
                |p: &mut reflex_weights_pack_params| &mut p.destination,
                &["source"],
            )],
        ),
        make: |at, rows| {
            sized!(reflex_weights_pack_params {
                source: at.at(Q4_K, &[4 * rows, 256]),
                destination: at.at(PACKED, &[4 * rows, 256]),
            })
        },
        workspace: workspace!(),
    };
    let unpack = Op {
        name: "weights_unpack",
        call: reflex_weights_unpack,
        supported: reflex_weights_unpack_supported,
        fields: both(
            reads!(p: reflex_weights_unpack_params; "source": p.source),
            vec![Field::output(
                "destination",
                |p: &mut reflex_weights_unpack_params| &mut p.destination,
                &["source"],
            )],
        ),
        make: |at, rows| {
            sized!(reflex_weights_unpack_params {
                source: at.at(PACKED, &[4 * rows, 256]),
                destination: at.at(Q4_K, &[4 * rows, 256]),
            })
        },
        workspace: workspace!(),
    };
    let env = Env::cpu();
    let memory = env.malloc(4 * PLACE);
    fn places(memory: *mut c_void) -> Places {
        Places { memory, next: 0 }
    }
    // In place where the native side is dense, and nowhere else.
    let words = [
        "destination.data",
        "overlaps source",
        "expected the address and dense rows of source",
    ];
    let mut p = (pack.make)(&mut places(memory), 8);
    pack.taken(&env, &p, "apart");
    p.destination.data = p.source.data;
    pack.taken(&env, &p, "in place");
    p.source.stride[0] += 144;
    pack.refused(&env, &p, "rows with gaps", &words);
    p.source.stride[0] -= 144;
    p.destination.data = p.source.data.wrapping_byte_add(144);
    pack.refused(&env, &p, "a row below", &words);
    for field in &pack.fields {
        pack.against_workspace(&env, &(pack.make)(&mut places(memory), 8), field);
    }
    let mut p = (unpack.make)(&mut places(memory), 8);
    unpack.taken(&env, &p, "apart");
    p.destination.data = p.source.data;
    unpack.taken(&env, &p, "in place");
    p.destination.stride[0] += 144;
    unpack.refused(&env, &p, "rows with gaps", &words);
    let mut p = (unpack.make)(&mut places(memory), 8);
    unpack.against_itself(&env, &p, &unpack.fields[1]);
    p.destination.data = p.source.data.wrapping_byte_sub(144);
    unpack.refused(&env, &p, "a row above", &words);
    for field in &unpack.fields {
        unpack.against_workspace(&env, &(unpack.make)(&mut places(memory), 8), field);
    }
    ok(reflex_device_free(env.context, memory));
}

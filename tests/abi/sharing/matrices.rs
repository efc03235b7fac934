//! Products and packing.

use super::*;

#[test]
fn matmul_shares_no_memory() {
    let three = Op {
        name: "matmul",
        call: reflex_matmul,
        supported: reflex_matmul_supported,
        fields: both(
            reads!(
                p: reflex_matmul_params; "x": p.x, "weight": p.weight, "bias": p.bias, "residual": p.residual, "norm": p.norm,
                "others[0].weight": p.others[0].weight, "others[0].bias": p.others[0].bias,
                "others[0].residual": p.others[0].residual, "others[1].weight": p.others[1].weight,
                "others[1].bias": p.others[1].bias, "others[1].residual": p.others[1].residual,
            ),
            vec![
                Field::output("y", |p: &mut reflex_matmul_params| &mut p.y, &["residual"]),
                Field::output("others[0].y", |p| &mut p.others[0].y, &["others[0].residual"]),
                Field::output("others[1].y", |p| &mut p.others[1].y, &["others[1].residual"]),
            ],
        ),
        make: |at, rows| {
            let mut product = |weight| reflex_matmul_product {
                weight: at.at(weight, &[32, 256]),
                bias: at.f32(&[32]),
                residual: at.f32(&[rows, 32]),
                y: at.f32(&[rows, 32]),
            };
            let (first, others) = (
                product(Q4_K),
                [Q4_K, reflex_dtype(Q4_K.0 | REFLEX_DTYPE_PACKED.0)].map(&mut product),
            );
            sized!(reflex_matmul_params {
                x: at.f32(&[rows, 256]),
                weight: first.weight,
                bias: first.bias,
                residual: first.residual,
                y: first.y,
                others,
                norm: at.f32(&[256]),
            })
        },
        workspace: workspace!(),
    };
    three.check(&Env::cpu());
    let gated = Op {
        fields: both(
            reads!(
                p: reflex_matmul_params; "x": p.x, "weight": p.weight, "bias": p.bias, "residual": p.residual, "x_squares": p.x_squares,
                "others[0].weight": p.others[0].weight, "others[0].bias": p.others[0].bias, "y_norm": p.y_norm,
            ),
            vec![
                Field::output("y", |p: &mut reflex_matmul_params| &mut p.y, &["residual"]),
                Field::output("y_normed", |p| &mut p.y_normed, &[]),
                Field::output("y_squares", |p| &mut p.y_squares, &[]),
            ],
        ),
        make: |at, rows| {
            sized!(reflex_matmul_params {
                flags: REFLEX_MATMUL_GATED,
                x: at.at(ACT_I8, &[rows, 256]),
                weight: at.at(Q4_K, &[64, 256]),
                bias: at.f32(&[64]),
                residual: at.f32(&[rows, 64]),
                y: at.f32(&[rows, 64]),
                others: [
                    reflex_matmul_product {
                        weight: at.at(Q4_K, &[64, 256]),
                        bias: at.f32(&[64]),
                        ..Default::default()
                    },
                    reflex_matmul_product::default(),
                ],
                x_squares: at.f32(&[rows, 8]),
                y_norm: at.f32(&[64]),
                y_normed: at.at(ACT_I8, &[rows, 64]),
                y_squares: at.f32(&[rows, 2]),
            })
        },
        ..three
    };
    gated.check(&Env::cpu());
}

#[test]
fn packing_shares_no_memory() {
    const PACKED: reflex_dtype = reflex_dtype(Q4_K.0 | REFLEX_DTYPE_PACKED.0);
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

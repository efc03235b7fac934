use crate::attention::{HEAD_SIZES, poisoned};
use crate::decode_case::*;
use crate::support::*;
use reflex_infer::*;

/// Every kernel, by what it is chosen for.
const KERNELS: [(reflex_dtype, i64, usize, &str); 10] = [
    (F16, 64, 0, "f16_mma_64"),
    (F16, 128, 0, "f16_mma_128"),
    (F16, 256, 0, "f16_mma_256"),
    (BF16, 64, 0, "bf16_mma_64"),
    (BF16, 128, 0, "bf16_mma_128"),
    (BF16, 256, 0, "bf16_mma_256"),
    (F32, 64, 0, "fma_aligned_64"),
    (F32, 128, 0, "fma_aligned_128"),
    (F32, 256, 0, "fma_aligned_256"),
    (F16, 128, 1, "fma_256"),
];

pub fn tests(suite: &mut Suite) {
    for (kv, dim, offset, kernel) in KERNELS {
        let case = Case {
            kv,
            dim,
            v_dim: dim,
            offset,
            ..Case::new()
        };
        case.clone().add(suite, &format!("kernel_{kernel}"));
        suite.test(format!("attention_decode::selects_{kernel}"), move |_| {
            let env = Env::cuda().expect("a GPU");
            let io = Io::new(&env);
            let name = selected(&env, reflex_attention_decode_selected_kernel, &case.params(&io));
            let turing = env.device_info().sm < 80 && kv == BF16;
            assert!(turing || name == format!("reflex_attention_decode_{kernel}"), "{name}");
        });
    }
    for (type_name, kv) in KV_TYPES {
        let base = Case { kv, ..Case::new() };
        for (dim, v_dim) in HEAD_SIZES {
            Case {
                dim,
                v_dim,
                ..base.clone()
            }
            .add(suite, &format!("{type_name}_dim_{dim}_{v_dim}"));
        }
        for (heads, kv_heads) in [
            (1, 1),
            (4, 4),
            (8, 2),
            (7, 1),
            (8, 1),
            (9, 1),
            (16, 1),
            (34, 2),
            (15, 5),
        ] {
            Case {
                heads,
                kv_heads,
                ..base.clone()
            }
            .add(suite, &format!("{type_name}_heads_{heads}_{kv_heads}"));
        }
        for length in [0, 1, 15, 16, 17, 63, 64, 65, 129, 699, 700] {
            Case {
                lengths: vec![length],
                ..base.clone()
            }
            .add(suite, &format!("{type_name}_length_{length}"));
        }
        for capacity in [1, 16, 63, 64, 65, 200] {
            let case = Case {
                capacity,
                lengths: vec![capacity as i32],
                dim: 128,
                v_dim: 128,
                ..base.clone()
            };
            case.add(suite, &format!("{type_name}_capacity_{capacity}"));
        }
        // Shorter than a split, out of range, all of the capacity.
        let case = Case {
            lengths: vec![3, -1, 701, 128, i32::MAX],
            ..base.clone()
        };
        case.add(suite, &format!("{type_name}_lengths"));
        Case {
            lengths: vec![700; 3],
            no_lengths: true,
            ..base.clone()
        }
        .add(suite, &format!("{type_name}_no_lengths"));
        // More blocks than any GPU holds at once: no split.
        let case = Case {
            heads: 20,
            kv_heads: 20,
            capacity: 20,
            dim: 8,
            v_dim: 8,
            lengths: vec![20; 130],
            no_lengths: true,
            ..base.clone()
        };
        case.add(suite, &format!("{type_name}_large_batch"));
        let case = Case {
            capacity: 9000,
            lengths: vec![8765],
            dim: 128,
            v_dim: 128,
            ..base.clone()
        };
        case.add(suite, &format!("{type_name}_long"));
        for (gap, offset) in [(8, 0), (1, 0), (0, 1), (3, 5), (2, 0)] {
            let case = Case {
                gap,
                offset,
                lengths: vec![700, 41],
                ..base.clone()
            };
            case.add(suite, &format!("{type_name}_gap_{gap}_offset_{offset}"));
        }
        for (x, y) in [(F16, F16), (BF16, BF16), (F16, F32), (F32, BF16)] {
            let case = Case {
                x,
                y,
                dim: 128,
                v_dim: 128,
                ..base.clone()
            };
            case.add(suite, &format!("{type_name}_types_{}_{}", x.0, y.0));
        }
        Case {
            scale: 0.02,
            ..base.clone()
        }
        .add(suite, &format!("{type_name}_scale"));
        Case {
            capacity: 0,
            lengths: vec![0],
            no_lengths: true,
            ..base.clone()
        }
        .add(suite, &format!("{type_name}_zero_capacity"));
        Case {
            lengths: vec![],
            no_lengths: true,
            ..base.clone()
        }
        .add(suite, &format!("{type_name}_zero_batch"));
        quantized(suite, type_name, kv);
        specials(suite, type_name, kv);
        layouts(suite, type_name, kv);
        replayed_with_new_lengths(suite, type_name, kv);
    }
    workspace(suite);
}

/// One split and many; sequences without keys; heads of one and of several blocks.
fn quantized(suite: &mut Suite, type_name: &str, kv: reflex_dtype) {
    for capacity in [50, 700, 3000] {
        for (heads, kv_heads, v_dim) in [(8, 2, 64), (7, 1, 128), (34, 2, 32), (3, 3, 96), (4, 1, 256)] {
            let case = Case {
                kv,
                y: ACT_I8,
                heads,
                kv_heads,
                capacity,
                v_dim,
                lengths: vec![capacity as i32, 0, 41],
                ..Case::new()
            };
            let name = format!("{type_name}_quantized_capacity_{capacity}_heads_{heads}_{kv_heads}_{v_dim}");
            case.add(suite, &name);
        }
    }
    let case = Case {
        kv,
        y: ACT_I8,
        lengths: vec![],
        no_lengths: true,
        ..Case::new()
    };
    case.add(suite, &format!("{type_name}_quantized_zero_batch"));
    // Unaligned K and V.
    let case = Case {
        kv,
        y: ACT_I8,
        offset: 1,
        ..Case::new()
    };
    case.add(suite, &format!("{type_name}_quantized_offset_1"));
}

fn specials(suite: &mut Suite, type_name: &str, kv: reflex_dtype) {
    let case = Case {
        kv,
        kv_heads: 4,
        ..Case::new()
    };
    case.changed(suite, &format!("{type_name}_specials"), |case, io, p| {
        let mut random = Random::new(78);
        let row = (case.kv_heads * case.dim) as usize;
        let [mut ks, mut vs] = [0, 1].map(|_| random.normals(case.capacity as usize * row));
        poisoned(&mut ks, &case.lengths, case.capacity);
        poisoned(&mut vs, &case.lengths, case.capacity);
        // A column of the first kv head, and the whole of the second and third; the fourth stays as it is.
        (vs[300 * row + 5], vs[301 * row + 6]) = (f32::NAN, f32::INFINITY);
        ks[400 * row + 64] = f32::NAN;
        ks[612 * row + 128] = f32::INFINITY;
        let cache = Spec::new(case.kv, &[1, case.capacity, case.kv_heads, case.dim]);
        p.k = io.input(cache.clone(), &ks);
        p.v = io.input(cache, &vs);
    });
}

/// The cache as `[batch, kv_heads, capacity, dim]`; q in a merged buffer; y in place of q.
fn layouts(suite: &mut Suite, type_name: &str, kv: reflex_dtype) {
    let case = Case {
        kv,
        lengths: vec![600, 33],
        ..Case::new()
    };
    case.changed(suite, &format!("{type_name}_heads_first"), |case, io, p| {
        let size = i64::from(reflex_dtype_block_bytes(case.kv));
        let (cap, g, d) = (case.capacity, case.kv_heads, case.dim);
        let cache = Spec::new(case.kv, &[2, cap, g, d]).strides(&[g * cap * d * size, d * size, cap * d * size, size]);
        let mut random = Random::new(3);
        let [mut ks, mut vs] = [0, 1].map(|_| random.normals(cache.elements()));
        poisoned(&mut ks, &case.lengths, cap);
        poisoned(&mut vs, &case.lengths, cap);
        p.k = io.input(cache.clone(), &ks);
        p.v = io.input(cache, &vs);
    });

    let case = Case {
        kv,
        lengths: vec![600, 700],
        ..Case::new()
    };
    case.changed(suite, &format!("{type_name}_strided_q_and_y"), |case, io, p| {
        let (h, d) = (case.heads, case.dim);
        let spec = Spec::new(F32, &[2, h, d]).strides(&[(h + 4) * d * 4, d * 4, 4]);
        p.q = io.input(spec.clone(), &Random::new(4).normals(spec.elements()));
        p.y = io.output(spec);
    });

    for capacity in [50, 700] {
        let case = Case {
            kv,
            capacity,
            lengths: vec![capacity as i32],
            no_lengths: true,
            ..Case::new()
        };
        case.add_in_place(suite, &format!("{type_name}_in_place_capacity_{capacity}"));
    }
}

/// What an engine does: one graph, and lengths that grow in device memory. The bits are those of a fresh launch, and
/// close to the CPU's.
fn replayed_with_new_lengths(suite: &mut Suite, type_name: &str, kv: reflex_dtype) {
    suite.test(
        format!("attention_decode::{type_name}_replayed_with_new_lengths"),
        move |_| {
            let env = Env::cuda().expect("a GPU");
            let cpu = Env::cpu();
            let case = Case {
                kv,
                capacity: 3000,
                lengths: vec![3000, 3000],
                ..Case::new()
            };
            let (io, cpu_io) = (Io::new(&env), Io::new(&cpu));
            let (p, cpu_p) = (case.params(&io), case.params(&cpu_io));
            assert!(p.workspace_size > 0, "not split");
            let graph = env.captured(|| reflex_attention_decode(env.context, &p, env.stream));
            let bytes = (case.batch() * case.heads * case.v_dim * 4) as usize;
            for lengths in [[1, 3000], [64, 0], [65, 100], [2999, 1500], [-4, i32::MAX]] {
                env.upload(p.kv_lengths.data, &encode_ints(&lengths));
                cpu.upload(cpu_p.kv_lengths.data, &encode_ints(&lengths));
                let [mut replayed, mut fresh, mut reference] = [0, 1, 2].map(|_| vec![0; bytes]);
                ok(reflex_graph_launch(env.context, graph, env.stream));
                env.download(p.y.data, &mut replayed);
                ok(reflex_attention_decode(env.context, &p, env.stream));
                env.download(p.y.data, &mut fresh);
                assert!(
                    replayed == fresh,
                    "lengths {lengths:?}: a replay gave other bits than a launch"
                );
                ok(reflex_attention_decode(cpu.context, &cpu_p, cpu.stream));
                cpu.download(cpu_p.y.data, &mut reference);
                case.expect_close(&replayed, &reference, &format!("lengths {lengths:?}"));
            }
            reflex_graph_destroy(graph);
        },
    );
}

fn workspace(suite: &mut Suite) {
    suite.test("attention_decode::workspace_is_checked", |_| {
        let env = Env::cuda().expect("a GPU");
        let io = Io::new(&env);
        let p = Case::new().params(&io);
        assert!(p.workspace_size > 0, "not split");
        let status = |change: &dyn Fn(&mut reflex_attention_decode_params)| {
            let mut p = p;
            change(&mut p);
            status_name(reflex_attention_decode(env.context, &p, env.stream))
        };
        let small = status_name(REFLEX_WORKSPACE_TOO_SMALL);
        assert_eq!(status(&|p| p.workspace_size -= 1), small);
        assert_eq!(status(&|p| p.workspace = std::ptr::null_mut()), small);
        let misaligned = status(&|p| p.workspace = p.workspace.wrapping_byte_add(128));
        assert_eq!(misaligned, status_name(REFLEX_MISALIGNED));
        // The size is a matter of shapes: neither lengths nor addresses change it.
        let mut other = p;
        other.kv_lengths = reflex_tensor::default();
        other.k.data = other.k.data.wrapping_byte_add(2);
        let mut bytes = 0;
        ok(reflex_attention_decode_workspace_size(env.context, &other, &mut bytes));
        assert_eq!(bytes, p.workspace_size);
    });
}

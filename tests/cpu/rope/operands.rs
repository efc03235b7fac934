//! Which operands and parameters are taken together, and which are refused.

use super::{F16, F32, base, close, normed, oracle, values_alone};
use crate::support::*;
use reflex_infer::*;

/// Parameters of the rotation are checked, and have no effect where nothing is rotated.
#[test]
fn v_alone_takes_the_parameters_of_a_rotation() {
    let env = Env::cpu();
    let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    for (rotary_dim, factors) in [(0, 0), (0, 5), (64, 0), (64, 32), (1024, 512), (2, 1)] {
        let outputs = run_once(&env, |io| {
            let mut p = reflex_rope_params {
                mode: REFLEX_ROPE_INTERLEAVED,
                theta_base: 5e5,
                freq_scale: 0.5,
                magnitude: 3.0,
                rotary_dim,
                v: io.input(Spec::new(F32, &[3, 1, 2]), &values),
                positions: io.ints(&[1, -1, 0]),
                ..base()
            };
            if factors > 0 {
                p.freq_factors = io.input(Spec::new(F32, &[factors]), &vec![0.0; factors as usize]);
            }
            let call = RopeCall::new(p, values_alone(io));
            Box::new(move |context, stream| RopeCall::launch(context, &call, stream))
        });
        assert_eq!(outputs[0], [5.0, 6.0, 1.0, 2.0, 0.0, 0.0], "rotary_dim {rotary_dim}");
    }
    for (status, words, change) in V_ALONE {
        expect_refused(&env, "rope", (*status, words), |io| {
            let p = reflex_rope_params {
                v: io.input(Spec::new(F32, &[3, 1, 2]), &values),
                positions: io.ints(&[1, -1, 0]),
                ..base()
            };
            let mut call = RopeCall::new(p, values_alone(io));
            change(&mut call, io);
            Box::new(move |context, stream| RopeCall::launch(context, &call, stream))
        });
    }
}

type Refusal = (reflex_status, &'static str, fn(&mut RopeCall, &Io));
const V_ALONE: &[Refusal] = &[
    (REFLEX_INVALID_ARGUMENT, "rotary_dim is 7", |p, _| p.rotary_dim = 7),
    (REFLEX_UNSUPPORTED, "rotary_dim is 1026", |p, _| p.rotary_dim = 1026),
    (REFLEX_INVALID_ARGUMENT, "theta_base is 0.5", |p, _| p.theta_base = 0.5),
    (REFLEX_INVALID_ARGUMENT, "norm_epsilon is -1", |p, _| {
        p.norm_epsilon = -1.0
    }),
    (REFLEX_INVALID_ARGUMENT, "freq_factors.shape is [5]", |p, io| {
        p.rotary_dim = 8;
        p.freq_factors = io.output(Spec::new(F32, &[5]));
    }),
    (REFLEX_INVALID_ARGUMENT, "freq_factors.rank is 2", |p, io| {
        p.freq_factors = io.output(Spec::new(F32, &[2, 2]));
    }),
    (REFLEX_INVALID_ARGUMENT, "q_norm is given, which needs q", |p, io| {
        p.q_norm = io.output(Spec::new(F32, &[2]));
    }),
    (REFLEX_INVALID_ARGUMENT, "k_norm is given, which needs k", |p, io| {
        p.k_norm = io.output(Spec::new(F32, &[2]));
    }),
    (REFLEX_INVALID_ARGUMENT, "slots is given, which needs cache", |p, io| {
        p.q = io.output(Spec::new(F32, &[3, 1, 2]));
        (p.v, p.cache) = Default::default();
        p.slots = io.ints(&[0, 1, 2]);
    }),
    (
        REFLEX_INVALID_ARGUMENT,
        "cache is given, which needs k or v",
        |p, io| {
            p.q = io.output(Spec::new(F32, &[3, 1, 2]));
            p.v = Default::default();
        },
    ),
    (REFLEX_INVALID_ARGUMENT, "positions.data is NULL", |p, io| {
        p.slots = io.ints(&[0, 1, 2]);
        p.positions = reflex_tensor::default();
    }),
];

/// Every combination of q, k and v, with and without a cache: one rule decides, and what is accepted does its work.
#[test]
fn each_combination_of_operands_follows_one_rule() {
    let env = Env::cpu();
    const Q: u32 = 1;
    const K: u32 = 2;
    const V: u32 = 4;
    const Q_OUT: u32 = 8;
    const K_OUT: u32 = 16;
    const CACHE: u32 = 32;
    const Q_NORM: u32 = 64;
    const K_NORM: u32 = 128;
    const SLOTS: u32 = 256;
    // What one operand is for is given with it.
    let needs = [
        (Q_OUT, Q),
        (K_OUT, K),
        (CACHE, K | V),
        (V, CACHE),
        (Q_NORM, Q),
        (K_NORM, K),
        (SLOTS, CACHE),
    ];
    let dim = 8;
    let mut random = Random::new(12);
    let rows: Vec<f32> = random.normals(2 * dim);
    let weight: Vec<f32> = random.normals(dim);
    let positions = [1, 0];
    for given in 0..512u32 {
        let has = |operand: u32| given & operand != 0;
        let wanted = has(Q | K | V) && needs.iter().all(|&(one, other)| !has(one) || has(other));
        let io = Io::new(&env);
        let spec = || Spec::new(F32, &[2, 1, dim as i64]);
        let some = |operand: u32, tensor: &dyn Fn() -> reflex_tensor| match has(operand) {
            true => tensor(),
            false => reflex_tensor::default(),
        };
        let norm = || io.input(Spec::new(F32, &[dim as i64]), &weight);
        let x = || io.in_out(spec(), &rows);
        let written = || io.output(spec());
        let p = reflex_rope_params {
            rotary_dim: 6,
            q: some(Q, &x),
            k: some(K, &x),
            v: some(V, &x),
            q_out: some(Q_OUT, &written),
            k_out: some(K_OUT, &written),
            q_norm: some(Q_NORM, &norm),
            k_norm: some(K_NORM, &norm),
            slots: some(SLOTS, &|| io.ints(&[0, 1])),
            positions: io.ints(&positions),
            ..base()
        };
        let part = |operand: u32| {
            let spec = Spec::new(F32, &[1, 2, 1, dim as i64]);
            // What is not given is not written.
            match has(operand) {
                true => io.output(spec),
                false => io.input(spec, &rows),
            }
        };
        let cache = match has(CACHE) {
            true => kv_cache(part(K), part(V), Default::default()),
            false => Default::default(),
        };
        let p = RopeCall::new(p, cache);
        let status = RopeCall::launch(env.context, &p, env.stream);
        assert_eq!(RopeCall::supported(env.context, &p), status, "{given:#x}");
        if !wanted {
            assert_eq!(status, REFLEX_INVALID_ARGUMENT, "{given:#x}");
            continue;
        }
        assert_eq!(status, REFLEX_SUCCESS, "{given:#x}: {}", last_error());
        io.read();
        let read = |tensor: reflex_tensor| {
            let mut bytes = vec![0; 8 * dim];
            env.download(tensor.data, &mut bytes);
            decode(F32, &bytes)
        };
        let rotated = |normed_by: bool| -> Vec<f64> {
            let heads = rows.chunks(dim).zip(positions);
            heads
                .flat_map(|(x, position)| match normed_by {
                    true => oracle(&p, &normed(x, &weight, 1e-6), position, None),
                    false => oracle(&p, x, position, None),
                })
                .collect()
        };
        let expect = |tensor: reflex_tensor, want: Vec<f64>| {
            read(tensor)
                .into_iter()
                .zip(want)
                .for_each(|(got, want)| close(got, want));
        };
        let swap = |x: Vec<f64>| match has(SLOTS) {
            true => x,
            // The slot is the position.
            false => [&x[dim..], &x[..dim]].concat(),
        };
        if has(Q) {
            expect(if has(Q_OUT) { p.q_out } else { p.q }, rotated(has(Q_NORM)));
        }
        if has(K) && (has(K_OUT) || !has(CACHE)) {
            expect(if has(K_OUT) { p.k_out } else { p.k }, rotated(has(K_NORM)));
        } else if has(K) {
            assert_eq!(read(p.k), rows, "{given:#x}");
        }
        if has(K) && has(CACHE) {
            expect(p.cache.k, swap(rotated(has(K_NORM))));
        }
        if has(V) {
            assert_eq!(read(p.v), rows, "{given:#x}");
            expect(p.cache.v, swap(rows.iter().map(|&v| v.into()).collect()));
        }
    }
}

#[test]
fn bad_input_is_refused() {
    type Change = fn(&mut RopeCall, &Io);
    let cases: &[(&str, Change)] = &[
        ("mode", |p, _| p.mode = reflex_rope_mode(2)),
        ("theta_base", |p, _| p.theta_base = 0.5),
        ("theta_base", |p, _| p.theta_base = f32::NAN),
        ("freq_scale", |p, _| p.freq_scale = -1.0),
        ("freq_scale", |p, _| p.freq_scale = f32::INFINITY),
        ("magnitude", |p, _| p.magnitude = -0.5),
        ("rotary_dim", |p, _| p.rotary_dim = 3),
        ("rotary_dim", |p, _| p.rotary_dim = 10),
        ("q.rank", |p, _| p.q.rank = 2),
        ("q.dtype", |p, _| p.q.dtype = REFLEX_DTYPE_I32),
        ("q.shape", |p, _| p.q.shape[1] = -1),
        ("k.shape", |p, _| p.k.shape[0] = 1),
        ("k.shape", |p, io| {
            p.k = io.output(Spec::new(F32, &[2, 1, 4]));
            p.cache.k = io.output(Spec::new(F32, &[1, 3, 1, 4]));
        }),
        ("v.shape", |p, io| {
            p.v = io.output(Spec::new(F32, &[2, 2, 8]));
            p.cache.v = io.output(Spec::new(F32, &[1, 3, 2, 8]));
        }),
        ("positions.data", |p, _| p.positions = reflex_tensor::default()),
        ("positions.shape", |p, io| p.positions = io.ints(&[1, 2, 3])),
        ("positions.dtype", |p, io| p.positions = io.output(Spec::new(F32, &[2]))),
        ("slots.shape", |p, io| p.slots = io.ints(&[1])),
        ("slots", |p, io| {
            p.slots = io.ints(&[1, 2]);
            p.k = reflex_tensor::default();
            p.v = reflex_tensor::default();
            p.cache = reflex_kv_cache::default();
        }),
        ("freq_factors.shape", |p, io| {
            p.freq_factors = io.output(Spec::new(F32, &[3]))
        }),
        ("freq_factors.dtype", |p, io| {
            p.freq_factors = io.output(Spec::new(F16, &[4]))
        }),
        ("q_out.shape", |p, io| p.q_out = io.output(Spec::new(F32, &[2, 1, 8]))),
        ("k_out", |p, io| {
            p.k_out = io.output(Spec::new(F32, &[2, 1, 8]));
            p.k = reflex_tensor::default();
        }),
        ("cache is given, which needs k or v", |p, _| {
            (p.k, p.v) = Default::default()
        }),
        ("cache.k.shape", |p, io| {
            p.cache.k = io.output(Spec::new(F32, &[1, 3, 2, 8]));
            p.cache.v = io.output(Spec::new(F32, &[1, 3, 2, 8]));
        }),
        ("cache.k.shape", |p, io| {
            p.cache.k = io.output(Spec::new(F32, &[1, 3, 1, 16]))
        }),
        ("cache.v.shape", |p, io| {
            p.cache.v = io.output(Spec::new(F32, &[1, 3, 1, 7]))
        }),
        ("cache.k.dtype", |p, io| {
            p.cache.k = io.output(Spec::new(REFLEX_DTYPE_I32, &[1, 3, 1, 8]))
        }),
        ("v is given, which needs cache", |p, _| p.cache = Default::default()),
        ("cache.v.shape", |p, io| {
            p.cache.v = io.output(Spec::new(F32, &[1, 4, 1, 8]))
        }),
        ("slots.data is NULL, expected the slot of each token", |p, io| {
            p.cache.k = io.output(Spec::new(F32, &[2, 8, 1, 8]));
            p.cache.v = io.output(Spec::new(F32, &[2, 8, 1, 8]));
            p.cache.block_table = io.output(Spec::new(REFLEX_DTYPE_I32, &[2, 3]));
        }),
        ("q.data", |p, _| *p = Default::default()),
        ("q_out.data", |p, _| p.q_out = p.q.overlap()),
        ("cache.k.data", |p, _| p.cache.k.data = p.v.data),
        ("cache.v.data", |p, _| p.cache.v = p.cache.k),
        ("q.stride[0]", |p, _| p.q.stride = [0, 32, 4, 0]),
        (
            "rotary_dim is 0, which selects head_dim, 7, expected an even number",
            |p, _| {
                (p.k, p.v, p.cache) = Default::default();
                (p.q.shape[2], p.q.stride) = (7, [64, 32, 4, 0]);
            },
        ),
        ("q_norm.shape", |p, io| p.q_norm = io.output(Spec::new(F32, &[4]))),
        ("q_norm.dtype", |p, io| {
            p.q_norm = io.output(Spec::new(REFLEX_DTYPE_I32, &[8]))
        }),
        ("q_norm", |p, io| {
            p.q_norm = io.output(Spec::new(F32, &[8]));
            p.q = reflex_tensor::default();
        }),
        ("k_norm.shape", |p, io| p.k_norm = io.output(Spec::new(F32, &[1, 8]))),
        ("k_norm", |p, io| {
            p.k_norm = io.output(Spec::new(F32, &[8]));
            p.k = reflex_tensor::default();
        }),
        // The first head of q, which is rotated in place.
        ("q.data", |p, _| {
            p.k_norm = p.q;
            p.k_norm.rank = 1;
            p.k_norm.shape = [8, 0, 0, 0];
            p.k_norm.stride = [0; 4];
        }),
        ("norm_epsilon", |p, _| p.norm_epsilon = -1e-6),
        ("norm_epsilon", |p, _| p.norm_epsilon = f32::NAN),
        ("reserved", |p, _| p.reserved = 1),
    ];
    trait Overlap {
        fn overlap(self) -> reflex_tensor;
    }
    impl Overlap for reflex_tensor {
        fn overlap(mut self) -> reflex_tensor {
            self.data = self.data.wrapping_byte_add(8);
            self
        }
    }
    let env = Env::cpu();
    for (i, (field, change)) in cases.iter().enumerate() {
        let (status, message) = refused(&env, |io| {
            let p = reflex_rope_params {
                q: io.in_out(Spec::new(F32, &[2, 2, 8]), &[1.0; 32]),
                k: io.input(Spec::new(F32, &[2, 1, 8]), &[1.0; 16]),
                v: io.input(Spec::new(F32, &[2, 1, 8]), &[1.0; 16]),
                positions: io.ints(&[0, 1]),
                ..base()
            };
            let cache = || io.output(Spec::new(F32, &[1, 3, 1, 8]));
            let mut p = RopeCall::new(p, kv_cache(cache(), cache(), Default::default()));
            change(&mut p, io);
            Box::new(move |context, stream| RopeCall::launch(context, &p, stream))
        });
        assert!(
            message.contains(&format!("rope: {field}")),
            "case {i} {field}: {message}"
        );
        assert_eq!(status, REFLEX_INVALID_ARGUMENT, "case {i}: {message}");
    }

    let (status, message) = refused(&env, |io| {
        let p = reflex_rope_params {
            q: io.in_out(Spec::new(F32, &[1, 1, 2048]), &[1.0; 2048]),
            positions: io.ints(&[0]),
            ..base()
        };
        Box::new(move |context, stream| reflex_rope(context, &p, stream))
    });
    assert_eq!(status, REFLEX_UNSUPPORTED, "{message}");
    assert!(message.contains("rope: rotary_dim"), "{message}");
}

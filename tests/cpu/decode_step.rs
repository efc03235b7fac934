//! `reflex_attention_decode` with norms, rotation and append before the attention.

use crate::attention::{Sizes, oracle};
use crate::attention_decode::{cache_specs, with_caches};
use crate::rope;
use crate::support::*;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const F16: reflex_dtype = REFLEX_DTYPE_F16;
const BF16: reflex_dtype = REFLEX_DTYPE_BF16;

const SIZES: Sizes = Sizes {
    b: 4,
    t: 1,
    h: 6,
    g: 2,
    cap: 9,
    d: 32,
    dv: 16,
};
const LENGTHS: [i32; 4] = [9, 0, 1, 5];
const POSITIONS: [i32; 4] = [8, 3, 70_000, 4];

struct Values {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    k_new: Vec<f32>,
    v_new: Vec<f32>,
    norms: [Vec<f32>; 2],
    factors: Vec<f32>,
}

fn values() -> Values {
    let (s, mut random) = (SIZES, Random::new(77));
    let mut normals = |n: usize| random.normals(n);
    Values {
        q: normals(s.b * s.h * s.d),
        k: normals(s.b * s.cap * s.g * s.d),
        v: normals(s.b * s.cap * s.g * s.dv),
        k_new: normals(s.b * s.g * s.d),
        v_new: normals(s.b * s.g * s.dv),
        norms: [normals(s.d), normals(s.d)],
        factors: (0..s.d / 2).map(|i| 1.0 + i as f32 / 3.0).collect(),
    }
}

/// Everything is there; the caches are the first two buffers that are written.
fn params(io: &Io, values: &Values, cache: reflex_dtype) -> DecodeCall {
    let s = SIZES;
    let [b, g, d, dv] = [s.b, s.g, s.d, s.dv].map(|n| n as i64);
    let [ks, vs] = cache_specs(s, cache);
    let caches = [io.in_out(ks, &values.k), io.in_out(vs, &values.v)];
    let params = reflex_attention_decode_params {
        k_new: io.input(Spec::new(F32, &[b, g, d]), &values.k_new),
        v_new: io.input(Spec::new(F32, &[b, g, dv]), &values.v_new),
        positions: io.ints(&POSITIONS),
        q_norm: io.input(Spec::new(F32, &[d]), &values.norms[0]),
        k_norm: io.input(Spec::new(F32, &[d]), &values.norms[1]),
        ..Default::default()
    };
    let call = with_caches(io, s, caches, &values.q, Some(&LENGTHS));
    let (q, y) = (call.q, call.y);
    DecodeCall::new(reflex_attention_decode_params { q, y, ..params }, call.cache)
}

#[test]
fn equals_the_formula() {
    let env = Env::cpu();
    let s = SIZES;
    for (mode, rotary_dim, epsilon, factors) in [
        (REFLEX_ROPE_NEOX, 0, 0.0, false),
        (REFLEX_ROPE_INTERLEAVED, 12, 0.5, false),
        (REFLEX_ROPE_NEOX, 0, 1e-3, true),
    ] {
        for [append, rotate, norm] in [
            [true; 3],
            [true, true, false],
            [true, false, false],
            [false, true, true],
            [false, false, true],
        ] {
            let values = values();
            let factors = (factors && rotate).then_some(&values.factors[..]);
            let change = |p: &mut DecodeCall, io: &Io| {
                (p.mode, p.rotary_dim, p.norm_epsilon) = (mode, rotary_dim, epsilon);
                (p.theta_base, p.freq_scale, p.magnitude) = (500.0, 0.5, 1.25);
                if let Some(factors) = factors {
                    p.freq_factors = io.input(Spec::new(F32, &[s.d as i64 / 2]), factors);
                }
                let none = reflex_tensor::default();
                if !append {
                    (p.k_new, p.v_new, p.k_norm) = (none, none, none);
                }
                if !rotate {
                    p.positions = none;
                }
                if !norm {
                    (p.q_norm, p.k_norm) = (none, none);
                }
            };
            let outputs = run_once(&env, |io| {
                let mut p = params(io, &values, F32);
                change(&mut p, io);
                Box::new(move |context, stream| DecodeCall::launch(context, &p, stream))
            });

            let rope = reflex_rope_params {
                mode,
                rotary_dim,
                theta_base: 500.0,
                freq_scale: 0.5,
                magnitude: 1.25,
                ..Default::default()
            };
            let epsilon = if epsilon == 0.0 { 1e-6 } else { f64::from(epsilon) };
            let turned = |x: &[f32], weight: &[f32], b: usize| -> Vec<f32> {
                let x = if norm {
                    rope::normed(x, weight, epsilon)
                } else {
                    x.to_vec()
                };
                match rotate {
                    true => (rope::oracle(&rope, &x, POSITIONS[b], factors).iter())
                        .map(|&v| v as f32)
                        .collect(),
                    false => x,
                }
            };
            let heads = values.q.chunks(s.d).enumerate();
            let q: Vec<f32> = heads.flat_map(|(i, x)| turned(x, &values.norms[0], i / s.h)).collect();
            let (mut k, mut v) = (values.k.clone(), values.v.clone());
            for (b, &length) in LENGTHS.iter().enumerate().filter(|(_, n)| append && **n > 0) {
                for g in 0..s.g {
                    let (from, to) = (b * s.g + g, (b * s.cap + length as usize - 1) * s.g + g);
                    let row = turned(&values.k_new[from * s.d..][..s.d], &values.norms[1], b);
                    k[to * s.d..][..s.d].copy_from_slice(&row);
                    v[to * s.dv..][..s.dv].copy_from_slice(&values.v_new[from * s.dv..][..s.dv]);
                }
            }
            let lengths = LENGTHS.map(|n| n as usize);
            let want = oracle(s, &q, &k, &v, &lengths, false, 1.0 / (s.d as f64).sqrt());
            let what = format!("mode {}, append {append}, rotate {rotate}, norm {norm}", mode.0);
            for (&got, want) in outputs[0].iter().zip(&k).chain(outputs[1].iter().zip(&v)) {
                assert!((got - want).abs() <= 1e-5, "{what}: {got} in the cache, not {want}");
            }
            for (&got, want) in outputs[2].iter().zip(want) {
                assert!((f64::from(got) - want).abs() <= 3e-5, "{what}: {got} {want}");
            }
        }
    }
}

/// In every type of cache the rows are those that reflex_rope writes.
#[test]
fn appends_what_rope_does() {
    let env = Env::cpu();
    let (s, values) = (SIZES, values());
    let slots: Vec<i32> = (LENGTHS.iter().enumerate())
        .map(|(b, &n)| if n > 0 { b as i32 * s.cap as i32 + n - 1 } else { -1 })
        .collect();
    for cache in [F32, F16, BF16] {
        let step = run_once_bytes(&env, |io| {
            let p = params(io, &values, cache);
            Box::new(move |context, stream| DecodeCall::launch(context, &p, stream))
        });
        let rope = run_once_bytes(&env, |io| {
            let p = params(io, &values, cache);
            let r = reflex_rope_params {
                k: p.k_new,
                v: p.v_new,
                k_norm: p.k_norm,
                positions: p.positions,
                slots: io.ints(&slots),
                ..Default::default()
            };
            let r = RopeCall::new(r, p.cache);
            Box::new(move |context, stream| RopeCall::launch(context, &r, stream))
        });
        assert!(step[..2] == rope[..2], "other bits in the caches");
    }
}

#[test]
fn a_recorded_call_appends_where_it_finds_the_end() {
    let env = Env::cpu();
    let (s, values) = (SIZES, values());
    let io = Io::new(&env);
    let p = params(&io, &values, F32);
    let graph = env.captured(|| DecodeCall::launch(env.context, &p, env.stream));
    env.upload(p.cache.lengths.data, &encode_ints(&[0, 2, 0, 0]));
    ok(reflex_graph_launch(env.context, graph, env.stream));
    let mut bytes = vec![0; s.b * s.cap * s.g * s.dv * 4];
    env.download(p.cache.v.data, &mut bytes);
    let mut want = values.v.clone();
    let row = s.g * s.dv;
    want[(s.cap + 1) * row..][..row].copy_from_slice(&values.v_new[row..2 * row]);
    assert!(decode(F32, &bytes) == want);
    reflex_graph_destroy(graph);
}

#[test]
fn bad_input_is_refused() {
    type Change = fn(&Io, &mut DecodeCall);
    const NONE: reflex_tensor = reflex_tensor {
        data: std::ptr::null_mut(),
        dtype: REFLEX_DTYPE_NONE,
        rank: 0,
        shape: [0; 4],
        stride: [0; 4],
    };
    let invalid = REFLEX_INVALID_ARGUMENT;
    let cases: [(reflex_status, &str, Change); 27] = [
        (invalid, "k_new is given and v_new.data is NULL", |_, p| p.v_new = NONE),
        (invalid, "v_new is given and k_new.data is NULL", |_, p| {
            (p.k_new, p.k_norm) = (NONE, NONE)
        }),
        (invalid, "k_norm is given, which needs k_new", |_, p| {
            (p.k_new, p.v_new) = (NONE, NONE)
        }),
        (invalid, "freq_factors is given, which needs positions", |io, p| {
            p.freq_factors = io.output(Spec::new(F32, &[16]));
            p.positions = NONE;
        }),
        (invalid, "mode is 2", |_, p| p.mode = reflex_rope_mode(2)),
        (invalid, "theta_base is 0.5", |_, p| p.theta_base = 0.5),
        (invalid, "freq_scale is -1", |_, p| p.freq_scale = -1.0),
        (invalid, "magnitude is NaN", |_, p| p.magnitude = f32::NAN),
        (invalid, "norm_epsilon is -1", |_, p| p.norm_epsilon = -1.0),
        (invalid, "rotary_dim is 7", |_, p| p.rotary_dim = 7),
        (invalid, "rotary_dim is 34, expected at most head_dim", |_, p| {
            p.rotary_dim = 34
        }),
        (invalid, "k_new.shape is [4, 1, 32]", |_, p| p.k_new.shape[1] = 1),
        (invalid, "k_new.shape is [3, 2, 32]", |_, p| p.k_new.shape[0] = 3),
        (invalid, "v_new.shape is [4, 2, 8]", |_, p| p.v_new.shape[2] = 8),
        (invalid, "k_new.rank is 2", |_, p| p.k_new.rank = 2),
        (invalid, "k_new.dtype is I32", |_, p| p.k_new.dtype = REFLEX_DTYPE_I32),
        (invalid, "positions.shape is [3]", |_, p| p.positions.shape[0] = 3),
        (invalid, "positions.dtype is F32", |_, p| p.positions.dtype = F32),
        (invalid, "freq_factors.shape is [15]", |io, p| {
            p.freq_factors = io.output(Spec::new(F32, &[15]))
        }),
        (invalid, "q_norm.shape is [16]", |io, p| {
            p.q_norm = io.output(Spec::new(F32, &[16]))
        }),
        (REFLEX_MISALIGNED, "k_new.data", |_, p| {
            p.k_new.data = p.k_new.data.wrapping_byte_add(2)
        }),
        (REFLEX_MISALIGNED, "v_new.stride[1] is 66", |_, p| {
            p.v_new.stride = [132, 66, 4, 0]
        }),
        (invalid, "cache.k.stride[1] is 0", |_, p| {
            p.cache.k.stride = [2304, 0, 128, 4]
        }),
        (invalid, "overlaps k_new", |_, p| p.k_new.data = p.cache.k.data),
        (invalid, "overlaps cache.k ", |_, p| {
            p.cache.v.data = p.cache.k.data.wrapping_byte_add(64)
        }),
        (invalid, "overlaps q", |_, p| p.cache.k.data = p.q.data),
        (invalid, "overlaps v_new", |_, p| p.v_new.data = p.y.data),
    ];
    let (env, values) = (Env::cpu(), values());
    for (status, words, change) in cases {
        expect_refused(&env, "attention_decode", (status, words), |io| {
            let mut p = params(io, &values, F32);
            change(io, &mut p);
            Box::new(move |context, stream| DecodeCall::launch(context, &p, stream))
        });
    }
}

use crate::attention::{Sizes, oracle};
use crate::support::*;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;

/// The caches k and v are made first.
pub fn with_caches(io: &Io, s: Sizes, [k, v]: [reflex_tensor; 2], q: &[f32], lengths: Option<&[i32]>) -> DecodeCall {
    let [b, h, d, dv] = [s.b, s.h, s.d, s.dv].map(|n| n as i64);
    let params = reflex_attention_decode_params {
        q: io.input(Spec::new(F32, &[b, h, d]), q),
        y: io.output(Spec::new(F32, &[b, h, dv])),
        ..Default::default()
    };
    let lengths = lengths.map_or(reflex_tensor::default(), |l| io.ints(l));
    DecodeCall::new(params, kv_cache(k, v, lengths))
}

/// Of K and V.
pub fn cache_specs(s: Sizes, dtype: reflex_dtype) -> [Spec; 2] {
    [s.d, s.dv].map(|dim| Spec::new(dtype, &[s.b, s.cap, s.g, dim].map(|n| n as i64)))
}

fn params(io: &Io, s: Sizes, [q, k, v]: [&[f32]; 3], lengths: Option<&[i32]>) -> DecodeCall {
    let [ks, vs] = cache_specs(s, F32);
    with_caches(io, s, [io.input(ks, k), io.input(vs, v)], q, lengths)
}

fn values(s: Sizes) -> [Vec<f32>; 3] {
    let mut random = Random::new((s.d * s.cap) as u64);
    [s.b * s.h * s.d, s.b * s.cap * s.g * s.d, s.b * s.cap * s.g * s.dv].map(|n| random.normals(n))
}

#[test]
fn equals_the_formula() {
    let env = Env::cpu();
    let cases = [
        (
            Sizes {
                b: 1,
                t: 1,
                h: 8,
                g: 2,
                cap: 500,
                d: 64,
                dv: 64,
            },
            vec![387],
        ),
        (
            Sizes {
                b: 3,
                t: 1,
                h: 7,
                g: 1,
                cap: 33,
                d: 80,
                dv: 96,
            },
            vec![33, 0, 1],
        ),
        (
            Sizes {
                b: 2,
                t: 1,
                h: 4,
                g: 4,
                cap: 10,
                d: 256,
                dv: 8,
            },
            vec![-1, 11],
        ),
    ];
    for (s, lengths) in cases {
        let [q, k, v] = values(s);
        let clamped: Vec<usize> = lengths
            .iter()
            .map(|&n: &i32| n.clamp(0, s.cap as i32) as usize)
            .collect();
        for scale in [0.0f32, 0.05] {
            let f64_scale = if scale == 0.0 {
                1.0 / (s.d as f64).sqrt()
            } else {
                f64::from(scale)
            };
            let want = oracle(s, &q, &k, &v, &clamped, false, f64_scale);
            let outputs = run_once(&env, |io| {
                let mut p = params(io, s, [&q, &k, &v], Some(&lengths));
                p.scale = scale;
                Box::new(move |context, stream| DecodeCall::launch(context, &p, stream))
            });
            for (i, (&got, want)) in outputs[0].iter().zip(want).enumerate() {
                assert!((f64::from(got) - want).abs() <= 1e-5, "{i}: {got} {want}");
            }
        }
    }
}

#[test]
fn a_recorded_call_reads_the_lengths_anew() {
    let env = Env::cpu();
    let s = Sizes {
        b: 1,
        t: 1,
        h: 2,
        g: 1,
        cap: 20,
        d: 8,
        dv: 8,
    };
    let [q, k, v] = values(s);
    let fresh = |length: i32| {
        run_once(&env, |io| {
            let p = params(io, s, [&q, &k, &v], Some(&[length]));
            Box::new(move |context, stream| DecodeCall::launch(context, &p, stream))
        })
        .remove(0)
    };
    let io = Io::new(&env);
    let p = params(&io, s, [&q, &k, &v], Some(&[1]));
    let graph = env.captured(|| DecodeCall::launch(env.context, &p, env.stream));
    for length in [5, 20, 0] {
        env.upload(p.cache.lengths.data, &encode_ints(&[length]));
        ok(reflex_graph_launch(env.context, graph, env.stream));
        let mut bytes = vec![0; s.h * s.dv * 4];
        env.download(p.y.data, &mut bytes);
        assert_eq!(decode(F32, &bytes), fresh(length));
    }
    reflex_graph_destroy(graph);
}

#[test]
fn bad_input_is_refused() {
    type Change = fn(&Io, &mut DecodeCall);
    let env = Env::cpu();
    let invalid = REFLEX_INVALID_ARGUMENT;
    let cases: [(reflex_status, &str, Change); 16] = [
        (invalid, "scale is NaN", |_, p| p.scale = f32::NAN),
        (invalid, "scale is -2", |_, p| p.scale = -2.0),
        (invalid, "q.data is NULL", |_, p| p.q.data = std::ptr::null_mut()),
        (invalid, "y.data is NULL", |_, p| p.y.data = std::ptr::null_mut()),
        (invalid, "q.rank is 2", |_, p| p.q.rank = 2),
        (invalid, "cache.k.rank is 3", |_, p| p.cache.k.rank = 3),
        (invalid, "q.dtype is I32", |_, p| p.q.dtype = REFLEX_DTYPE_I32),
        (invalid, "cache.v.dtype is I32", |_, p| {
            p.cache.v.dtype = REFLEX_DTYPE_I32
        }),
        (invalid, "cache.k.shape is [1", |_, p| {
            p.cache.lengths = reflex_tensor::default();
            (p.cache.k.shape[0], p.cache.v.shape[0]) = (1, 1);
        }),
        (invalid, "y.shape is [2, 4, 32]", |_, p| p.y.shape[2] = 32),
        (invalid, "q.shape[1] is 3, expected a multiple of 2", |_, p| {
            (p.q.shape[1], p.y.shape[1]) = (3, 3)
        }),
        (invalid, "cache.lengths.shape is [1]", |io, p| {
            p.cache.lengths = io.ints(&[4])
        }),
        (invalid, "overlaps cache.lengths", |_, p| {
            p.y.data = p.cache.lengths.data
        }),
        (invalid, "overlaps cache.k", |_, p| p.y.data = p.cache.k.data),
        (REFLEX_UNSUPPORTED, "dimension of cache.v is 4", |_, p| {
            (p.cache.v.shape[3], p.y.shape[2]) = (4, 4)
        }),
        (REFLEX_UNSUPPORTED, "dimension of q is 320", |_, p| {
            (p.q.shape[2], p.cache.k.shape[3]) = (320, 320)
        }),
    ];
    let s = Sizes {
        b: 2,
        t: 1,
        h: 4,
        g: 2,
        cap: 6,
        d: 16,
        dv: 16,
    };
    let [q, k, v] = values(s);
    for (status, words, change) in cases {
        expect_refused(&env, "attention_decode", (status, words), |io| {
            let mut p = params(io, s, [&q, &k, &v], Some(&[6, 6]));
            change(io, &mut p);
            Box::new(move |context, stream| DecodeCall::launch(context, &p, stream))
        });
    }
}

#[test]
fn the_cpu_needs_no_workspace() {
    let env = Env::cpu();
    let s = Sizes {
        b: 1,
        t: 1,
        h: 2,
        g: 1,
        cap: 1000,
        d: 8,
        dv: 8,
    };
    let [q, k, v] = values(s);
    let io = Io::new(&env);
    let p = params(&io, s, [&q, &k, &v], None);
    let mut bytes = 1;
    ok(DecodeCall::workspace_size(env.context, &p, &mut bytes));
    assert_eq!(bytes, 0);
}

/// With a y of `[batch, heads * v_head_dim]`, before the one that `params` makes.
fn quantized(io: &Io, s: Sizes, operands: [&[f32]; 3], lengths: &[i32]) -> DecodeCall {
    let y = act_i8(&[s.b as i64, (s.h * s.dv) as i64]);
    let y = io.output(y);
    let mut p = params(io, s, operands, Some(lengths));
    p.y = y;
    p
}

#[test]
fn quantizes_the_heads_as_one_row() {
    let env = Env::cpu();
    for (h, g, dv) in [(8, 2, 64), (6, 3, 32), (2, 1, 96)] {
        let s = Sizes {
            b: 3,
            t: 1,
            h,
            g,
            cap: 50,
            d: 40,
            dv,
        };
        let [q, k, v] = values(s);
        let want = oracle(s, &q, &k, &v, &[50, 0, 7], false, 1.0 / 40f64.sqrt());
        let outputs = run_once(&env, |io| {
            let p = quantized(io, s, [&q, &k, &v], &[50, 0, 7]);
            Box::new(move |context, stream| DecodeCall::launch(context, &p, stream))
        });
        assert_quantized(&outputs[0], &want, Tolerance::new(1e-5, 0.0));
        assert!(outputs[0][h * dv..2 * h * dv].iter().all(|&v| v == 0.0));
    }
}

#[test]
fn a_quantized_y_of_the_wrong_form_is_refused() {
    type Change = fn(&mut DecodeCall);
    let env = Env::cpu();
    let s = Sizes {
        b: 2,
        t: 1,
        h: 4,
        g: 2,
        cap: 6,
        d: 64,
        dv: 64,
    };
    let [q, k, v] = values(s);
    let invalid = REFLEX_INVALID_ARGUMENT;
    let cases: [(reflex_status, &str, Change); 5] = [
        (invalid, "y.rank is 3, expected 2", |p| {
            (p.y.rank, p.y.shape, p.y.stride) = (3, [2, 4, 64, 0], [0; 4])
        }),
        (invalid, "y.shape is [2, 192], expected [2, 256]", |p| {
            p.y.shape[1] = 192
        }),
        (REFLEX_UNSUPPORTED, "last dimension of cache.v is 48", |p| {
            p.cache.v.shape[3] = 48
        }),
        (REFLEX_MISALIGNED, "y.stride[0] is 328", |p| p.y.stride[0] = 328),
        (invalid, "q.dtype is ACT_I8", |p| p.q = p.y),
    ];
    for (status, words, change) in cases {
        expect_refused(&env, "attention_decode", (status, words), |io| {
            let mut p = quantized(io, s, [&q, &k, &v], &[6, 6]);
            change(&mut p);
            Box::new(move |context, stream| DecodeCall::launch(context, &p, stream))
        });
    }
}

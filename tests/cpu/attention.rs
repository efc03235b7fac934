use crate::cases::{each_case, wanted_tier};
use crate::support::*;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;

/// Sizes of a case: batch, tokens, query heads, kv heads, capacity, head sizes of K and V.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub b: usize,
    pub t: usize,
    pub h: usize,
    pub g: usize,
    pub cap: usize,
    pub d: usize,
    pub dv: usize,
}

/// The formula in f64: `[b, t, h, dv]`.
pub fn oracle(s: Sizes, q: &[f32], k: &[f32], v: &[f32], lengths: &[usize], causal: bool, scale: f64) -> Vec<f64> {
    let mut y = vec![0.0; s.b * s.t * s.h * s.dv];
    for b in 0..s.b {
        for i in 0..s.t {
            for h in 0..s.h {
                let g = h / (s.h / s.g);
                let sees = |j: usize| !causal || j as i64 <= lengths[b] as i64 - s.t as i64 + i as i64;
                let query = &q[((b * s.t + i) * s.h + h) * s.d..][..s.d];
                let weights: Vec<(usize, f64)> = (0..lengths[b])
                    .filter(|&j| sees(j))
                    .map(|j| {
                        let key = &k[((b * s.cap + j) * s.g + g) * s.d..][..s.d];
                        let dot: f64 = query.iter().zip(key).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
                        (j, (dot * scale).exp())
                    })
                    .collect();
                let sum: f64 = weights.iter().map(|w| w.1).sum();
                for d in 0..s.dv {
                    let value = |j: usize| f64::from(v[((b * s.cap + j) * s.g + g) * s.dv + d]);
                    let total: f64 = weights.iter().map(|&(j, w)| w * value(j)).sum();
                    y[((b * s.t + i) * s.h + h) * s.dv + d] = if weights.is_empty() { 0.0 } else { total / sum };
                }
            }
        }
    }
    y
}

fn shapes(s: Sizes) -> [Vec<i64>; 4] {
    [
        [s.b, s.t, s.h, s.d],
        [s.b, s.cap, s.g, s.d],
        [s.b, s.cap, s.g, s.dv],
        [s.b, s.t, s.h, s.dv],
    ]
    .map(|shape| shape.map(|n| n as i64).to_vec())
}

fn params(io: &Io, s: Sizes, [q, k, v]: [&[f32]; 3], lengths: Option<&[i32]>) -> AttentionCall {
    let [qs, ks, vs, ys] = shapes(s);
    let params = reflex_attention_params {
        q: io.input(Spec::new(F32, &qs), q),
        y: io.output(Spec::new(F32, &ys)),
        ..Default::default()
    };
    let cache = kv_cache(
        io.input(Spec::new(F32, &ks), k),
        io.input(Spec::new(F32, &vs), v),
        lengths.map_or(reflex_tensor::default(), |l| io.ints(l)),
    );
    AttentionCall::new(params, cache)
}

#[test]
fn equals_the_formula() {
    let env = Env::cpu();
    let cases = [
        (
            Sizes {
                b: 2,
                t: 5,
                h: 4,
                g: 2,
                cap: 9,
                d: 64,
                dv: 64,
            },
            vec![9, 6],
        ),
        (
            Sizes {
                b: 1,
                t: 1,
                h: 8,
                g: 1,
                cap: 300,
                d: 16,
                dv: 8,
            },
            vec![299],
        ),
        // More queries than keys: the first ones see none.
        (
            Sizes {
                b: 2,
                t: 7,
                h: 3,
                g: 3,
                cap: 8,
                d: 24,
                dv: 40,
            },
            vec![3, 0],
        ),
        (
            Sizes {
                b: 1,
                t: 130,
                h: 2,
                g: 1,
                cap: 140,
                d: 80,
                dv: 96,
            },
            vec![140],
        ),
        // Outside 0..=capacity.
        (
            Sizes {
                b: 2,
                t: 3,
                h: 2,
                g: 2,
                cap: 4,
                d: 8,
                dv: 256,
            },
            vec![-7, 1000],
        ),
    ];
    for (s, lengths) in cases {
        let mut random = Random::new(s.d as u64);
        let [q, k, v] =
            [s.b * s.t * s.h * s.d, s.b * s.cap * s.g * s.d, s.b * s.cap * s.g * s.dv].map(|n| random.normals(n));
        let clamped: Vec<usize> = lengths
            .iter()
            .map(|&n: &i32| n.clamp(0, s.cap as i32) as usize)
            .collect();
        for (mask, scale) in [
            (REFLEX_ATTENTION_CAUSAL, 0.0),
            (REFLEX_ATTENTION_FULL, 0.0),
            (REFLEX_ATTENTION_CAUSAL, 0.3),
        ] {
            let causal = mask == REFLEX_ATTENTION_CAUSAL;
            let f64_scale = if scale == 0.0 {
                1.0 / (s.d as f64).sqrt()
            } else {
                f64::from(scale)
            };
            let want = oracle(s, &q, &k, &v, &clamped, causal, f64_scale);
            let outputs = run_once(&env, |io| {
                let mut p = params(io, s, [&q, &k, &v], Some(&lengths));
                (p.mask, p.scale) = (mask, scale);
                Box::new(move |context, stream| AttentionCall::launch(context, &p, stream))
            });
            for (i, (&got, want)) in outputs[0].iter().zip(want).enumerate() {
                // Scores and weights are f32: 2^-24 of scores below 20, and of weights.
                assert!((f64::from(got) - want).abs() <= 1e-5, "{i}: {got} {want}");
            }
        }
    }
}

/// Problems of `cases/attention.txt` that are numbers in caches of their own.
#[test]
fn problems_equal_the_formula() {
    let env = Env::cpu();
    each_case(
        "attention",
        wanted_tier(),
        "attention::problems_equal_the_formula",
        |descriptor| {
            let case = AttentionCase::read(descriptor);
            if case.special || descriptor.text("layout") == "merged" {
                return;
            }
            let [b, t, h, g] = [case.batch, case.tokens, case.heads, case.kv_heads].map(|n| n as usize);
            let [cap, d, dv] = [case.capacity, case.dim, case.v_dim].map(|n| n as usize);
            let [q, k, v] = case.contents();
            let (q, k, v) = (held(case.q, &q), held(case.kv, &k), held(case.kv, &v));
            let mut lengths = vec![cap; b];
            for (to, &given) in lengths.iter_mut().zip(&case.lengths) {
                *to = given.clamp(0, case.capacity as i32) as usize;
            }
            let scale = match case.scale {
                0.0 => 1.0 / (d as f64).sqrt(),
                scale => f64::from(scale),
            };
            let want = oracle(
                Sizes { b, t, h, g, cap, d, dv },
                &q,
                &k,
                &v,
                &lengths,
                !case.full,
                scale,
            );
            let outputs = run_once(&env, |io| case.call(io).launch);
            assert_eq!(outputs[0].len(), want.len());
            for (i, (&got, want)) in outputs[0].iter().zip(want).enumerate() {
                let bound = 1e-5 + (1e-5 + half_step(case.y)) * want.abs();
                assert!((f64::from(got) - want).abs() <= bound, "{i}: {got} {want}");
            }
        },
    );
}

#[test]
fn a_missing_length_is_the_capacity() {
    let env = Env::cpu();
    let s = Sizes {
        b: 1,
        t: 2,
        h: 2,
        g: 1,
        cap: 5,
        d: 8,
        dv: 8,
    };
    let mut random = Random::new(1);
    let [q, k, v] = [32, 40, 40].map(|n| random.normals(n));
    let run = |lengths: Option<&[i32]>| {
        run_once(&env, |io| {
            let p = params(io, s, [&q, &k, &v], lengths);
            Box::new(move |context, stream| AttentionCall::launch(context, &p, stream))
        })
    };
    assert_eq!(run(None), run(Some(&[5])));
    assert_ne!(run(None), run(Some(&[4])));
}

#[test]
fn nan_reaches_only_the_queries_that_see_it() {
    let env = Env::cpu();
    let s = Sizes {
        b: 1,
        t: 3,
        h: 1,
        g: 1,
        cap: 6,
        d: 8,
        dv: 8,
    };
    let mut random = Random::new(2);
    let [q, mut k, mut v] = [24, 48, 48].map(|n| random.normals(n));
    // Query i of 3 sees keys 0 ..= 1 + i of the 4; those from 4 on are no keys at all.
    v[3 * 8 + 5] = f32::NAN;
    k[32..].fill(f32::NAN);
    v[32..].fill(f32::NAN);
    let outputs = run_once(&env, |io| {
        let p = params(io, s, [&q, &k, &v], Some(&[4]));
        Box::new(move |context, stream| AttentionCall::launch(context, &p, stream))
    });
    assert!(outputs[0][..16].iter().all(|v| v.is_finite()));
    assert!(outputs[0][16..].iter().enumerate().all(|(d, v)| v.is_nan() == (d == 5)));
    k[3 * 8] = f32::NAN;
    let outputs = run_once(&env, |io| {
        let p = params(io, s, [&q, &k, &v], Some(&[4]));
        Box::new(move |context, stream| AttentionCall::launch(context, &p, stream))
    });
    assert!(outputs[0][..16].iter().all(|v| v.is_finite()) && outputs[0][16..].iter().all(|v| v.is_nan()));
}

#[test]
fn nothing_to_do_is_success() {
    let env = Env::cpu();
    for s in [
        Sizes {
            b: 0,
            t: 2,
            h: 2,
            g: 1,
            cap: 5,
            d: 8,
            dv: 8,
        },
        Sizes {
            b: 1,
            t: 0,
            h: 2,
            g: 1,
            cap: 5,
            d: 8,
            dv: 8,
        },
        Sizes {
            b: 1,
            t: 2,
            h: 0,
            g: 0,
            cap: 5,
            d: 8,
            dv: 8,
        },
        Sizes {
            b: 1,
            t: 2,
            h: 2,
            g: 1,
            cap: 0,
            d: 8,
            dv: 8,
        },
    ] {
        let n = |n: usize| vec![0.0; n];
        let [q, k, v] = [
            n(s.b * s.t * s.h * s.d),
            n(s.b * s.cap * s.g * s.d),
            n(s.b * s.cap * s.g * s.dv),
        ];
        let outputs = run_once(&env, |io| {
            let p = params(io, s, [&q, &k, &v], None);
            Box::new(move |context, stream| AttentionCall::launch(context, &p, stream))
        });
        assert!(outputs[0].iter().all(|&v| v == 0.0));
    }
}

#[test]
fn bad_input_is_refused() {
    type Change = Box<dyn Fn(&Io, &mut AttentionCall)>;
    let env = Env::cpu();
    let change = |f: fn(&Io, &mut AttentionCall)| -> Change { Box::new(f) };
    let invalid = REFLEX_INVALID_ARGUMENT;
    let cases: Vec<(reflex_status, &str, Change)> = vec![
        (invalid, "mask is 2", change(|_, p| p.mask = reflex_attention_mask(2))),
        (invalid, "reserved is 1", change(|_, p| p.reserved = 1)),
        (invalid, "scale is NaN", change(|_, p| p.scale = f32::NAN)),
        (invalid, "scale is inf", change(|_, p| p.scale = f32::INFINITY)),
        (invalid, "scale is -1", change(|_, p| p.scale = -1.0)),
        (
            invalid,
            "q.data is NULL",
            change(|_, p| p.q.data = std::ptr::null_mut()),
        ),
        (
            invalid,
            "cache.k.data is NULL",
            change(|_, p| p.cache.k.data = std::ptr::null_mut()),
        ),
        (
            invalid,
            "cache.v.data is NULL",
            change(|_, p| p.cache.v.data = std::ptr::null_mut()),
        ),
        (
            invalid,
            "y.data is NULL",
            change(|_, p| p.y.data = std::ptr::null_mut()),
        ),
        (invalid, "q.rank is 3", change(|_, p| p.q.rank = 3)),
        (invalid, "q.dtype is I32", change(|_, p| p.q.dtype = REFLEX_DTYPE_I32)),
        (
            invalid,
            "cache.k.dtype is 77",
            change(|_, p| p.cache.k.dtype = reflex_dtype(77)),
        ),
        (
            invalid,
            "cache.v.dtype is I32",
            change(|_, p| p.cache.v.dtype = REFLEX_DTYPE_I32),
        ),
        (invalid, "y.dtype is I32", change(|_, p| p.y.dtype = REFLEX_DTYPE_I32)),
        (
            invalid,
            "cache.k.shape is [3",
            change(|_, p| {
                p.cache.lengths = reflex_tensor::default();
                (p.cache.k.shape[0], p.cache.v.shape[0]) = (3, 3);
            }),
        ),
        (
            invalid,
            "cache.k.shape is [2, 6, 2, 24]",
            change(|_, p| p.cache.k.shape[3] = 24),
        ),
        (invalid, "cache.v.shape is [2, 5", change(|_, p| p.cache.v.shape[1] = 5)),
        (
            invalid,
            "cache.v.shape is [2, 6, 1",
            change(|_, p| p.cache.v.shape[2] = 1),
        ),
        (
            invalid,
            "cache.k.shape[1] is -1",
            change(|_, p| p.cache.k.shape[1] = -1),
        ),
        (
            invalid,
            "cache.k.shape[1] is 2147483648",
            change(|_, p| p.cache.k.shape[1] = 1 << 31),
        ),
        (
            invalid,
            "y.shape is [2, 3, 4, 16]",
            change(|_, p| p.cache.v.shape[3] = 8),
        ),
        (
            invalid,
            "stride[3] is 8",
            change(|_, p| p.cache.k.stride = [4096, 512, 128, 8]),
        ),
        (invalid, "y.stride[0] is 0", change(|_, p| p.y.stride = [0, 256, 64, 4])),
        (
            REFLEX_MISALIGNED,
            "cache.k.stride[1] is 66",
            change(|_, p| p.cache.k.stride = [4096, 66, 64, 4]),
        ),
        (
            invalid,
            "cache.lengths.shape is [3]",
            change(|io, p| p.cache.lengths = io.ints(&[1, 2, 3])),
        ),
        (
            invalid,
            "cache.lengths.dtype is F32",
            change(|_, p| p.cache.lengths.dtype = F32),
        ),
        (invalid, "y.data", change(|_, p| p.y.data = p.cache.k.data)),
        (
            invalid,
            "overlaps q",
            change(|_, p| p.y.data = p.q.data.wrapping_byte_add(64)),
        ),
        (
            invalid,
            "q.shape[2] is 3, expected a multiple of 2",
            change(|_, p| (p.q.shape[2], p.y.shape[2]) = (3, 3)),
        ),
        (
            REFLEX_UNSUPPORTED,
            "dimension of q is 12",
            change(|_, p| (p.q.shape[3], p.cache.k.shape[3]) = (12, 12)),
        ),
        (
            REFLEX_UNSUPPORTED,
            "dimension of cache.v is 264",
            change(|_, p| (p.cache.v.shape[3], p.y.shape[3]) = (264, 264)),
        ),
        (
            REFLEX_UNSUPPORTED,
            "dimension of q is 0",
            change(|_, p| (p.q.shape[3], p.cache.k.shape[3]) = (0, 0)),
        ),
    ];
    let s = Sizes {
        b: 2,
        t: 3,
        h: 4,
        g: 2,
        cap: 6,
        d: 16,
        dv: 16,
    };
    for (status, words, change) in &cases {
        let case = |io: &Io| -> Launch {
            let [q, k, v] =
                [s.b * s.t * s.h * s.d, s.b * s.cap * s.g * s.d, s.b * s.cap * s.g * s.dv].map(|n| vec![0.5; n]);
            let mut p = params(io, s, [&q, &k, &v], Some(&[6, 6]));
            change(io, &mut p);
            Box::new(move |context, stream| AttentionCall::launch(context, &p, stream))
        };
        expect_refused(&env, "attention", (*status, words), case);
    }
}

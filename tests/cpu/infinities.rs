//! How infinities, NaN and sums beyond f32 travel through the ops: what the header says of each. Those of activation,
//! argmax, sample and quantize are tested beside the rest of them.

use crate::support::*;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;

fn spec(shape: &[i64]) -> Spec {
    Spec::new(F32, shape)
}

fn same(got: &[f32], want: &[f32]) {
    let equal = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan();
    assert!(
        got.len() == want.len() && got.iter().zip(want).all(equal),
        "{got:?}, expected {want:?}"
    );
}

#[test]
fn norm_of_infinities_and_of_sums_beyond_f32() {
    let rows: [([f32; 4], [f32; 4]); 6] = [
        ([1.0, INF, -2.0, 0.0], [0.0, NAN, 0.0, 0.0]),
        ([1.0, -INF, INF, 0.0], [0.0, NAN, NAN, 0.0]),
        ([1.0, NAN, -2.0, 0.0], [NAN; 4]),
        ([INF, NAN, -2.0, 0.0], [NAN; 4]),
        // The squares of these are more than f32 holds.
        ([1e20, -1.0, 3e38, 0.0], [0.0; 4]),
        ([1.2e19, 1.2e19, 1.2e19, 0.0], [0.0; 4]),
    ];
    let x: Vec<f32> = rows.iter().flat_map(|(x, _)| *x).collect();
    let shape = [rows.len() as i64, 4];
    let outputs = run_once(&Env::cpu(), |io| {
        let p = reflex_norm_params {
            struct_size: size_of::<reflex_norm_params>() as u32,
            x: io.input(spec(&shape), &x),
            residual_out: io.output(spec(&shape)),
            weight: io.input(spec(&[4]), &[2.0, 1.0, -1.0, 1.0]),
            y: io.output(spec(&shape)),
            ..Default::default()
        };
        Box::new(move |context, stream| reflex_norm(context, &p, stream))
    });
    same(&outputs[0], &x);
    same(&outputs[1], &rows.iter().flat_map(|(_, y)| *y).collect::<Vec<f32>>());
}

#[test]
fn add_is_ieee() {
    let outputs = run_once(&Env::cpu(), |io| {
        let p = reflex_add_params {
            struct_size: size_of::<reflex_add_params>() as u32,
            scale: -1.0,
            a: io.input(spec(&[5]), &[INF, INF, 1.0, NAN, 3e38]),
            b: io.input(spec(&[5]), &[INF, -INF, INF, 1.0, -3e38]),
            y: io.output(spec(&[5])),
        };
        Box::new(move |context, stream| reflex_add(context, &p, stream))
    });
    same(&outputs[0], &[NAN, INF, -INF, NAN, INF]);
}

fn product(flags: u32, rows: i64, x: &[f32], weight: (reflex_dtype, &[u8]), n: i64) -> Vec<f32> {
    let k = x.len() as i64 / rows;
    let outputs = run_once(&Env::cpu(), |io| {
        let x = io.input(spec(&[rows, k]), x);
        let weight = io.input_bytes(Spec::new(weight.0, &[n, k]), weight.1);
        let p = MatmulCall::new(flags, x, &[product_of(weight, io.output(spec(&[rows, n])))]);
        Box::new(move |context, stream| MatmulCall::launch(context, &p, stream))
    });
    outputs.into_iter().next().expect("y")
}

#[test]
fn exact_products_are_ieee() {
    // Rows of x times rows of the weight: 1, 0 and -1 at the first element, 1 at the others.
    let weight = encode(F32, &[1.0, 1.0, 0.0, 1.0, -1.0, 1.0]);
    let x = [INF, 1.0, -INF, 1.0, INF, INF, NAN, 1.0, 3e38, 3e38];
    let y = product(0, 5, &x, (F32, &weight), 3);
    same(&y[..3], &[INF, NAN, -INF]);
    same(&y[3..6], &[-INF, NAN, INF]);
    same(&y[6..9], &[INF, NAN, NAN]);
    same(&y[9..12], &[NAN; 3]);
    // A sum beyond f32.
    same(&y[12..], &[INF, 3e38, 0.0]);
}

#[test]
fn int8_products_of_an_infinity_are_infinite_or_nan() {
    for dtype in [
        REFLEX_DTYPE_Q4_0,
        REFLEX_DTYPE_Q4_K,
        REFLEX_DTYPE_Q6_K,
        REFLEX_DTYPE_MXFP4,
    ] {
        let n = 24;
        let bytes = random_weights(&mut Random::new(3), dtype, n as usize * 512);
        let mut x = Random::new(4).normals(3 * 512);
        x[512 + 300] = -INF;
        let y = product(REFLEX_MATMUL_INT8, 3, &x, (dtype, &bytes), n);
        let (before, row) = y.split_at(n as usize);
        let (row, after) = row.split_at(n as usize);
        assert!(before.iter().chain(after).all(|v| v.is_finite()));
        assert!(row.iter().all(|v| !v.is_finite()), "{}: {row:?}", dtype_name(dtype));
    }
}

/// One query of eight elements, of which the first alone is not 0, against keys that have it alone.
fn attend(q: f32, keys: &[f32], values: &[f32]) -> (f32, f32) {
    let wide = |values: &[f32], all: bool| -> Vec<f32> {
        let row = |&v: &f32| std::array::from_fn::<f32, 8, _>(|i| if all || i == 0 { v } else { 0.0 });
        values.iter().flat_map(row).collect()
    };
    let capacity = keys.len() as i64;
    let operands = |io: &Io, shape: &[i64]| {
        let cache = [1, capacity, 1, 8];
        (
            io.input(spec(shape), &wide(&[q], false)),
            io.input(spec(&cache), &wide(keys, false)),
            io.input(spec(&cache), &wide(values, true)),
            io.output(spec(shape)),
        )
    };
    let prefill = run_once(&Env::cpu(), |io| {
        let (q, k, v, y) = operands(io, &[1, 1, 1, 8]);
        let p = reflex_attention_params {
            scale: 1.0,
            q,
            y,
            ..Default::default()
        };
        let call = AttentionCall::new(p, kv_cache(k, v, Default::default()));
        Box::new(move |context, stream| AttentionCall::launch(context, &call, stream))
    });
    let decode = run_once(&Env::cpu(), |io| {
        let (q, k, v, y) = operands(io, &[1, 1, 8]);
        let p = reflex_attention_decode_params {
            scale: 1.0,
            q,
            y,
            ..Default::default()
        };
        let call = DecodeCall::new(p, kv_cache(k, v, Default::default()));
        Box::new(move |context, stream| DecodeCall::launch(context, &call, stream))
    });
    (prefill[0][0], decode[0][0])
}

#[test]
fn attention_of_infinite_scores_and_values() {
    let check = |q: f32, keys: &[f32], values: &[f32], want: f32| {
        let (prefill, decode) = attend(q, keys, values);
        same(&[prefill, decode], &[want; 2]);
    };
    // A score of minus infinity has no weight; one of plus infinity, or NaN, makes the query NaN.
    check(1.0, &[0.0, -INF, 0.0], &[1.0, 5.0, 3.0], 2.0);
    check(1.0, &[0.0, INF, 0.0], &[1.0, 5.0, 3.0], NAN);
    check(1.0, &[0.0, NAN, 0.0], &[1.0, 5.0, 3.0], NAN);
    // Where every score is minus infinity, there is nothing: zeros.
    check(1.0, &[-INF, -INF], &[1.0, 2.0], 0.0);
    // What a seen key has in v comes through, times a weight of 0 as NaN.
    check(1.0, &[0.0, 0.0], &[1.0, INF], INF);
    check(1.0, &[0.0, 0.0], &[INF, -INF], NAN);
    check(1.0, &[0.0, 0.0], &[1.0, NAN], NAN);
    check(1.0, &[0.0, -INF], &[1.0, INF], NAN);
}

#[test]
fn rotation_keeps_infinities_within_their_pair() {
    let x = [INF, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, NAN];
    let outputs = run_once(&Env::cpu(), |io| {
        let p = reflex_rope_params {
            struct_size: size_of::<reflex_rope_params>() as u32,
            mode: REFLEX_ROPE_INTERLEAVED,
            rotary_dim: 4,
            q: io.in_out(spec(&[1, 1, 8]), &x),
            positions: io.ints(&[1]),
            ..Default::default()
        };
        Box::new(move |context, stream| reflex_rope(context, &p, stream))
    });
    let y = &outputs[0];
    assert!(!y[0].is_finite() && !y[1].is_finite(), "{y:?}");
    assert!(y[2].is_finite() && y[3].is_finite(), "{y:?}");
    same(&y[4..], &x[4..]);
}

/// The bound of rope holds to the ends of f32's normal numbers, and the pair alone leaves them: cosine and sine are finite.
#[test]
fn rotation_at_the_ends_of_the_range() {
    let least = f32::MIN_POSITIVE;
    let rotate = |magnitude: f32, position: i32, x: &[f32]| {
        let outputs = run_once(&Env::cpu(), |io| {
            let p = reflex_rope_params {
                struct_size: size_of::<reflex_rope_params>() as u32,
                mode: REFLEX_ROPE_INTERLEAVED,
                magnitude,
                q: io.in_out(spec(&[1, x.len() as i64 / 2, 2]), x),
                positions: io.ints(&[position]),
                ..Default::default()
            };
            Box::new(move |context, stream| reflex_rope(context, &p, stream))
        });
        outputs.into_iter().next().expect("q")
    };
    for position in [0, 1, 3, -2, 1000, i32::MAX, i32::MIN] {
        let angle = f64::from(position);
        for (magnitude, [u, v]) in [
            (1.0, [2e38, -1.3e38]),
            (2.0, [-0.8e38, 0.8e38]),
            (f32::MAX, [0.5, 0.4]),
            (1e30, [3e8, 1e-30]),
            (least, [1.0, -1.0]),
            (least, [1e20, 3.0]),
            (1.0, [least, least / 2.0]),
            (1e-10, [least * 2e10, least]),
        ] {
            let y = rotate(magnitude, position, &[u, v]);
            let [u64, v64] = [u, v].map(f64::from);
            let want = [
                u64 * angle.cos() - v64 * angle.sin(),
                v64 * angle.cos() + u64 * angle.sin(),
            ];
            let bound = rope_bound(u, v, magnitude, angle);
            for (got, want) in y.iter().zip(want.map(|w| w * f64::from(magnitude))) {
                let off = (f64::from(*got) - want).abs();
                assert!(
                    off <= bound,
                    "{magnitude:e} {u:e} {v:e} at {position}: {got:e}, {want:e}"
                );
            }
        }
        // A pair beyond the range says nothing of the one beside it.
        let y = rotate(f32::MAX, position, &[3.0, 3.0, 0.25, 0.0]);
        assert!(!y[..2].iter().all(|v| v.is_finite()), "{y:?}");
        assert!(y[2..].iter().all(|v| v.is_finite()), "{y:?}");
    }
}

/// Of rope, of a decode step's q and of its appended keys.
#[test]
fn the_norm_of_a_head_is_that_of_reflex_norm() {
    let env = Env::cpu();
    let rows: [[f32; 8]; 6] = [
        [1e20, -1.0, 3e38, 0.0, 1.0, 2.0, 3.0, 4.0],
        [1.2e19; 8],
        // The squares of one are held, and not those of both.
        [1.5e19, 1.5e19, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [1e19, -1.0, 0.0, 2.0, 1e18, 0.0, 0.0, 0.0],
        [1.0, INF, -2.0, 0.0, 1.0, 1.0, 1.0, 1.0],
        [1.0, NAN, -2.0, 0.0, 1.0, 1.0, 1.0, 1.0],
    ];
    let weight = [2.0, 1.0, -1.0, 1.0, 0.5, 1.0, 1.0, 3.0];
    for row in rows {
        let heads = [1, 1, 8];
        let normed = run_once(&env, |io| {
            let p = reflex_norm_params {
                struct_size: size_of::<reflex_norm_params>() as u32,
                x: io.input(spec(&[1, 8]), &row),
                weight: io.input(spec(&[8]), &weight),
                y: io.output(spec(&[1, 8])),
                ..Default::default()
            };
            Box::new(move |context, stream| reflex_norm(context, &p, stream))
        })
        .remove(0);
        let sum: f64 = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        if sum.is_finite() && sum as f32 == INF {
            same(&normed, &[0.0; 8]);
        }
        // At position 0 nothing is rotated.
        let rope = run_once(&env, |io| {
            let p = reflex_rope_params {
                struct_size: size_of::<reflex_rope_params>() as u32,
                q: io.input(spec(&heads), &row),
                q_norm: io.input(spec(&[8]), &weight),
                q_out: io.output(spec(&heads)),
                positions: io.ints(&[0]),
                rotary_dim: 2,
                ..Default::default()
            };
            Box::new(move |context, stream| reflex_rope(context, &p, stream))
        });
        same(&rope[0][2..], &normed[2..]);
        // A decode step: the new key is what the cache has, the only value comes through whatever the scores are.
        let step = run_once(&env, |io| {
            let cache = [1, 1, 1, 8];
            let cache = || io.in_out(spec(&cache), &[5.0; 8]);
            let cache = kv_cache(cache(), cache(), Default::default());
            let p = reflex_attention_decode_params {
                scale: 1.0,
                q: io.input(spec(&heads), &row),
                k_new: io.input(spec(&heads), &row),
                v_new: io.input(spec(&heads), &[7.0; 8]),
                q_norm: io.input(spec(&[8]), &weight),
                k_norm: io.input(spec(&[8]), &weight),
                y: io.output(spec(&heads)),
                ..Default::default()
            };
            let call = DecodeCall::new(p, cache);
            Box::new(move |context, stream| DecodeCall::launch(context, &call, stream))
        });
        same(&step[0], &normed);
        same(&step[1], &[7.0; 8]);
        let attended = if normed.iter().all(|v| v.is_finite()) { 7.0 } else { NAN };
        same(&step[2], &[attended; 8]);
    }
}

#[test]
fn counters_wrap_to_the_least_number() {
    let ends = [i32::MAX, i32::MIN, -1, 0];
    let wrapped = [i32::MIN, i32::MIN + 1, 0, 1];
    let ints = |bytes: &[u8]| -> Vec<i32> {
        let words = bytes.as_chunks().0.iter();
        words.map(|&word| i32::from_le_bytes(word)).collect()
    };
    let argmax = run_once_bytes(&Env::cpu(), |io| {
        let p = reflex_argmax_params {
            struct_size: size_of::<reflex_argmax_params>() as u32,
            x: io.input(spec(&[1, 2]), &[1.0, 2.0]),
            ids: io.output(Spec::new(REFLEX_DTYPE_I32, &[1])),
            counters: io.in_out_ints(&ends),
            ..Default::default()
        };
        Box::new(move |context, stream| reflex_argmax(context, &p, stream))
    });
    assert_eq!(ints(&argmax[1]), wrapped);
    let sample = run_once_bytes(&Env::cpu(), |io| {
        let p = reflex_sample_params {
            struct_size: size_of::<reflex_sample_params>() as u32,
            logits: io.input(spec(&[1, 2]), &[1.0, 2.0]),
            ids: io.output(Spec::new(REFLEX_DTYPE_I32, &[1])),
            counters: io.in_out_ints(&ends),
            ..Default::default()
        };
        Box::new(move |context, stream| reflex_sample(context, &p, stream))
    });
    assert_eq!(ints(&sample[1]), wrapped);
}

/// Which factors may be negative: what the header says of each.
#[test]
fn negative_scales() {
    let env = Env::cpu();
    let supported = |status: reflex_status, want: bool, words: &str| {
        let message = last_error();
        assert_eq!(status == REFLEX_SUCCESS, want, "{words}: {message}");
        assert!(want || message.contains(words), "{message}");
    };
    let io = Io::new(&env);
    let size = |bytes: usize| bytes as u32;
    let embedding = reflex_embedding_params {
        struct_size: size(size_of::<reflex_embedding_params>()),
        scale: -2.0,
        table: io.input(spec(&[3, 4]), &[1.0; 12]),
        ids: io.ints(&[1]),
        y: io.output(spec(&[1, 4])),
    };
    supported(reflex_embedding_supported(env.context, &embedding), true, "embedding");
    ok(reflex_embedding(env.context, &embedding, env.stream));
    assert_eq!(decode(F32, &io.read()[2]), [-2.0; 4]);
    let add = reflex_add_params {
        struct_size: size(size_of::<reflex_add_params>()),
        scale: -2.0,
        a: io.input(spec(&[4]), &[1.0; 4]),
        b: io.input(spec(&[4]), &[1.0; 4]),
        y: io.output(spec(&[4])),
    };
    supported(reflex_add_supported(env.context, &add), true, "add");
    let keys = io.input(spec(&[1, 2, 1, 8]), &[1.0; 16]);
    let cache = kv_cache(keys, keys, Default::default());
    let attention = reflex_attention_params {
        scale: -1.0,
        q: io.input(spec(&[1, 1, 1, 8]), &[1.0; 8]),
        y: io.output(spec(&[1, 1, 1, 8])),
        ..Default::default()
    };
    supported(
        AttentionCall::supported(env.context, &AttentionCall::new(attention, cache)),
        false,
        "scale is -1",
    );
    let decode = reflex_attention_decode_params {
        scale: -1.0,
        q: io.input(spec(&[1, 1, 8]), &[1.0; 8]),
        y: io.output(spec(&[1, 1, 8])),
        ..Default::default()
    };
    supported(
        DecodeCall::supported(env.context, &DecodeCall::new(decode, cache)),
        false,
        "scale is -1",
    );
    for (field, set) in [
        ("theta_base", (|p| p.theta_base = -1.0) as fn(&mut reflex_rope_params)),
        ("freq_scale", |p| p.freq_scale = -1.0),
        ("magnitude", |p| p.magnitude = -1.0),
        ("norm_epsilon", |p| p.norm_epsilon = -1.0),
    ] {
        let mut rope = reflex_rope_params {
            struct_size: size(size_of::<reflex_rope_params>()),
            q: io.in_out(spec(&[1, 1, 8]), &[1.0; 8]),
            positions: io.ints(&[1]),
            ..Default::default()
        };
        set(&mut rope);
        supported(
            reflex_rope_supported(env.context, &rope),
            false,
            &format!("{field} is -1"),
        );
    }
}

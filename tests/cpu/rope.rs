use crate::support::*;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const F16: reflex_dtype = REFLEX_DTYPE_F16;

fn base() -> reflex_rope_params {
    reflex_rope_params {
        struct_size: size_of::<reflex_rope_params>() as u32,
        ..Default::default()
    }
}

/// One head rotated by the formula in f64.
pub fn oracle(p: &reflex_rope_params, x: &[f32], position: i32, factors: Option<&[f32]>) -> Vec<f64> {
    let or = |v: f32, default: f32| f64::from(if v == 0.0 { default } else { v });
    let rotary = if p.rotary_dim == 0 {
        x.len()
    } else {
        p.rotary_dim as usize
    };
    let mut y: Vec<f64> = x.iter().map(|&v| v.into()).collect();
    for i in 0..rotary / 2 {
        let exponent = -2.0 * i as f64 / rotary as f64;
        let frequency = or(p.freq_scale, 1.0) * or(p.theta_base, 10000.0).powf(exponent);
        let angle = f64::from(position) * frequency / factors.map_or(1.0, |f| f[i].into());
        let (a, b) = match p.mode {
            REFLEX_ROPE_NEOX => (i, i + rotary / 2),
            _ => (2 * i, 2 * i + 1),
        };
        let (u, v) = (f64::from(x[a]), f64::from(x[b]));
        y[a] = (u * angle.cos() - v * angle.sin()) * or(p.magnitude, 1.0);
        y[b] = (v * angle.cos() + u * angle.sin()) * or(p.magnitude, 1.0);
    }
    y
}

/// f32 cosine, sine, products and sum: a few roundings of numbers of this size.
fn close(got: f32, want: f64) {
    assert!(
        (f64::from(got) - want).abs() <= 2e-6 * want.abs().max(1.0),
        "{got} {want}"
    );
}

#[test]
fn equals_the_formula() {
    let env = Env::cpu();
    let positions = [0, 1, 77, 131071, 1_000_000];
    let (tokens, heads) = (positions.len(), 3);
    let variants = [
        (REFLEX_ROPE_NEOX, 64, 0, 0.0, 0.0, 0.0, false),
        (REFLEX_ROPE_INTERLEAVED, 64, 0, 0.0, 0.0, 0.0, false),
        (REFLEX_ROPE_NEOX, 128, 0, 1e6, 0.25, 1.2, true),
        (REFLEX_ROPE_INTERLEAVED, 80, 32, 5e5, 0.0, 0.0, true),
        (REFLEX_ROPE_NEOX, 10, 6, 1.0, 3.0, 0.5, false),
    ];
    for (mode, dim, rotary_dim, theta_base, freq_scale, magnitude, with_factors) in variants {
        let p = reflex_rope_params {
            mode,
            rotary_dim,
            theta_base,
            freq_scale,
            magnitude,
            ..base()
        };
        let rotary = if rotary_dim == 0 { dim } else { rotary_dim as usize };
        let mut random = Random::new(dim as u64);
        let q = random.normals(tokens * heads * dim);
        let factors: Vec<f32> = (0..rotary / 2).map(|_| random.range(1.0, 8.0)).collect();
        let outputs = run_once(&env, |io| {
            let shape = [tokens as i64, heads as i64, dim as i64];
            let mut p = p;
            p.q = io.input(Spec::new(F32, &shape).row_gap(5), &q);
            p.q_out = io.output(Spec::new(F32, &shape));
            p.positions = io.ints(&positions);
            if with_factors {
                p.freq_factors = io.input(Spec::new(F32, &[rotary as i64 / 2]), &factors);
            }
            Box::new(move |context, stream| reflex_rope(context, &p, stream))
        });
        for (row, x) in q.chunks(dim).enumerate() {
            let want = oracle(&p, x, positions[row / heads], with_factors.then_some(&factors[..]));
            for (got, want) in outputs[0][row * dim..].iter().zip(want) {
                close(*got, want);
            }
        }
    }
}

/// RMS norm of a head by the formula in f64, rounded to f32 as the oracle takes it.
pub fn normed(x: &[f32], weight: &[f32], epsilon: f64) -> Vec<f32> {
    let mean = x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / x.len() as f64;
    let scale = 1.0 / (mean + epsilon).sqrt();
    x.iter()
        .zip(weight)
        .map(|(&v, &w)| (f64::from(v) * scale * f64::from(w)) as f32)
        .collect()
}

#[test]
fn norms_each_head_of_q_and_k_before_it_rotates() {
    let env = Env::cpu();
    let (tokens, q_heads, kv_heads, dim, slots) = (3usize, 4usize, 2usize, 32usize, 6usize);
    let positions = [5, 77, 4096];
    let slot_of = [4, 0, 2];
    for (mode, rotary_dim, norms, epsilon) in [
        (REFLEX_ROPE_NEOX, 0, [true, true], 0.0),
        (REFLEX_ROPE_NEOX, 12, [true, true], 1e-3),
        (REFLEX_ROPE_INTERLEAVED, 0, [true, false], 1e-5),
        (REFLEX_ROPE_INTERLEAVED, 8, [false, true], 0.5),
    ] {
        let mut random = Random::new(rotary_dim.into());
        let q = random.normals(tokens * q_heads * dim);
        let k = random.normals(tokens * kv_heads * dim);
        let v = random.normals(tokens * kv_heads * dim);
        let weights = [random.normals(dim), random.normals(dim)];
        let p = reflex_rope_params {
            mode,
            rotary_dim,
            norm_epsilon: epsilon,
            ..base()
        };
        let outputs = run_once(&env, |io| {
            let shape = |n: usize, heads: usize| [n as i64, heads as i64, dim as i64];
            let spec = |n, heads| Spec::new(F32, &shape(n, heads));
            let mut p = reflex_rope_params {
                q: io.in_out(spec(tokens, q_heads), &q),
                k: io.input(spec(tokens, kv_heads), &k),
                k_out: io.output(spec(tokens, kv_heads)),
                v: io.input(spec(tokens, kv_heads), &v),
                positions: io.ints(&positions),
                slots: io.ints(&slot_of),
                k_cache: io.in_out(spec(slots, kv_heads), &vec![7.0; slots * kv_heads * dim]),
                v_cache: io.in_out(spec(slots, kv_heads), &vec![7.0; slots * kv_heads * dim]),
                ..p
            };
            let weight = |i: usize| io.input(Spec::new(F32, &[dim as i64]), &weights[i]);
            if norms[0] {
                p.q_norm = weight(0);
            }
            if norms[1] {
                p.k_norm = weight(1);
            }
            Box::new(move |context, stream| reflex_rope(context, &p, stream))
        });
        let epsilon = if epsilon == 0.0 { 1e-6 } else { f64::from(epsilon) };
        let expected = |x: &[f32], which: usize, token: usize| {
            let h = match norms[which] {
                true => normed(x, &weights[which], epsilon),
                false => x.to_vec(),
            };
            oracle(&p, &h, positions[token], None)
        };
        let row = |values: &[f32], row: usize| values[row * dim..][..dim].to_vec();
        for (token, &slot) in slot_of.iter().enumerate() {
            for head in 0..q_heads {
                let want = expected(&row(&q, token * q_heads + head), 0, token);
                let got = row(&outputs[0], token * q_heads + head);
                got.iter().zip(want).for_each(|(&got, want)| close(got, want));
            }
            for head in 0..kv_heads {
                let from = token * kv_heads + head;
                let slot = slot as usize * kv_heads + head;
                let want = expected(&row(&k, from), 1, token);
                for got in [row(&outputs[1], from), row(&outputs[2], slot)] {
                    got.iter().zip(&want).for_each(|(&got, &want)| close(got, want));
                }
                assert_eq!(row(&outputs[3], slot), row(&v, from), "v has no norm");
            }
        }
    }
}

#[test]
fn a_caller_that_knows_no_norm_is_served() {
    let env = Env::cpu();
    let x = Random::new(9).normals(16);
    let outputs = run_once(&env, |io| {
        let p = reflex_rope_params {
            // As the struct was before the norms were appended, with what lies behind it.
            struct_size: std::mem::offset_of!(reflex_rope_params, q_norm) as u32,
            q: io.in_out(Spec::new(F32, &[1, 1, 16]), &x),
            positions: io.ints(&[3]),
            norm_epsilon: f32::NAN,
            ..base()
        };
        Box::new(move |context, stream| reflex_rope(context, &p, stream))
    });
    let want = oracle(&base(), &x, 3, None);
    outputs[0].iter().zip(want).for_each(|(&got, want)| close(got, want));
}

#[test]
fn appends_to_the_cache_and_skips_foreign_slots() {
    let env = Env::cpu();
    let (tokens, heads, dim, v_dim, slots) = (5usize, 2usize, 8usize, 6usize, 4usize);
    let mut random = Random::new(1);
    let (k, v) = (
        random.normals(tokens * heads * dim),
        random.normals(tokens * heads * v_dim),
    );
    let positions = [3, 4, 5, 6, 7];
    let slot_of = [2, -1, 0, 4, i32::MAX];
    let outputs = run_once(&env, |io| {
        let shape = |n: usize, dim: usize| [n as i64, heads as i64, dim as i64];
        let p = reflex_rope_params {
            // An input: with a cache and no k_out, k is left as it is.
            k: io.input(Spec::new(F32, &shape(tokens, dim)), &k),
            v: io.input(Spec::new(F32, &shape(tokens, v_dim)), &v),
            positions: io.ints(&positions),
            slots: io.ints(&slot_of),
            k_cache: io.in_out(Spec::new(F32, &shape(slots, dim)), &vec![7.0; slots * heads * dim]),
            v_cache: io.in_out(Spec::new(F16, &shape(slots, v_dim)), &vec![7.0; slots * heads * v_dim]),
            ..base()
        };
        Box::new(move |context, stream| reflex_rope(context, &p, stream))
    });
    for slot in 0..slots {
        let token = slot_of.iter().position(|&s| s == slot as i32);
        for head in 0..heads {
            let key = &outputs[0][(slot * heads + head) * dim..][..dim];
            let value = &outputs[1][(slot * heads + head) * v_dim..][..v_dim];
            match token {
                None => assert!(key.iter().chain(value).all(|&x| x == 7.0)),
                Some(t) => {
                    let row = t * heads + head;
                    let want = oracle(&base(), &k[row * dim..][..dim], positions[t], None);
                    key.iter().zip(want).for_each(|(&got, want)| close(got, want));
                    for (got, want) in value.iter().zip(&v[row * v_dim..]) {
                        assert_eq!(*got, half::f16::from_f32(*want).to_f32());
                    }
                }
            }
        }
    }
}

#[test]
fn slot_is_the_position_by_default() {
    let env = Env::cpu();
    let outputs = run_once(&env, |io| {
        let p = reflex_rope_params {
            v: io.input(Spec::new(F32, &[3, 1, 2]), &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            positions: io.ints(&[1, -1, 0]),
            v_cache: io.in_out(Spec::new(F32, &[3, 1, 2]), &[0.0; 6]),
            ..base()
        };
        Box::new(move |context, stream| reflex_rope(context, &p, stream))
    });
    assert_eq!(outputs[0], [5.0, 6.0, 1.0, 2.0, 0.0, 0.0]);
}

#[test]
fn rotates_in_place_inside_a_merged_buffer() {
    let env = Env::cpu();
    let (tokens, dim) = (3, 16);
    // Rows of q, q, k, v; q and k are rotated where they are, v is not touched.
    let values = Random::new(3).normals(tokens * 4 * dim);
    let positions = [10, 11, 12];
    let outputs = run_once(&env, |io| {
        let merged = io.in_out(Spec::new(F32, &[tokens as i64, 4, dim as i64]), &values);
        let part = |first: usize, heads: i64| reflex_tensor {
            data: merged.data.wrapping_byte_add(first * dim * 4),
            shape: [tokens as i64, heads, dim as i64, 0],
            stride: [4 * dim as i64 * 4, dim as i64 * 4, 4, 0],
            ..merged
        };
        let p = reflex_rope_params {
            q: part(0, 2),
            k: part(2, 1),
            positions: io.ints(&positions),
            ..base()
        };
        Box::new(move |context, stream| reflex_rope(context, &p, stream))
    });
    for (row, x) in values.chunks(dim).enumerate() {
        let got = &outputs[0][row * dim..][..dim];
        if row % 4 == 3 {
            assert_eq!(got, x);
            continue;
        }
        let want = oracle(&base(), x, positions[row / 4], None);
        got.iter().zip(want).for_each(|(&got, want)| close(got, want));
    }
}

#[test]
fn a_useless_factor_makes_its_pair_nan_and_no_other() {
    let env = Env::cpu();
    let outputs = run_once(&env, |io| {
        let q = io.in_out(Spec::new(F32, &[1, 1, 8]), &[1.0; 8]);
        let factors = [1.0, 0.0, f32::INFINITY, 2.0];
        let p = reflex_rope_params {
            mode: REFLEX_ROPE_INTERLEAVED,
            q,
            positions: io.ints(&[0]),
            freq_factors: io.input(Spec::new(F32, &[4]), &factors),
            ..base()
        };
        Box::new(move |context, stream| reflex_rope(context, &p, stream))
    });
    let nan: Vec<bool> = outputs[0].iter().map(|v| v.is_nan()).collect();
    assert_eq!(nan, [false, false, true, true, true, true, false, false]);
}

/// Over all positions, with bases, scales and factors at the ends of their ranges, against numbers of 600 bits.
#[test]
fn keeps_its_bound_at_every_angle() {
    let env = Env::cpu();
    for mode in [REFLEX_ROPE_NEOX, REFLEX_ROPE_INTERLEAVED] {
        worst_of_rope_golden(&env, mode, 0, 0);
        worst_of_rope_golden(&env, mode, 3, 1);
    }
}

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
                v_cache: io.in_out(Spec::new(F32, &[3, 1, 2]), &[0.0; 6]),
                ..base()
            };
            if factors > 0 {
                p.freq_factors = io.input(Spec::new(F32, &[factors]), &vec![0.0; factors as usize]);
            }
            Box::new(move |context, stream| reflex_rope(context, &p, stream))
        });
        assert_eq!(outputs[0], [5.0, 6.0, 1.0, 2.0, 0.0, 0.0], "rotary_dim {rotary_dim}");
    }
    for (status, words, change) in V_ALONE {
        expect_refused(&env, "rope", (*status, words), |io| {
            let mut p = reflex_rope_params {
                v: io.input(Spec::new(F32, &[3, 1, 2]), &values),
                positions: io.ints(&[1, -1, 0]),
                v_cache: io.output(Spec::new(F32, &[3, 1, 2])),
                ..base()
            };
            change(&mut p, io);
            Box::new(move |context, stream| reflex_rope(context, &p, stream))
        });
    }
}

type Refusal = (reflex_status, &'static str, fn(&mut reflex_rope_params, &Io));
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
    // Either cache is enough.
    (
        REFLEX_INVALID_ARGUMENT,
        "slots is given, which needs k_cache or v_cache",
        |p, io| {
            p.q = io.output(Spec::new(F32, &[3, 1, 2]));
            (p.v, p.v_cache) = Default::default();
            p.slots = io.ints(&[0, 1, 2]);
        },
    ),
    (REFLEX_INVALID_ARGUMENT, "positions.data is NULL", |p, io| {
        p.slots = io.ints(&[0, 1, 2]);
        p.positions = reflex_tensor::default();
    }),
];

/// Every combination of q, k and v, with and without caches: one rule decides, and what is accepted does its work.
#[test]
fn each_combination_of_operands_follows_one_rule() {
    let env = Env::cpu();
    const Q: u32 = 1;
    const K: u32 = 2;
    const V: u32 = 4;
    const Q_OUT: u32 = 8;
    const K_OUT: u32 = 16;
    const K_CACHE: u32 = 32;
    const V_CACHE: u32 = 64;
    const Q_NORM: u32 = 128;
    const K_NORM: u32 = 256;
    const SLOTS: u32 = 512;
    // What one operand is for is given with it.
    let needs = [
        (Q_OUT, Q),
        (K_OUT, K),
        (K_CACHE, K),
        (V_CACHE, V),
        (V, V_CACHE),
        (Q_NORM, Q),
        (K_NORM, K),
        (SLOTS, K_CACHE | V_CACHE),
    ];
    let dim = 8;
    let mut random = Random::new(12);
    let rows: Vec<f32> = random.normals(2 * dim);
    let weight: Vec<f32> = random.normals(dim);
    let positions = [1, 0];
    for given in 0..1024u32 {
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
            k_cache: some(K_CACHE, &written),
            v_cache: some(V_CACHE, &written),
            q_norm: some(Q_NORM, &norm),
            k_norm: some(K_NORM, &norm),
            slots: some(SLOTS, &|| io.ints(&[0, 1])),
            positions: io.ints(&positions),
            ..base()
        };
        let status = reflex_rope(env.context, &p, env.stream);
        assert_eq!(reflex_rope_supported(env.context, &p), status, "{given:#x}");
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
        if has(K) && (has(K_OUT) || !has(K_CACHE)) {
            expect(if has(K_OUT) { p.k_out } else { p.k }, rotated(has(K_NORM)));
        } else if has(K) {
            assert_eq!(read(p.k), rows, "{given:#x}");
        }
        if has(K_CACHE) {
            expect(p.k_cache, swap(rotated(has(K_NORM))));
        }
        if has(V) {
            assert_eq!(read(p.v), rows, "{given:#x}");
            expect(p.v_cache, swap(rows.iter().map(|&v| v.into()).collect()));
        }
    }
}

#[test]
fn nothing_to_do_is_success() {
    let env = Env::cpu();
    let outputs = run_once(&env, |io| {
        let p = reflex_rope_params {
            q: io.in_out(Spec::new(F32, &[0, 4, 8]), &[]),
            positions: io.ints(&[]),
            ..base()
        };
        Box::new(move |context, stream| reflex_rope(context, &p, stream))
    });
    assert_eq!(outputs, [Vec::<f32>::new()]);
}

#[test]
fn bad_input_is_refused() {
    type Change = fn(&mut reflex_rope_params, &Io);
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
            p.k_cache = io.output(Spec::new(F32, &[3, 1, 4]));
        }),
        ("v.shape", |p, io| {
            p.v = io.output(Spec::new(F32, &[2, 2, 8]));
            p.v_cache = io.output(Spec::new(F32, &[3, 2, 8]));
        }),
        ("positions.data", |p, _| p.positions = reflex_tensor::default()),
        ("positions.shape", |p, io| p.positions = io.ints(&[1, 2, 3])),
        ("positions.dtype", |p, io| p.positions = io.output(Spec::new(F32, &[2]))),
        ("slots.shape", |p, io| p.slots = io.ints(&[1])),
        ("slots", |p, io| {
            p.slots = io.ints(&[1, 2]);
            p.k_cache = reflex_tensor::default();
            p.v = reflex_tensor::default();
            p.v_cache = reflex_tensor::default();
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
        ("k_cache", |p, _| p.k = reflex_tensor::default()),
        ("k_cache.shape", |p, io| {
            p.k_cache = io.output(Spec::new(F32, &[3, 2, 8]))
        }),
        ("k_cache.dtype", |p, io| {
            p.k_cache = io.output(Spec::new(REFLEX_DTYPE_I32, &[3, 1, 8]))
        }),
        ("v", |p, _| p.v_cache = reflex_tensor::default()),
        ("v_cache.shape", |p, io| {
            p.v_cache = io.output(Spec::new(F32, &[4, 1, 8]))
        }),
        ("q.data", |p, _| *p = base()),
        ("q_out.data", |p, _| p.q_out = p.q.overlap()),
        ("k_cache.data", |p, _| {
            p.k_cache.data = p.v.data;
            p.k_cache.shape[0] = 3;
        }),
        ("v_cache.data", |p, _| p.v_cache = p.k_cache),
        ("q.stride[0]", |p, _| p.q.stride = [0, 32, 4, 0]),
        (
            "rotary_dim is 0, which selects head_dim, 7, expected an even number",
            |p, _| {
                (p.k, p.k_cache) = Default::default();
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
            p.k_cache = reflex_tensor::default();
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
            let mut p = reflex_rope_params {
                q: io.in_out(Spec::new(F32, &[2, 2, 8]), &[1.0; 32]),
                k: io.input(Spec::new(F32, &[2, 1, 8]), &[1.0; 16]),
                v: io.input(Spec::new(F32, &[2, 1, 8]), &[1.0; 16]),
                positions: io.ints(&[0, 1]),
                k_cache: io.output(Spec::new(F32, &[3, 1, 8])),
                v_cache: io.output(Spec::new(F32, &[3, 1, 8])),
                ..base()
            };
            change(&mut p, io);
            Box::new(move |context, stream| reflex_rope(context, &p, stream))
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

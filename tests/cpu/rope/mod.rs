mod operands;

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

/// Of a cache with one sequence.
fn cache_shape(slots: usize, heads: usize, dim: usize) -> [i64; 4] {
    [1, slots as i64, heads as i64, dim as i64]
}

/// A cache of three slots of zeros for values, and of keys, which must not change.
fn values_alone(io: &Io) -> reflex_kv_cache {
    let shape = [1, 3, 1, 2];
    let keys = io.input(Spec::new(F32, &shape), &[3.0; 6]);
    kv_cache(keys, io.in_out(Spec::new(F32, &shape), &[0.0; 6]), Default::default())
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
            let cache = || {
                io.in_out(
                    Spec::new(F32, &cache_shape(slots, kv_heads, dim)),
                    &vec![7.0; slots * kv_heads * dim],
                )
            };
            let mut p = reflex_rope_params {
                q: io.in_out(spec(tokens, q_heads), &q),
                k: io.input(spec(tokens, kv_heads), &k),
                k_out: io.output(spec(tokens, kv_heads)),
                v: io.input(spec(tokens, kv_heads), &v),
                positions: io.ints(&positions),
                slots: io.ints(&slot_of),
                ..p
            };
            let cache = kv_cache(cache(), cache(), Default::default());
            let weight = |i: usize| io.input(Spec::new(F32, &[dim as i64]), &weights[i]);
            if norms[0] {
                p.q_norm = weight(0);
            }
            if norms[1] {
                p.k_norm = weight(1);
            }
            let call = RopeCall::new(p, cache);
            Box::new(move |context, stream| RopeCall::launch(context, &call, stream))
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
            ..base()
        };
        let cache = |dtype, dim: usize| {
            let spec = Spec::new(dtype, &cache_shape(slots, heads, dim));
            io.in_out(spec, &vec![7.0; slots * heads * dim])
        };
        let call = RopeCall::new(p, kv_cache(cache(F32, dim), cache(F16, v_dim), Default::default()));
        Box::new(move |context, stream| RopeCall::launch(context, &call, stream))
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
            ..base()
        };
        let call = RopeCall::new(p, values_alone(io));
        Box::new(move |context, stream| RopeCall::launch(context, &call, stream))
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

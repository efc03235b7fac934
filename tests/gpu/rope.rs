use crate::support::*;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const F16: reflex_dtype = REFLEX_DTYPE_F16;
const BF16: reflex_dtype = REFLEX_DTYPE_BF16;

/// Each rotated value is a sum of two products that may cancel: the error is measured by the inputs' size, about 4.
fn tolerance(y: reflex_dtype) -> Tolerance {
    match y {
        F16 => Tolerance::new(4e-6, 1.0 / 1024.0),
        BF16 => Tolerance::new(4e-6, 1.0 / 128.0),
        _ => Tolerance::new(4e-6, 0.0),
    }
}

/// With a norm the inputs of the rotation are products of two normal numbers, up to 16, and have its error, 5e-7 of them.
fn normed_tolerance(y: reflex_dtype) -> Tolerance {
    Tolerance {
        absolute: 2e-5,
        ..tolerance(y)
    }
}

#[derive(Clone, Copy)]
struct Case {
    mode: reflex_rope_mode,
    x: reflex_dtype,
    cache: reflex_dtype,
    tokens: i64,
    heads: [i64; 2],
    dim: i64,
    v_dim: i64,
    rotary: i64,
    /// Of the first token; the others follow it.
    position: i32,
    gap: i64,
    offset: usize,
    scaled: bool,
    /// Types of the norms of q and k.
    norms: [Option<reflex_dtype>; 2],
}

impl Case {
    fn launch(self, io: &Io) -> Launch {
        let mut random = Random::new((self.tokens * 7919 + self.dim * 13 + self.rotary) as u64);
        let spec = |dtype, n: i64, heads: i64, dim: i64| {
            Spec::new(dtype, &[n, heads, dim]).row_gap(self.gap).offset(self.offset)
        };
        let mut values = |n: i64, heads: i64, dim: i64| random.normals((n * heads * dim) as usize);
        let ([q_heads, kv_heads], slots) = (self.heads, 2 * self.tokens + 3);
        let tokens: Vec<i32> = (0..self.tokens as i32).collect();
        // Distinct slots, some of them outside the cache.
        let slot = |t: i32| if t % 5 == 3 { -1 - t } else { slots as i32 - 2 - 2 * t };
        let mut p = reflex_rope_params {
            struct_size: size_of::<reflex_rope_params>() as u32,
            mode: self.mode,
            rotary_dim: self.rotary as u32,
            q: io.in_out(
                spec(self.x, self.tokens, q_heads, self.dim),
                &values(self.tokens, q_heads, self.dim),
            ),
            k: io.input(
                spec(self.x, self.tokens, kv_heads, self.dim),
                &values(self.tokens, kv_heads, self.dim),
            ),
            v: io.input(
                spec(self.x, self.tokens, kv_heads, self.v_dim),
                &values(self.tokens, kv_heads, self.v_dim),
            ),
            positions: io.ints(&tokens.iter().map(|t| self.position + t).collect::<Vec<_>>()),
            slots: io.ints(&tokens.iter().map(|&t| slot(t)).collect::<Vec<_>>()),
            k_cache: io.in_out(
                spec(self.cache, slots, kv_heads, self.dim),
                &values(slots, kv_heads, self.dim),
            ),
            v_cache: io.in_out(
                spec(self.cache, slots, kv_heads, self.v_dim),
                &values(slots, kv_heads, self.v_dim),
            ),
            ..Default::default()
        };
        if self.scaled {
            let pairs = if self.rotary == 0 { self.dim } else { self.rotary } / 2;
            let factors: Vec<f32> = (0..pairs).map(|_| random.range(1.0, 8.0)).collect();
            p.freq_factors = io.input(Spec::new(F32, &[pairs]), &factors);
            p.theta_base = 5e5;
            p.freq_scale = 0.25;
            p.magnitude = 1.1;
            p.k_out = io.output(spec(F32, self.tokens, kv_heads, self.dim));
        }
        let mut norm = |dtype: Option<reflex_dtype>| {
            let weights = random.normals(self.dim as usize);
            dtype.map_or(reflex_tensor::default(), |dtype| {
                io.input(Spec::new(dtype, &[self.dim]).offset(self.offset), &weights)
            })
        };
        p.q_norm = norm(self.norms[0]);
        p.k_norm = norm(self.norms[1]);
        Box::new(move |context, stream| reflex_rope(context, &p, stream))
    }
}

pub fn tests(suite: &mut Suite) {
    let base = Case {
        mode: REFLEX_ROPE_NEOX,
        x: F32,
        cache: F32,
        tokens: 3,
        heads: [4, 2],
        dim: 128,
        v_dim: 128,
        rotary: 0,
        position: 0,
        gap: 0,
        offset: 0,
        scaled: false,
        norms: [None; 2],
    };
    for (mode, name) in [(REFLEX_ROPE_NEOX, "neox"), (REFLEX_ROPE_INTERLEAVED, "interleaved")] {
        let base = Case { mode, ..base };
        let mut add = |what: String, case: Case| {
            let worst = if case.x == BF16 { BF16 } else { case.cache };
            let worst = if case.x == F16 { F16 } else { worst };
            let tolerance = match case.norms {
                [None, None] => tolerance(worst),
                _ => normed_tolerance(worst),
            };
            suite.parity(format!("rope::{name}_{what}"), tolerance, move |io| case.launch(io));
        };
        for (dim, rotary, v_dim) in [
            (2, 0, 1),
            (6, 4, 5),
            (8, 0, 8),
            (16, 0, 24),
            (64, 0, 64),
            (80, 32, 80),
            (96, 48, 128),
            (100, 50, 100),
            (128, 0, 128),
            (256, 64, 256),
            (1024, 0, 512),
            (1032, 1024, 8),
        ] {
            for scaled in [false, true] {
                let case = Case {
                    dim,
                    rotary,
                    v_dim,
                    scaled,
                    position: 1000,
                    ..base
                };
                add(format!("dim_{dim}_rotary_{rotary}_scaled_{scaled}"), case);
            }
        }
        for position in [-5, 0, 4095, 131071, 1_000_000] {
            for scaled in [false, true] {
                let case = Case {
                    position,
                    scaled,
                    ..base
                };
                add(format!("position_{position}_scaled_{scaled}"), case);
            }
        }
        for tokens in [0, 1, 2, 17, 1500] {
            let case = Case {
                tokens,
                heads: [32, 8],
                x: F16,
                cache: F16,
                dim: 64,
                v_dim: 64,
                ..base
            };
            add(format!("tokens_{tokens}"), case);
        }
        for (x, cache) in [(F32, F16), (F16, F16), (F16, F32), (BF16, F16), (BF16, F32)] {
            add(format!("types_{}_{}", x.0, cache.0), Case { x, cache, ..base });
        }
        // Heads of one warp and of part of one, of several loads, of no whole load.
        for (dim, rotary, v_dim) in [
            (6, 4, 5),
            (16, 0, 24),
            (64, 32, 128),
            (80, 32, 80),
            (100, 50, 100),
            (128, 0, 128),
            (256, 64, 256),
            (512, 0, 512),
            (1032, 1024, 8),
        ] {
            for norms in [[Some(F32), Some(F32)], [Some(F32), None], [None, Some(F32)]] {
                let case = Case {
                    dim,
                    rotary,
                    v_dim,
                    norms,
                    position: 1000,
                    scaled: norms[0].is_none(),
                    ..base
                };
                let which = norms.map(|norm| if norm.is_some() { "norm" } else { "plain" });
                add(format!("{}_q_{}_k_dim_{dim}_rotary_{rotary}", which[0], which[1]), case);
            }
        }
        for tokens in [1, 2, 17, 1500] {
            for (heads, dim, offset) in [([32, 8], 128, 0), ([5, 1], 256, 0), ([32, 8], 64, 1)] {
                let case = Case {
                    tokens,
                    heads,
                    x: F16,
                    cache: F16,
                    dim,
                    v_dim: dim,
                    offset,
                    norms: [Some(F32); 2],
                    ..base
                };
                add(format!("norms_tokens_{tokens}_dim_{dim}_offset_{offset}"), case);
            }
        }
        for (x, weight) in [(F32, F16), (F16, BF16), (BF16, BF16), (BF16, F32)] {
            let case = Case {
                x,
                norms: [Some(weight); 2],
                ..base
            };
            add(format!("norm_types_{}_{}", x.0, weight.0), case);
        }
        for (gap, offset) in [(1, 0), (8, 0), (0, 1), (3, 2), (4, 4)] {
            let case = Case {
                gap,
                offset,
                norms: [Some(F32); 2],
                ..base
            };
            add(format!("norms_gap_{gap}_offset_{offset}"), case);
        }
        for (gap, offset) in [(1, 0), (8, 0), (0, 1), (3, 2), (4, 4)] {
            let case = Case {
                gap,
                offset,
                scaled: true,
                ..base
            };
            add(format!("gap_{gap}_offset_{offset}"), case);
        }
    }

    // Angles up to 2^31, where either backend may be off by 5 * 2^-21 of |u| + |v|, here at most 2.
    for (name, scaled) in [("extreme_positions", false), ("extreme_positions_scaled", true)] {
        suite.parity(format!("rope::{name}"), Tolerance::new(1e-5, 0.0), move |io| {
            let positions = [
                i32::MIN,
                -1_900_000_001,
                -1,
                1 << 24,
                1 << 27,
                1_400_000_003,
                i32::MAX - 1,
                i32::MAX,
            ];
            let mut random = Random::new(1);
            let q: Vec<f32> = (0..8 * 2 * 64).map(|_| random.range(-1.0, 1.0)).collect();
            let mut p = reflex_rope_params {
                struct_size: size_of::<reflex_rope_params>() as u32,
                q: io.in_out(Spec::new(F32, &[8, 2, 64]), &q),
                positions: io.ints(&positions),
                ..Default::default()
            };
            if scaled {
                let factors: Vec<f32> = (0..32)
                    .map(|i| (1.0 + i as f32 / 7.0) * if i % 3 == 0 { -1.0 } else { 1.0 })
                    .collect();
                p.freq_factors = io.input(Spec::new(F32, &[32]), &factors);
                (p.theta_base, p.freq_scale) = (5e5, 0.7);
            }
            Box::new(move |context, stream| reflex_rope(context, &p, stream))
        });
    }

    // Against numbers of 600 bits, by every kernel: aligned short heads, longer ones, and odd ones.
    for (mode, name) in [(REFLEX_ROPE_NEOX, "neox"), (REFLEX_ROPE_INTERLEAVED, "interleaved")] {
        for (kind, extra_dim, offset) in [("heads", 0, 0), ("wide", 256, 0), ("odd", 3, 1)] {
            suite.test(
                format!("rope::{name}_{kind}_keeps_its_bound_at_every_angle"),
                move |_| {
                    let worst = worst_of_rope_golden(&Env::cuda().expect("a GPU"), mode, extra_dim, offset);
                    println!("{name} {kind}: at most {worst:.2} of the bound");
                },
            );
        }
    }

    for mode in [REFLEX_ROPE_NEOX, REFLEX_ROPE_INTERLEAVED] {
        suite.parity(
            format!("rope::merged_buffer_in_place_{}", mode.0),
            normed_tolerance(F16),
            move |io| {
                let (tokens, q_heads, kv_heads, dim) = (5i64, 6i64, 2i64, 64i64);
                let heads = q_heads + 2 * kv_heads;
                let values = Random::new(2).normals((tokens * heads * dim) as usize);
                let merged = io.in_out(Spec::new(F16, &[tokens, heads, dim]), &values);
                let part = |first: i64, count: i64| reflex_tensor {
                    data: merged.data.wrapping_byte_add((first * dim * 2) as usize),
                    shape: [tokens, count, dim, 0],
                    stride: [heads * dim * 2, dim * 2, 2, 0],
                    ..merged
                };
                let cache = |seed| {
                    let values = Random::new(seed).normals((8 * kv_heads * dim) as usize);
                    io.in_out(Spec::new(F16, &[8, kv_heads, dim]), &values)
                };
                let k = part(q_heads, kv_heads);
                let p = reflex_rope_params {
                    struct_size: size_of::<reflex_rope_params>() as u32,
                    mode,
                    q: part(0, q_heads),
                    k,
                    k_out: k,
                    v: part(q_heads + kv_heads, kv_heads),
                    positions: io.ints(&[2, 3, 4, 5, 6]),
                    k_cache: cache(3),
                    v_cache: cache(4),
                    // Rotated in place, though summed first.
                    q_norm: io.input(Spec::new(F32, &[dim]), &Random::new(6).normals(dim as usize)),
                    k_norm: io.input(Spec::new(F32, &[dim]), &Random::new(7).normals(dim as usize)),
                    ..Default::default()
                };
                Box::new(move |context, stream| reflex_rope(context, &p, stream))
            },
        );
    }

    // Nothing is rotated, whatever the parameters of a rotation are; by the kernel for aligned heads, and by that for odd ones.
    for (mode, name) in [(REFLEX_ROPE_NEOX, "neox"), (REFLEX_ROPE_INTERLEAVED, "interleaved")] {
        for dim in [40, 39, 512] {
            for (rotary_dim, factors) in [(0, 0), (0, 7), (64, 32), (2, 0), (1024, 512)] {
                let name = format!("rope::v_alone_{name}_dim_{dim}_rotary_{rotary_dim}_factors_{factors}");
                suite.parity(name, Tolerance::EXACT, move |io| {
                    let count = |tokens: i64| (tokens * 3 * dim) as usize;
                    let mut p = reflex_rope_params {
                        struct_size: size_of::<reflex_rope_params>() as u32,
                        mode,
                        magnitude: 3.0,
                        rotary_dim,
                        v: io.input(Spec::new(F32, &[4, 3, dim]), &Random::new(5).normals(count(4))),
                        positions: io.ints(&[7, 0, -1, 3]),
                        v_cache: io.in_out(Spec::new(F16, &[6, 3, dim]), &vec![0.0; count(6)]),
                        ..Default::default()
                    };
                    if factors > 0 {
                        p.freq_factors = io.input(Spec::new(F32, &[factors]), &vec![0.0; factors as usize]);
                    }
                    Box::new(move |context, stream| reflex_rope(context, &p, stream))
                });
            }
        }
    }

    suite.parity("rope::useless_factors_give_nan", tolerance(F32), |io| {
        let factors = [1.0, 0.0, f32::INFINITY, f32::NAN, -2.0, 1e-45, 1e30, -0.0];
        let p = reflex_rope_params {
            struct_size: size_of::<reflex_rope_params>() as u32,
            q: io.in_out(Spec::new(F32, &[1, 2, 16]), &[1.0; 32]),
            positions: io.ints(&[0]),
            freq_factors: io.input(Spec::new(F32, &[8]), &factors),
            ..Default::default()
        };
        Box::new(move |context, stream| reflex_rope(context, &p, stream))
    });
}

//! The angles of tests/golden/rope.py, and whether a backend's reflex_rope keeps its bound there.

use super::buffer::Spec;
use super::env::*;
use super::parity::*;
use reflex_infer::*;

/// Cosine and sine of one pair at one position.
#[derive(Clone, Copy)]
pub struct Angle {
    pub angle: f64,
    pub cos: f64,
    pub sin: f64,
}

pub struct RopeGolden {
    pub theta_base: f32,
    pub freq_scale: f32,
    pub rotary_dim: usize,
    pub positions: Vec<i32>,
    pub factors: Option<Vec<f32>>,
    /// Of each pair of each position.
    pub angles: Vec<Angle>,
}

/// What is left of the file.
struct Reader(&'static [u8]);

impl Reader {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_first_chunk().expect("a whole file");
        self.0 = rest;
        *head
    }

    fn f32(&mut self) -> f32 {
        f32::from_le_bytes(self.take())
    }

    fn f64(&mut self) -> f64 {
        f64::from_le_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }
}

pub fn rope_golden() -> Vec<RopeGolden> {
    let mut reader = Reader(include_bytes!("../golden/rope.bin"));
    let mut cases = Vec::new();
    while !reader.0.is_empty() {
        let (theta_base, freq_scale) = (reader.f32(), reader.f32());
        let (rotary_dim, count, with_factors) = (reader.u32() as usize, reader.u32(), reader.u32());
        let positions: Vec<i32> = (0..count).map(|_| i32::from_le_bytes(reader.take())).collect();
        let factors: Vec<f32> = (0..rotary_dim / 2).map(|_| reader.f32()).collect();
        let angles = (0..positions.len() * rotary_dim / 2).map(|_| Angle {
            angle: reader.f64(),
            cos: reader.f64(),
            sin: reader.f64(),
        });
        cases.push(RopeGolden {
            theta_base,
            freq_scale,
            rotary_dim,
            angles: angles.collect(),
            positions,
            factors: (with_factors != 0).then_some(factors),
        });
    }
    cases
}

/// What include/reflex/infer.h promises for a pair (u, v).
pub fn rope_bound(u: f32, v: f32, magnitude: f32, angle: f64) -> f64 {
    f64::from(magnitude) * f64::from(u.abs() + v.abs()) * (2f64.powi(-21) + 2f64.powi(-50) * angle.abs())
}

/// Rotates heads with `extra_dim` elements more than are rotated, `offset` elements off an aligned address, by every angle
/// of the file.
/// Returns the worst error as a part of the bound.
pub fn worst_of_rope_golden(env: &Env, mode: reflex_rope_mode, extra_dim: usize, offset: usize) -> f64 {
    let mut worst = 0.0f64;
    for case in rope_golden() {
        let (tokens, pairs) = (case.positions.len(), case.rotary_dim / 2);
        let dim = case.rotary_dim + extra_dim;
        // A pair that shows cosine and sine themselves, and one of both.
        let heads = [(1.0f32, 0.0f32), (-0.75, 1.5)];
        let place = |i: usize| match mode {
            REFLEX_ROPE_NEOX => (i, i + pairs),
            _ => (2 * i, 2 * i + 1),
        };
        let mut row = vec![0.25f32; heads.len() * dim];
        for (head, (u, v)) in row.chunks_mut(dim).zip(heads) {
            for i in 0..pairs {
                let (a, b) = place(i);
                (head[a], head[b]) = (u, v);
            }
        }
        let outputs = run_once(env, |io| {
            let shape = [tokens as i64, heads.len() as i64, dim as i64];
            let mut p = reflex_rope_params {
                struct_size: size_of::<reflex_rope_params>() as u32,
                mode,
                theta_base: case.theta_base,
                freq_scale: case.freq_scale,
                rotary_dim: case.rotary_dim as u32,
                q: io.input(Spec::new(REFLEX_DTYPE_F32, &shape).offset(offset), &row.repeat(tokens)),
                q_out: io.output(Spec::new(REFLEX_DTYPE_F32, &shape).offset(offset)),
                positions: io.ints(&case.positions),
                ..Default::default()
            };
            if let Some(factors) = &case.factors {
                p.freq_factors = io.input(Spec::new(REFLEX_DTYPE_F32, &[pairs as i64]), factors);
            }
            Box::new(move |context, stream| reflex_rope(context, &p, stream))
        });
        for (t, token) in outputs[0].chunks(heads.len() * dim).enumerate() {
            for (head, (u, v)) in token.chunks(dim).zip(heads) {
                for (i, a) in case.angles[t * pairs..][..pairs].iter().enumerate() {
                    let (first, second) = place(i);
                    let (u64, v64) = (f64::from(u), f64::from(v));
                    let want = [u64 * a.cos - v64 * a.sin, v64 * a.cos + u64 * a.sin];
                    for (got, want) in [head[first], head[second]].into_iter().zip(want) {
                        let excess = (f64::from(got) - want).abs() / rope_bound(u, v, 1.0, a.angle);
                        assert!(
                            excess <= 1.0,
                            "theta_base {}, freq_scale {}, position {}, pair {i}: {got}, expected {want}: {excess} times the bound",
                            case.theta_base,
                            case.freq_scale,
                            case.positions[t]
                        );
                        worst = worst.max(excess);
                    }
                }
                assert!(head[case.rotary_dim..].iter().all(|&x| x == 0.25));
            }
        }
    }
    worst
}

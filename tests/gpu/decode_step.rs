//! `reflex_attention_decode` with the operands of a whole decode step: norms, rotation and append before the attention.

use crate::attention::{poisoned, tolerance};
use crate::support::*;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const F16: reflex_dtype = REFLEX_DTYPE_F16;
const BF16: reflex_dtype = REFLEX_DTYPE_BF16;
const Q8_1: reflex_dtype = REFLEX_DTYPE_Q8_1;

/// An element of k between two of the cache's numbers may fall to either.
fn step_tolerance(kv: reflex_dtype, y: reflex_dtype) -> Tolerance {
    let limit = tolerance(kv, y);
    let rounding = match kv {
        F16 => 1.0 / 1024.0,
        BF16 => 1.0 / 128.0,
        _ => 0.0,
    };
    Tolerance::new(limit.absolute, limit.relative.max(rounding))
}

#[derive(Clone)]
struct Case {
    mode: reflex_rope_mode,
    x: reflex_dtype,
    kv: reflex_dtype,
    y: reflex_dtype,
    heads: i64,
    kv_heads: i64,
    capacity: i64,
    dim: i64,
    v_dim: i64,
    rotary: u32,
    /// One for each sequence; all of them `capacity` without lengths.
    lengths: Vec<i32>,
    no_lengths: bool,
    rotated: bool,
    append: bool,
    norms: Option<reflex_dtype>,
    factors: bool,
    /// Elements by which rows are further apart than they are long, and by which the first one is off.
    gap: i64,
    offset: usize,
    /// q, k_new and v_new are parts of one buffer.
    merged: bool,
}

impl Case {
    fn new() -> Case {
        Case {
            mode: REFLEX_ROPE_NEOX,
            x: F32,
            kv: F16,
            y: F32,
            heads: 8,
            kv_heads: 2,
            capacity: 700,
            dim: 128,
            v_dim: 128,
            rotary: 0,
            lengths: vec![613],
            no_lengths: false,
            rotated: true,
            append: true,
            norms: Some(F32),
            factors: false,
            gap: 0,
            offset: 0,
            merged: false,
        }
    }

    fn batch(&self) -> i64 {
        self.lengths.len() as i64
    }

    fn params(&self, io: &Io) -> reflex_attention_decode_params {
        let mut random = Random::new((self.capacity * 7919 + self.dim * 31 + self.heads) as u64);
        let (batch, dim, v_dim, none) = (self.batch(), self.dim, self.v_dim, reflex_tensor::default());
        let spec = |dtype, shape: &[i64]| Spec::new(dtype, shape).row_gap(self.gap).offset(self.offset);
        let caches = [dim, v_dim].map(|dim| {
            let spec = spec(self.kv, &[batch, self.capacity, self.kv_heads, dim]);
            let mut values = random.normals(spec.elements());
            // The new row is not there yet.
            let cached: Vec<i32> = self.lengths.iter().map(|&n| n.min(self.capacity as i32)).collect();
            let cached: Vec<i32> = cached.iter().map(|n| n - i32::from(self.append)).collect();
            poisoned(&mut values, &cached, self.capacity);
            match self.append {
                true => io.in_out(spec, &values),
                false => io.input(spec, &values),
            }
        });
        let shapes = [(self.heads, dim), (self.kv_heads, dim), (self.kv_heads, v_dim)];
        let heads: i64 = self.heads + 2 * self.kv_heads;
        let [q, k_new, v_new] = match self.merged {
            true => {
                let values = random.normals((batch * heads * dim) as usize);
                let merged = io.input(Spec::new(self.x, &[batch, heads, dim]), &values);
                let size = i64::from(reflex_dtype_block_bytes(self.x));
                [0, self.heads, self.heads + self.kv_heads].map(|first| reflex_tensor {
                    data: merged.data.wrapping_byte_add((first * dim * size) as usize),
                    shape: [batch, if first == 0 { self.heads } else { self.kv_heads }, dim, 0],
                    stride: [heads * dim * size, dim * size, size, 0],
                    ..merged
                })
            }
            false => shapes.map(|(heads, dim)| {
                let spec = spec(self.x, &[batch, heads, dim]);
                let values = random.normals(spec.elements());
                io.input(spec, &values)
            }),
        };
        let mut norm = || {
            self.norms.map_or(none, |dtype| {
                let weights: Vec<f32> = (0..dim).map(|_| random.range(0.5, 1.5)).collect();
                io.input(Spec::new(dtype, &[dim]).offset(self.offset), &weights)
            })
        };
        let mut p = reflex_attention_decode_params {
            struct_size: size_of::<reflex_attention_decode_params>() as u32,
            mode: self.mode,
            rotary_dim: self.rotary,
            q,
            k: caches[0],
            v: caches[1],
            kv_lengths: if self.no_lengths { none } else { io.ints(&self.lengths) },
            q_norm: norm(),
            k_norm: if self.append { norm() } else { none },
            y: io.output(match self.y {
                Q8_1 => q8_1(&[batch, self.heads * v_dim]),
                dtype => spec(dtype, &[batch, self.heads, v_dim]),
            }),
            ..Default::default()
        };
        if self.append {
            (p.k_new, p.v_new) = (k_new, v_new);
        }
        if self.rotated {
            // Any positions: they need not be those of the rows.
            let positions: Vec<i32> = (0..batch as i32).map(|b| 5000 * b + 611).collect();
            p.positions = io.ints(&positions);
        }
        if self.factors {
            let rotary = if self.rotary == 0 { dim } else { self.rotary.into() };
            let factors: Vec<f32> = (0..rotary / 2).map(|_| random.range(1.0, 8.0)).collect();
            p.freq_factors = io.input(Spec::new(F32, &[rotary / 2]), &factors);
            (p.theta_base, p.freq_scale, p.magnitude, p.norm_epsilon) = (5e5, 0.25, 1.1, 1e-5);
        }
        let mut bytes = 0;
        ok(reflex_attention_decode_workspace_size(io.env.context, &p, &mut bytes));
        (p.workspace, p.workspace_size) = (io.workspace(bytes), bytes);
        p
    }

    /// Against the CPU backend; and what lies in the cache afterwards against reflex_rope, bit for bit.
    fn add(self, suite: &mut Suite, name: &str) {
        let (case, twin) = (self.clone(), self);
        suite.parity(
            format!("attention_decode::step_{name}"),
            step_tolerance(case.kv, case.y),
            move |io| {
                let p = case.params(io);
                Box::new(move |context, stream| reflex_attention_decode(context, &p, stream))
            },
        );
        if twin.append && twin.rotated {
            let name = format!("attention_decode::step_{name}_appends_what_rope_does");
            suite.test(name, move |_| twin.appends_what_rope_does());
        }
    }

    fn appends_what_rope_does(&self) {
        let env = Env::cuda().expect("a GPU");
        let caches = |rope: bool| {
            let io = Io::new(&env);
            let p = self.params(&io);
            if rope {
                let r = self.rope(&io, &p);
                ok(reflex_rope(env.context, &r, env.stream));
            } else {
                ok(reflex_attention_decode(env.context, &p, env.stream));
            }
            // Guards are checked here, and that no input changed: q is none of rope's, which has an output for it.
            io.read()[..2].to_vec()
        };
        let (fused, rope) = (caches(false), caches(true));
        assert!(fused == rope, "other bits in the caches than reflex_rope's");
    }

    /// The same rotation and append as a call of reflex_rope.
    fn rope(&self, io: &Io, p: &reflex_attention_decode_params) -> reflex_rope_params {
        let rows = self.batch() * self.capacity;
        let slots: Vec<i32> = (0..self.batch() as i32)
            .zip(&self.lengths)
            .map(|(b, &n)| match n.min(self.capacity as i32) {
                n if n > 0 => b * self.capacity as i32 + n - 1,
                _ => -1,
            })
            .collect();
        let cache = |t: reflex_tensor| reflex_tensor {
            rank: 3,
            shape: [rows, t.shape[2], t.shape[3], 0],
            // The rows of all sequences are equally far apart.
            stride: match t.stride {
                [0, 0, 0, 0] => [0; 4],
                [_, slot, head, element] => [slot, head, element, 0],
            },
            ..t
        };
        reflex_rope_params {
            struct_size: size_of::<reflex_rope_params>() as u32,
            mode: p.mode,
            theta_base: p.theta_base,
            freq_scale: p.freq_scale,
            magnitude: p.magnitude,
            rotary_dim: p.rotary_dim,
            q: p.q,
            q_out: io.output(Spec::new(F32, &[self.batch(), self.heads, self.dim])),
            k: p.k_new,
            v: p.v_new,
            positions: p.positions,
            freq_factors: p.freq_factors,
            k_cache: cache(p.k),
            v_cache: cache(p.v),
            slots: io.ints(&slots),
            q_norm: p.q_norm,
            k_norm: p.k_norm,
            norm_epsilon: p.norm_epsilon,
            ..Default::default()
        }
    }
}

pub fn tests(suite: &mut Suite) {
    for (type_name, kv) in [("f16", F16), ("bf16", BF16), ("f32", F32)] {
        let base = Case { kv, ..Case::new() };
        for (heads, kv_heads) in [(2, 2), (8, 2), (8, 1), (7, 1), (32, 8), (40, 2)] {
            for dim in [64, 128, 256] {
                let name = format!("{type_name}_heads_{heads}_{kv_heads}_dim_{dim}");
                Case {
                    heads,
                    kv_heads,
                    dim,
                    v_dim: dim,
                    lengths: vec![700],
                    ..base.clone()
                }
                .add(suite, &name);
            }
        }
        for (dim, v_dim) in [(8, 8), (24, 40), (72, 72), (80, 128), (104, 8), (200, 256)] {
            let name = format!("{type_name}_dim_{dim}_{v_dim}");
            Case {
                dim,
                v_dim,
                ..base.clone()
            }
            .add(suite, &name);
        }
        for (name, mode) in [("neox", REFLEX_ROPE_NEOX), ("interleaved", REFLEX_ROPE_INTERLEAVED)] {
            for rotary in [0, 32, 50, 96] {
                for (factors, norms) in [(true, None), (false, Some(F16)), (true, Some(BF16))] {
                    let name = format!(
                        "{type_name}_{name}_rotary_{rotary}_{factors}_norm_{}",
                        norms.map_or(0, |norm: reflex_dtype| norm.0)
                    );
                    Case {
                        mode,
                        rotary,
                        factors,
                        norms,
                        ..base.clone()
                    }
                    .add(suite, &name);
                }
            }
        }
        for capacity in [1, 64, 700, 4096] {
            let lengths = [0, 1, 63, 64, 65, capacity, -3, capacity + 1, 640];
            let name = format!("{type_name}_lengths_capacity_{capacity}");
            Case {
                capacity: capacity.into(),
                lengths: lengths.to_vec(),
                ..base.clone()
            }
            .add(suite, &name);
        }
        for length in [1, 2, 16, 17, 64, 65, 1000, 4095, 4096] {
            Case {
                capacity: 4096,
                heads: 32,
                kv_heads: 8,
                lengths: vec![length],
                ..base.clone()
            }
            .add(suite, &format!("{type_name}_length_{length}"));
        }
        // Blocks for every SM without a split, and the launch that combines.
        for (what, batch, kv_heads, capacity) in [("crowd", 70, 4, 90), ("far", 1, 1, 20000)] {
            Case {
                heads: 2 * kv_heads,
                kv_heads,
                capacity,
                lengths: vec![capacity as i32 - 7; batch],
                ..base.clone()
            }
            .add(suite, &format!("{type_name}_{what}"));
        }
        let capacity = base.capacity as i32;
        for (what, case) in [
            (
                "no_lengths",
                Case {
                    no_lengths: true,
                    lengths: vec![capacity; 3],
                    ..base.clone()
                },
            ),
            (
                "no_norm",
                Case {
                    norms: None,
                    ..base.clone()
                },
            ),
            (
                "no_rotation",
                Case {
                    rotated: false,
                    ..base.clone()
                },
            ),
            (
                "append_alone",
                Case {
                    rotated: false,
                    norms: None,
                    ..base.clone()
                },
            ),
            (
                "q_alone",
                Case {
                    append: false,
                    ..base.clone()
                },
            ),
            (
                "q_norm_alone",
                Case {
                    append: false,
                    rotated: false,
                    ..base.clone()
                },
            ),
            (
                "merged",
                Case {
                    merged: true,
                    lengths: vec![65, 700],
                    ..base.clone()
                },
            ),
            (
                "gap_8",
                Case {
                    gap: 8,
                    lengths: vec![65, 700],
                    ..base.clone()
                },
            ),
            (
                "gap_1",
                Case {
                    gap: 1,
                    lengths: vec![65, 700],
                    ..base.clone()
                },
            ),
            (
                "offset_1",
                Case {
                    offset: 1,
                    lengths: vec![65, 700],
                    ..base.clone()
                },
            ),
            (
                "q8_1",
                Case {
                    y: Q8_1,
                    lengths: vec![65, 700],
                    ..base.clone()
                },
            ),
            (
                "q8_1_composed",
                Case {
                    y: Q8_1,
                    offset: 3,
                    ..base.clone()
                },
            ),
            (
                "x_f16",
                Case {
                    x: F16,
                    y: F16,
                    ..base.clone()
                },
            ),
            (
                "x_bf16",
                Case {
                    x: BF16,
                    y: BF16,
                    ..base.clone()
                },
            ),
            (
                "no_heads",
                Case {
                    heads: 0,
                    ..base.clone()
                },
            ),
        ] {
            case.add(suite, &format!("{type_name}_{what}"));
        }
        replayed(suite, type_name, kv);
    }
    q_in_place(suite);
}

/// What an engine does: one graph; lengths and positions grow in device memory, and the cache with them.
fn replayed(suite: &mut Suite, type_name: &str, kv: reflex_dtype) {
    suite.test(format!("attention_decode::step_{type_name}_replayed"), move |_| {
        let (env, cpu) = (Env::cuda().expect("a GPU"), Env::cpu());
        let case = Case {
            kv,
            heads: 32,
            kv_heads: 8,
            capacity: 1200,
            lengths: vec![1, 900],
            ..Case::new()
        };
        let (io, cpu_io) = (Io::new(&env), Io::new(&cpu));
        let (p, cpu_p) = (case.params(&io), case.params(&cpu_io));
        let mut graph = std::ptr::null_mut();
        ok(reflex_graph_capture_begin(env.context, env.stream));
        ok(reflex_attention_decode(env.context, &p, env.stream));
        ok(reflex_graph_capture_end(env.context, env.stream, &mut graph));
        let limit = step_tolerance(kv, F32);
        for step in 0..70 {
            let lengths = encode_ints(&[1 + step, 900 + step]);
            let positions = encode_ints(&[step, 40 * step]);
            for (env, p) in [(&env, &p), (&cpu, &cpu_p)] {
                env.upload(p.kv_lengths.data, &lengths);
                env.upload(p.positions.data, &positions);
            }
            ok(reflex_graph_launch(env.context, graph, env.stream));
            ok(reflex_attention_decode(cpu.context, &cpu_p, cpu.stream));
            let bytes = (case.batch() * case.heads * case.v_dim * 4) as usize;
            let (mut got, mut want) = (vec![0; bytes], vec![0; bytes]);
            env.download(p.y.data, &mut got);
            cpu.download(cpu_p.y.data, &mut want);
            for (got, want) in decode(F32, &got).into_iter().zip(decode(F32, &want)) {
                assert!(
                    (got - want).abs() <= limit.absolute + limit.relative * want.abs(),
                    "step {step}: {got} {want}"
                );
            }
        }
        reflex_graph_destroy(graph);
    });
}

/// y may be q itself, though several blocks read it.
fn q_in_place(suite: &mut Suite) {
    for capacity in [50, 700, 30000] {
        let name = format!("attention_decode::step_in_place_capacity_{capacity}");
        suite.parity(name, step_tolerance(F16, F32), move |io| {
            let case = Case {
                capacity,
                lengths: vec![capacity as i32],
                ..Case::new()
            };
            let spec = Spec::new(F32, &[1, case.heads, case.dim]);
            let q = io.in_out(spec.clone(), &Random::new(5).normals(spec.elements()));
            let p = reflex_attention_decode_params {
                q,
                y: q,
                ..case.params(io)
            };
            Box::new(move |context, stream| reflex_attention_decode(context, &p, stream))
        });
    }
}

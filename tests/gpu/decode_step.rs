//! `reflex_attention_decode` with the operands of a whole decode step: norms, rotation and append before the attention.

use crate::decode_case::*;
use crate::support::*;
use reflex_infer::*;

impl Case {
    /// Against the CPU backend; and what lies in the cache afterwards against reflex_rope, bit for bit.
    fn add_step(self, suite: &mut Suite, name: &str) {
        let twin = self.clone();
        self.add(suite, name);
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
    for (type_name, kv) in KV_TYPES {
        let base = Case { kv, ..Case::step() };
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
                .add_step(suite, &name);
            }
        }
        for (dim, v_dim) in [(8, 8), (24, 40), (72, 72), (80, 128), (104, 8), (200, 256)] {
            let name = format!("{type_name}_dim_{dim}_{v_dim}");
            Case {
                dim,
                v_dim,
                ..base.clone()
            }
            .add_step(suite, &name);
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
                    .add_step(suite, &name);
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
            .add_step(suite, &name);
        }
        for length in [1, 2, 16, 17, 64, 65, 1000, 4095, 4096] {
            Case {
                capacity: 4096,
                heads: 32,
                kv_heads: 8,
                lengths: vec![length],
                ..base.clone()
            }
            .add_step(suite, &format!("{type_name}_length_{length}"));
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
            .add_step(suite, &format!("{type_name}_{what}"));
        }
        let capacity = base.capacity as i32;
        for (name, mode) in [("neox", REFLEX_ROPE_NEOX), ("interleaved", REFLEX_ROPE_INTERLEAVED)] {
            for (what, position) in [("first", i32::MIN), ("last", i32::MAX - 5000)] {
                Case {
                    mode,
                    position,
                    lengths: vec![700, 65],
                    ..base.clone()
                }
                .add_step(suite, &format!("{type_name}_{name}_{what}_position"));
            }
        }
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
                "act_i8",
                Case {
                    y: ACT_I8,
                    lengths: vec![65, 700],
                    ..base.clone()
                },
            ),
            (
                "act_i8_composed",
                Case {
                    y: ACT_I8,
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
            case.add_step(suite, &format!("{type_name}_{what}"));
        }
        replayed(suite, type_name, kv);
    }
    plain(suite);
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
            ..Case::step()
        };
        let (io, cpu_io) = (Io::new(&env), Io::new(&cpu));
        let (p, cpu_p) = (case.params(&io), case.params(&cpu_io));
        let graph = env.captured(|| reflex_attention_decode(env.context, &p, env.stream));
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
            case.expect_close(&got, &want, &format!("step {step}"));
        }
        reflex_graph_destroy(graph);
    });
}

/// What most decode steps have in common, for which there are kernels of their own.
fn plain(suite: &mut Suite) {
    for dim in [64, 128] {
        let base = Case {
            y: ACT_I8,
            heads: 32,
            kv_heads: 8,
            dim,
            v_dim: dim,
            ..Case::step()
        };
        let most = if dim == 64 { 8 } else { 6 };
        for group in 1..=most + 1 {
            let case = Case {
                heads: 2 * group,
                kv_heads: 2,
                lengths: vec![700, 3],
                ..base.clone()
            };
            let twin = case.clone();
            case.add_step(suite, &format!("plain_{dim}_group_{group}"));
            suite.test(
                format!("attention_decode::selects_f16_step_{dim}_group_{group}"),
                move |_| {
                    let env = Env::cuda().expect("a GPU");
                    let name = selected(
                        &env,
                        reflex_attention_decode_selected_kernel,
                        &twin.params(&Io::new(&env)),
                    );
                    let kind = if group <= most { "step" } else { "mma" };
                    assert_eq!(name, format!("reflex_attention_decode_f16_{kind}_{dim}"));
                },
            );
        }
        for capacity in [1, 64, 700, 4096, 20000] {
            let lengths = vec![0, 1, 16, 63, 64, 65, capacity, -3, capacity + 1, 640];
            let case = Case {
                capacity: capacity.into(),
                lengths,
                ..base.clone()
            };
            case.clone()
                .add_step(suite, &format!("plain_{dim}_capacity_{capacity}"));
            Case {
                lengths: vec![capacity],
                ..case
            }
            .add_step(suite, &format!("plain_{dim}_alone_{capacity}"));
        }
        for (what, position) in [("first", i32::MIN), ("last", i32::MAX - 5000)] {
            for factors in [false, true] {
                Case {
                    position,
                    factors,
                    lengths: vec![700, 65],
                    ..base.clone()
                }
                .add_step(suite, &format!("plain_{dim}_{what}_position_{factors}"));
            }
        }
        for (what, case) in [
            (
                "factors",
                Case {
                    factors: true,
                    norms: None,
                    ..base.clone()
                },
            ),
            (
                "rotary",
                Case {
                    rotary: 32,
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
                "no_lengths",
                Case {
                    no_lengths: true,
                    lengths: vec![700; 3],
                    ..base.clone()
                },
            ),
        ] {
            case.add_step(suite, &format!("plain_{dim}_{what}"));
        }
    }
}

fn q_in_place(suite: &mut Suite) {
    for capacity in [50, 700, 30000] {
        let case = Case {
            capacity,
            lengths: vec![capacity as i32],
            ..Case::step()
        };
        case.add_in_place(suite, &format!("in_place_capacity_{capacity}"));
    }
}

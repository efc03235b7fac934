use crate::support::*;
use reflex_infer::*;

pub const F32: reflex_dtype = REFLEX_DTYPE_F32;
pub const F16: reflex_dtype = REFLEX_DTYPE_F16;
pub const BF16: reflex_dtype = REFLEX_DTYPE_BF16;
pub const KV_TYPES: [(&str, reflex_dtype); 3] = [("f16", F16), ("bf16", BF16), ("f32", F32)];
/// Of K and of V.
pub const HEAD_SIZES: [(i64, i64); 9] = [
    (8, 8),
    (24, 40),
    (64, 128),
    (80, 80),
    (96, 96),
    (128, 64),
    (192, 128),
    (256, 256),
    (40, 256),
];

/// With normal q, k and v. Tensor cores take q and the softmax weights rounded to the cache's type (2^-11 or 2^-8 of
/// each, half of that on average): scores of size 1 move by some 2^-12 (2^-9), weights by as much again, and a sum of
/// weighted values below 4 by a few times that. The f32 kernels differ in the order of sums and in exp2. A rounding
/// to y's type either way comes on top.
pub fn tolerance(kv: reflex_dtype, y: reflex_dtype) -> Tolerance {
    let absolute = match kv {
        F16 => 2e-3,
        BF16 => 1.6e-2,
        _ => 1e-5,
    };
    let relative = match y {
        F16 => 1.0 / 1024.0,
        BF16 => 1.0 / 128.0,
        _ => 1e-5,
    };
    Tolerance::new(absolute, relative)
}

/// A cache whose rows from each sequence's length on are NaN: nobody may look there.
pub fn poisoned(values: &mut [f32], lengths: &[i32], capacity: i64) {
    let sequence = values.len() / lengths.len().max(1);
    for (values, &length) in values.chunks_mut(sequence.max(1)).zip(lengths) {
        let row = sequence / capacity.max(1) as usize;
        values[length.clamp(0, capacity as i32) as usize * row..].fill(f32::NAN);
    }
}

#[derive(Clone)]
struct Case {
    q: reflex_dtype,
    kv: reflex_dtype,
    y: reflex_dtype,
    batch: i64,
    tokens: i64,
    heads: i64,
    kv_heads: i64,
    capacity: i64,
    dim: i64,
    v_dim: i64,
    full: bool,
    scale: f32,
    /// Absent when empty.
    lengths: Vec<i32>,
    gap: i64,
    offset: usize,
}

impl Case {
    fn new() -> Case {
        Case {
            q: F32,
            kv: F16,
            y: F32,
            batch: 1,
            tokens: 33,
            heads: 8,
            kv_heads: 2,
            capacity: 90,
            dim: 64,
            v_dim: 64,
            full: false,
            scale: 0.0,
            lengths: vec![77],
            gap: 0,
            offset: 0,
        }
    }

    fn params(&self, io: &Io) -> reflex_attention_params {
        let mut random = Random::new((self.tokens * 7919 + self.dim * 31 + self.heads) as u64);
        let spec = |dtype, shape: [i64; 4]| Spec::new(dtype, &shape).row_gap(self.gap).offset(self.offset);
        let q = spec(self.q, [self.batch, self.tokens, self.heads, self.dim]);
        let k = spec(self.kv, [self.batch, self.capacity, self.kv_heads, self.dim]);
        let v = spec(self.kv, [self.batch, self.capacity, self.kv_heads, self.v_dim]);
        let [qs, mut ks, mut vs] = [&q, &k, &v].map(|spec| random.normals(spec.elements()));
        poisoned(&mut ks, &self.lengths, self.capacity);
        poisoned(&mut vs, &self.lengths, self.capacity);
        reflex_attention_params {
            struct_size: size_of::<reflex_attention_params>() as u32,
            mask: if self.full {
                REFLEX_ATTENTION_FULL
            } else {
                REFLEX_ATTENTION_CAUSAL
            },
            scale: self.scale,
            q: io.input(q, &qs),
            k: io.input(k, &ks),
            v: io.input(v, &vs),
            kv_lengths: if self.lengths.is_empty() {
                reflex_tensor::default()
            } else {
                io.ints(&self.lengths)
            },
            y: io.output(spec(self.y, [self.batch, self.tokens, self.heads, self.v_dim])),
            ..Default::default()
        }
    }

    fn add(self, suite: &mut Suite, name: &str) {
        suite.parity(format!("attention::{name}"), tolerance(self.kv, self.y), move |io| {
            let p = self.params(io);
            Box::new(move |context, stream| reflex_attention(context, &p, stream))
        });
    }
}

/// Every kernel, by what it is chosen for.
const KERNELS: [(reflex_dtype, i64, usize, &str); 10] = [
    (F16, 64, 0, "f16_mma_64"),
    (F16, 128, 0, "f16_mma_128"),
    (F16, 256, 0, "f16_mma_256"),
    (BF16, 64, 0, "bf16_mma_64"),
    (BF16, 128, 0, "bf16_mma_128"),
    (BF16, 256, 0, "bf16_mma_256"),
    (F32, 128, 0, "fma_aligned_128"),
    (F32, 256, 0, "fma_aligned_256"),
    (F16, 128, 1, "fma_128"),
    (BF16, 256, 1, "fma_256"),
];

pub fn tests(suite: &mut Suite) {
    for (kv, dim, offset, kernel) in KERNELS {
        let case = Case {
            kv,
            dim,
            v_dim: dim,
            offset,
            ..Case::new()
        };
        case.clone().add(suite, &format!("kernel_{kernel}"));
        suite.test(format!("attention::selects_{kernel}"), move |_| {
            let env = Env::cuda().expect("a GPU");
            let io = Io::new(&env);
            let name = selected(&env, reflex_attention_selected_kernel, &case.params(&io));
            let turing = env.device_info().sm < 80 && kv == BF16;
            assert!(turing || name == format!("reflex_attention_{kernel}"), "{name}");
        });
    }
    for (type_name, kv) in KV_TYPES {
        let base = Case { kv, ..Case::new() };
        for (dim, v_dim) in HEAD_SIZES {
            Case {
                dim,
                v_dim,
                ..base.clone()
            }
            .add(suite, &format!("{type_name}_dim_{dim}_{v_dim}"));
        }
        for (heads, kv_heads) in [(1, 1), (4, 4), (8, 2), (7, 1), (8, 1), (15, 5), (34, 2)] {
            Case {
                heads,
                kv_heads,
                ..base.clone()
            }
            .add(suite, &format!("{type_name}_heads_{heads}_{kv_heads}"));
        }
        for tokens in [1, 2, 7, 16, 31, 64, 65, 100, 129, 130] {
            let case = Case {
                tokens,
                capacity: 150,
                lengths: vec![141],
                heads: 3,
                kv_heads: 3,
                ..base.clone()
            };
            case.clone().add(suite, &format!("{type_name}_tokens_{tokens}"));
            Case {
                full: true,
                dim: 128,
                v_dim: 128,
                ..case
            }
            .add(suite, &format!("{type_name}_full_tokens_{tokens}"));
        }
        for full in [false, true] {
            // None, one, out of range, more queries than keys, all of the capacity.
            let case = Case {
                batch: 5,
                full,
                lengths: vec![0, 1, -9, 20, 90],
                ..base.clone()
            };
            case.add(suite, &format!("{type_name}_lengths_full_{full}"));
            let case = Case {
                batch: 3,
                full,
                lengths: vec![91, 64, i32::MAX],
                capacity: 90,
                ..base.clone()
            };
            case.add(suite, &format!("{type_name}_lengths_beyond_full_{full}"));
            let case = Case {
                batch: 2,
                full,
                lengths: vec![],
                ..base.clone()
            };
            case.add(suite, &format!("{type_name}_no_lengths_full_{full}"));
        }
        for (gap, offset) in [(8, 0), (1, 0), (0, 1), (3, 5), (2, 0)] {
            let case = Case {
                gap,
                offset,
                batch: 2,
                lengths: vec![90, 41],
                ..base.clone()
            };
            case.add(suite, &format!("{type_name}_gap_{gap}_offset_{offset}"));
        }
        for (q, y) in [(F16, F16), (BF16, BF16), (F16, F32), (F32, BF16)] {
            let case = Case {
                q,
                y,
                dim: 128,
                v_dim: 128,
                ..base.clone()
            };
            case.add(suite, &format!("{type_name}_types_{}_{}", q.0, y.0));
        }
        Case {
            scale: 0.02,
            ..base.clone()
        }
        .add(suite, &format!("{type_name}_scale"));
        Case {
            capacity: 1500,
            lengths: vec![1403],
            ..base.clone()
        }
        .add(suite, &format!("{type_name}_long"));
        for (name, change) in [
            (
                "capacity",
                Case {
                    capacity: 0,
                    lengths: vec![],
                    ..base.clone()
                },
            ),
            (
                "tokens",
                Case {
                    tokens: 0,
                    ..base.clone()
                },
            ),
            (
                "batch",
                Case {
                    batch: 0,
                    lengths: vec![],
                    ..base.clone()
                },
            ),
        ] {
            change.add(suite, &format!("{type_name}_zero_{name}"));
        }
        specials(suite, type_name, kv);
        layouts(suite, type_name, kv);
    }
    replayed_with_new_lengths(suite);
}

/// NaN and infinities in the cache reach the rows that see them, as on the CPU, and no other.
fn specials(suite: &mut Suite, type_name: &str, kv: reflex_dtype) {
    for (dim, full) in [(64, false), (128, false), (256, false), (128, true)] {
        let name = format!("attention::{type_name}_specials_dim_{dim}_full_{full}");
        suite.parity(name, tolerance(kv, F32), move |io| {
            let case = Case {
                kv,
                dim,
                v_dim: dim,
                full,
                ..Case::new()
            };
            let mut random = Random::new(77);
            let row = (case.kv_heads * dim) as usize;
            let [mut ks, mut vs] = [0, 1].map(|_| random.normals(case.capacity as usize * row));
            poisoned(&mut ks, &[77], case.capacity);
            poisoned(&mut vs, &[77], case.capacity);
            // 33 tokens: key 44 is the first one's own.
            for (key, column, value) in [
                (46, 3, f32::NAN),
                (50, 7, f32::INFINITY),
                (51, 8, f32::NEG_INFINITY),
                (76, 0, f32::NAN),
            ] {
                vs[key * row + column] = value;
            }
            // The second kv head.
            for (key, value) in [(60, f32::NAN), (70, f32::INFINITY)] {
                ks[key * row + dim as usize + 1] = value;
            }
            let cache = Spec::new(kv, &[1, case.capacity, case.kv_heads, dim]);
            let p = reflex_attention_params {
                k: io.input(cache.clone(), &ks),
                v: io.input(cache, &vs),
                ..case.params(io)
            };
            Box::new(move |context, stream| reflex_attention(context, &p, stream))
        });
    }
}

/// The cache as `[batch, kv_heads, capacity, dim]`; q, k and v in one merged buffer; y in place of q.
fn layouts(suite: &mut Suite, type_name: &str, kv: reflex_dtype) {
    suite.parity(
        format!("attention::{type_name}_heads_first"),
        tolerance(kv, F32),
        move |io| {
            let case = Case {
                kv,
                batch: 2,
                lengths: vec![80, 33],
                ..Case::new()
            };
            let (size, cap, g, d) = (
                i64::from(reflex_dtype_block_bytes(kv)),
                case.capacity,
                case.kv_heads,
                case.dim,
            );
            let cache = Spec::new(kv, &[2, cap, g, d]).strides(&[g * cap * d * size, d * size, cap * d * size, size]);
            let mut random = Random::new(3);
            let [mut ks, mut vs] = [0, 1].map(|_| random.normals(cache.elements()));
            poisoned(&mut ks, &case.lengths, cap);
            poisoned(&mut vs, &case.lengths, cap);
            let p = reflex_attention_params {
                k: io.input(cache.clone(), &ks),
                v: io.input(cache, &vs),
                ..case.params(io)
            };
            Box::new(move |context, stream| reflex_attention(context, &p, stream))
        },
    );

    suite.parity(
        format!("attention::{type_name}_merged_buffer"),
        tolerance(kv, kv),
        move |io| {
            let (tokens, h, g, d) = (70, 6, 2, 64);
            let size = i64::from(reflex_dtype_block_bytes(kv));
            let width = (h + 2 * g) * d;
            let values = Random::new(4).normals((tokens * width) as usize);
            let merged = io.input(Spec::new(kv, &[tokens, width]), &values);
            let part = |first: i64, heads: i64| reflex_tensor {
                data: merged.data.wrapping_byte_add((first * d * size) as usize),
                rank: 4,
                shape: [1, tokens, heads, d],
                stride: [tokens * width * size, width * size, d * size, size],
                ..merged
            };
            let p = reflex_attention_params {
                struct_size: size_of::<reflex_attention_params>() as u32,
                q: part(0, h),
                k: part(h, g),
                v: part(h + g, g),
                y: io.output(Spec::new(kv, &[1, tokens, h, d])),
                ..Default::default()
            };
            Box::new(move |context, stream| reflex_attention(context, &p, stream))
        },
    );

    suite.parity(
        format!("attention::{type_name}_in_place"),
        tolerance(kv, F32),
        move |io| {
            let case = Case { kv, ..Case::new() };
            let spec = Spec::new(F32, &[1, case.tokens, case.heads, case.dim]);
            let q = io.in_out(spec.clone(), &Random::new(5).normals(spec.elements()));
            let p = reflex_attention_params {
                q,
                y: q,
                ..case.params(io)
            };
            Box::new(move |context, stream| reflex_attention(context, &p, stream))
        },
    );
}

/// A graph captured once follows the lengths in device memory, and gives the bits of a fresh launch.
fn replayed_with_new_lengths(suite: &mut Suite) {
    suite.test("attention::replayed_with_new_lengths", |_| {
        let env = Env::cuda().expect("a GPU");
        let case = Case {
            batch: 2,
            lengths: vec![90, 90],
            ..Case::new()
        };
        let io = Io::new(&env);
        let p = case.params(&io);
        let graph = env.captured(|| reflex_attention(env.context, &p, env.stream));
        let mut seen = Vec::new();
        for lengths in [[1, 90], [64, 0], [90, 33], [-4, 1000]] {
            env.upload(p.kv_lengths.data, &encode_ints(&lengths));
            let mut outputs = [0, 1].map(|_| vec![0; (2 * 33 * 8 * 64 * 4) as usize]);
            ok(reflex_graph_launch(env.context, graph, env.stream));
            env.download(p.y.data, &mut outputs[0]);
            ok(reflex_attention(env.context, &p, env.stream));
            env.download(p.y.data, &mut outputs[1]);
            assert!(outputs[0] == outputs[1], "lengths {lengths:?}");
            assert!(!seen.contains(&outputs[0]), "lengths {lengths:?} changed nothing");
            let [replayed, _] = outputs;
            seen.push(replayed);
        }
        reflex_graph_destroy(graph);
    });
}

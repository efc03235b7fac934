//! Memory that operands share: of every op, every output against every other operand, itself and the workspace.

use crate::support::*;
use reflex_infer::*;
use std::ffi::c_void;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const I32: reflex_dtype = REFLEX_DTYPE_I32;
const ACT_I8: reflex_dtype = REFLEX_DTYPE_ACT_I8;
const Q4_K: reflex_dtype = REFLEX_DTYPE_Q4_K;

/// An operand of an op.
struct Field<P> {
    name: &'static str,
    of: fn(&mut P) -> &mut reflex_tensor,
    written: bool,
    /// Inputs that it may be itself.
    in_place: &'static [&'static str],
}

macro_rules! reads {
    ($p:ident: $params:ty; $($name:literal: $field:expr),* $(,)?) => {
        vec![$(Field { name: $name, of: |$p: &mut $params| &mut $field, written: false, in_place: &[] }),*]
    };
}

impl<P> Field<P> {
    fn output(name: &'static str, of: fn(&mut P) -> &mut reflex_tensor, in_place: &'static [&'static str]) -> Field<P> {
        Field {
            name,
            of,
            written: true,
            in_place,
        }
    }
}

type Call<P> = extern "C" fn(*const reflex_context, *const P, reflex_stream) -> reflex_status;
type Supported<P> = extern "C" fn(*const reflex_context, *const P) -> reflex_status;

/// An op, its operands, and a call with all of them apart: of so many rows.
struct Op<P> {
    name: &'static str,
    call: Call<P>,
    supported: Supported<P>,
    fields: Vec<Field<P>>,
    make: fn(&mut Places, i64) -> P,
    workspace: Option<fn(&mut P) -> (&mut *mut c_void, &mut usize)>,
}

/// Memory for operands, each in a place of its own.
struct Places {
    memory: *mut c_void,
    next: usize,
}

const PLACE: usize = 1 << 14;

impl Places {
    fn at(&mut self, dtype: reflex_dtype, shape: &[i64]) -> reflex_tensor {
        self.next += 1;
        let mut tensor = reflex_tensor {
            data: self.memory.wrapping_byte_add((self.next - 1) * PLACE),
            dtype,
            rank: shape.len() as u32,
            shape: [0; 4],
            stride: [0; 4],
        };
        tensor.shape[..shape.len()].copy_from_slice(shape);
        let mut step = i64::from(reflex_dtype_block_bytes(dtype));
        for i in (0..shape.len()).rev() {
            tensor.stride[i] = step;
            let last = i + 1 == shape.len();
            step *= shape[i]
                / if last {
                    i64::from(reflex_dtype_block_elements(dtype))
                } else {
                    1
                };
        }
        tensor
    }

    fn f32(&mut self, shape: &[i64]) -> reflex_tensor {
        self.at(F32, shape)
    }

    fn i32(&mut self, count: i64) -> reflex_tensor {
        self.at(I32, &[count])
    }
}

impl<P: Copy> Op<P> {
    fn check(&self, env: &Env) {
        let memory = env.malloc(24 * PLACE);
        let make = |rows| (self.make)(&mut Places { memory, next: 0 }, rows);
        self.taken(env, &make(8), "apart");
        for output in self.fields.iter().filter(|f| f.written) {
            for other in self.fields.iter().filter(|f| f.name != output.name) {
                self.against(env, &make(8), output, other);
            }
            self.against_itself(env, &make(8), output);
        }
        for field in &self.fields {
            self.against_workspace(env, &make(8), field);
            // Nothing is no overlap, whatever its strides.
            for strides in [[7, 3, 1, 5], [-4, -4, -4, -4], [i64::MAX; 4], [0, 0, 0, 4]] {
                let mut p = make(0);
                let tensor = (field.of)(&mut p);
                if tensor.shape[..tensor.rank as usize].contains(&0) {
                    tensor.stride = strides;
                    self.taken(env, &p, &format!("empty {} with strides {strides:?}", field.name));
                }
            }
        }
        ok(reflex_device_free(env.context, memory));
    }

    #[track_caller]
    fn taken(&self, env: &Env, p: &P, what: &str) {
        for status in [
            (self.supported)(env.context, p),
            (self.call)(env.context, p, env.stream),
        ] {
            assert_eq!(
                status_name(status),
                "REFLEX_SUCCESS",
                "{}, {what}: {}",
                self.name,
                last_error()
            );
        }
    }

    #[track_caller]
    fn refused(&self, env: &Env, p: &P, what: &str, words: &[&str]) {
        for status in [
            (self.supported)(env.context, p),
            (self.call)(env.context, p, env.stream),
        ] {
            let message = last_error();
            assert_eq!(
                status_name(status),
                "REFLEX_INVALID_ARGUMENT",
                "{}, {what}: {message}",
                self.name
            );
            assert!(message.starts_with(&format!("{}: ", self.name)), "{what}: {message}");
            assert!(
                words.iter().all(|word| message.contains(word)),
                "{what}: `{message}` lacks one of {words:?}"
            );
        }
    }

    fn against(&self, env: &Env, p: &P, output: &Field<P>, other: &Field<P>) {
        let (a, b) = (output.name, other.name);
        let mut p = *p;
        let (mine, theirs) = (*(output.of)(&mut p), *(other.of)(&mut p));
        // Whichever of two outputs the message begins with.
        let words = |p: &P, what: &str| {
            self.refused(
                env,
                p,
                &format!("{a} and {b}, {what}"),
                &["overlaps", a, b, "memory of its own"],
            );
        };
        let with = |tensor: reflex_tensor| {
            let mut p = p;
            *(output.of)(&mut p) = tensor;
            p
        };
        let moved = |tensor: reflex_tensor, bytes: usize| reflex_tensor {
            data: theirs.data.wrapping_byte_add(bytes),
            ..tensor
        };
        words(&with(moved(mine, 16)), "within");
        let alike = (mine.dtype, mine.rank, mine.shape) == (theirs.dtype, theirs.rank, theirs.shape);
        let may = output.in_place.contains(&b);
        if !alike || !may {
            words(&with(moved(mine, 0)), "at the same address");
        }
        if !alike || mine.rank < 2 {
            return;
        }
        if may {
            self.taken(env, &with(theirs), &format!("{a} is {b}"));
            // A stride over one row says nothing: here there are eight.
            let mut wider = theirs;
            wider.stride[0] += 64;
            words(&with(wider), "with other strides");
        }
        words(&with(moved(theirs, theirs.stride[0] as usize)), "a row below");
        // Rows of one between those of the other, and a few bytes into them.
        let row = theirs.stride[0];
        if reflex_dtype_block_elements(theirs.dtype) == 1 {
            let mut apart = p;
            (other.of)(&mut apart).stride[0] = 2 * row;
            let mut between = moved(theirs, row as usize);
            between.stride[0] = 2 * row;
            *(output.of)(&mut apart) = between;
            self.taken(env, &apart, &format!("{a} between the rows of {b}"));
            (output.of)(&mut apart).data = between.data.wrapping_byte_sub(16);
            words(&apart, "16 bytes into the rows between");
        }
        // The same address, and another type of the same size.
        if may && theirs.dtype == F32 {
            let half = reflex_tensor {
                dtype: REFLEX_DTYPE_F16,
                ..theirs
            };
            let mut narrow = half;
            narrow.stride[mine.rank as usize - 1] = 2;
            words(&with(narrow), "of another type");
        }
    }

    fn against_itself(&self, env: &Env, p: &P, output: &Field<P>) {
        let mut p = *p;
        let tensor = (output.of)(&mut p);
        let row = tensor.stride[0];
        if tensor.rank < 2 || tensor.dtype.0 & REFLEX_DTYPE_PACKED.0 != 0 {
            return;
        }
        let words = ["does not overlap itself", output.name];
        tensor.stride[0] = 0;
        self.refused(env, &p, "one row", &words);
        (output.of)(&mut p).stride[0] = row / 32 * 16;
        self.refused(env, &p, "rows that overlap", &words);
    }

    fn against_workspace(&self, env: &Env, p: &P, field: &Field<P>) {
        let Some(workspace) = self.workspace else { return };
        let mut p = *p;
        let data = (field.of)(&mut p).data;
        (*workspace(&mut p).0, *workspace(&mut p).1) = (data.wrapping_byte_sub(256), 256);
        let status = (self.call)(env.context, &p, env.stream);
        assert_eq!(status_name(status), "REFLEX_SUCCESS", "{}: {}", self.name, last_error());
        *workspace(&mut p).1 = 257;
        // It is not looked at before there is one.
        ok((self.supported)(env.context, &p));
        let status = (self.call)(env.context, &p, env.stream);
        let message = last_error();
        assert_eq!(
            status_name(status),
            "REFLEX_INVALID_ARGUMENT",
            "{} {}",
            self.name,
            field.name
        );
        let begins = format!("{}: workspace 0x", self.name);
        assert!(
            message.starts_with(&begins) && message.contains(&format!("overlaps {}", field.name)),
            "{message}"
        );
    }
}

macro_rules! sized {
    ($params:ident { $($rest:tt)* }) => {
        $params { struct_size: size_of::<$params>() as u32, $($rest)* ..Default::default() }
    };
}

macro_rules! workspace {
    () => {
        Some(|p| (&mut p.workspace, &mut p.workspace_size))
    };
}

fn both<P>(mut reads: Vec<Field<P>>, writes: Vec<Field<P>>) -> Vec<Field<P>> {
    reads.extend(writes);
    reads
}

#[test]
fn norm_shares_no_memory() {
    let op = Op {
        name: "norm",
        call: reflex_norm,
        supported: reflex_norm_supported,
        fields: both(
            reads!(p: reflex_norm_params; "x": p.x, "residual": p.residual, "weight": p.weight),
            vec![
                Field::output("residual_out", |p| &mut p.residual_out, &["x", "residual"]),
                Field::output("y", |p| &mut p.y, &["x", "residual"]),
            ],
        ),
        make: |at, rows| {
            let shape = [rows, 32];
            sized!(reflex_norm_params {
                x: at.f32(&shape),
                residual: at.f32(&shape),
                weight: at.f32(&[32]),
                residual_out: at.f32(&shape),
                y: at.f32(&shape),
            })
        },
        workspace: None,
    };
    op.check(&Env::cpu());
    let quantised = Op {
        fields: vec![
            Field {
                name: "x",
                of: |p: &mut reflex_norm_params| &mut p.x,
                written: false,
                in_place: &[],
            },
            Field::output("y", |p| &mut p.y, &[]),
        ],
        make: |at, rows| {
            sized!(reflex_norm_params {
                x: at.f32(&[rows, 64]),
                y: at.at(ACT_I8, &[rows, 64]),
            })
        },
        ..op
    };
    quantised.check(&Env::cpu());
}

#[test]
fn activation_shares_no_memory() {
    let op = Op {
        name: "activation",
        call: reflex_activation,
        supported: reflex_activation_supported,
        fields: both(
            reads!(p: reflex_activation_params; "gate": p.gate, "up": p.up),
            vec![Field::output(
                "y",
                |p: &mut reflex_activation_params| &mut p.y,
                &["gate", "up"],
            )],
        ),
        make: |at, rows| {
            let shape = [rows, 2, 32];
            sized!(reflex_activation_params {
                gate: at.f32(&shape),
                up: at.f32(&shape),
                y: at.f32(&shape),
            })
        },
        workspace: None,
    };
    op.check(&Env::cpu());
}

#[test]
fn add_shares_no_memory() {
    let op = Op {
        name: "add",
        call: reflex_add,
        supported: reflex_add_supported,
        fields: both(
            reads!(p: reflex_add_params; "a": p.a, "b": p.b),
            vec![Field::output("y", |p: &mut reflex_add_params| &mut p.y, &["a", "b"])],
        ),
        make: |at, rows| {
            let shape = [rows, 32];
            sized!(reflex_add_params {
                a: at.f32(&shape),
                b: at.f32(&shape),
                y: at.f32(&shape),
            })
        },
        workspace: None,
    };
    op.check(&Env::cpu());
    // A row for all the others is none of them.
    let row = Op {
        fields: vec![
            Field {
                name: "b",
                of: |p: &mut reflex_add_params| &mut p.b,
                written: false,
                in_place: &[],
            },
            Field::output("y", |p| &mut p.y, &[]),
        ],
        make: |at, rows| {
            sized!(reflex_add_params {
                a: at.f32(&[rows, 32]),
                b: at.f32(&[32]),
                y: at.f32(&[rows, 32]),
            })
        },
        ..op
    };
    row.check(&Env::cpu());
}

#[test]
fn quantize_shares_no_memory() {
    let op = Op {
        name: "quantize",
        call: reflex_quantize,
        supported: reflex_quantize_supported,
        fields: both(
            reads!(p: reflex_quantize_params; "x": p.x),
            vec![Field::output("y", |p: &mut reflex_quantize_params| &mut p.y, &[])],
        ),
        make: |at, rows| {
            sized!(reflex_quantize_params {
                x: at.f32(&[rows, 64]),
                y: at.at(ACT_I8, &[rows, 64]),
            })
        },
        workspace: None,
    };
    op.check(&Env::cpu());
}

#[test]
fn embedding_shares_no_memory() {
    let op = Op {
        name: "embedding",
        call: reflex_embedding,
        supported: reflex_embedding_supported,
        fields: both(
            reads!(p: reflex_embedding_params; "table": p.table, "ids": p.ids),
            vec![Field::output("y", |p: &mut reflex_embedding_params| &mut p.y, &[])],
        ),
        make: |at, rows| {
            sized!(reflex_embedding_params {
                table: at.at(Q4_K, &[8, 256]),
                ids: at.i32(rows),
                y: at.f32(&[rows, 256]),
            })
        },
        workspace: None,
    };
    op.check(&Env::cpu());
}

#[test]
fn rope_shares_no_memory() {
    let op = Op {
        name: "rope",
        call: reflex_rope,
        supported: reflex_rope_supported,
        fields: both(
            reads!(
                p: reflex_rope_params; "q": p.q, "k": p.k, "v": p.v, "positions": p.positions, "slots": p.slots, "freq_factors": p.freq_factors,
                "q_norm": p.q_norm, "k_norm": p.k_norm,
            ),
            vec![
                Field::output("q_out", |p: &mut reflex_rope_params| &mut p.q_out, &["q"]),
                Field::output("k_out", |p| &mut p.k_out, &["k"]),
                Field::output("k_cache", |p| &mut p.k_cache, &[]),
                Field::output("v_cache", |p| &mut p.v_cache, &[]),
            ],
        ),
        make: |at, rows| {
            let heads = [rows, 2, 32];
            sized!(reflex_rope_params {
                q: at.f32(&heads),
                k: at.f32(&heads),
                v: at.f32(&heads),
                positions: at.i32(rows),
                slots: at.i32(rows),
                freq_factors: at.f32(&[16]),
                q_norm: at.f32(&[32]),
                k_norm: at.f32(&[32]),
                q_out: at.f32(&heads),
                k_out: at.f32(&heads),
                k_cache: at.f32(&heads),
                v_cache: at.f32(&heads),
            })
        },
        workspace: None,
    };
    op.check(&Env::cpu());
    // Without outputs of their own q and k are those.
    let in_place = Op {
        fields: both(
            reads!(p: reflex_rope_params; "v": p.v, "positions": p.positions, "freq_factors": p.freq_factors, "q_norm": p.q_norm),
            vec![
                Field::output("q", |p: &mut reflex_rope_params| &mut p.q, &[]),
                Field::output("k", |p| &mut p.k, &[]),
                Field::output("v_cache", |p| &mut p.v_cache, &[]),
            ],
        ),
        make: |at, rows| {
            let heads = [rows, 2, 32];
            sized!(reflex_rope_params {
                q: at.f32(&heads),
                k: at.f32(&heads),
                v: at.f32(&heads),
                positions: at.i32(rows),
                freq_factors: at.f32(&[16]),
                q_norm: at.f32(&[32]),
                v_cache: at.f32(&heads),
            })
        },
        ..op
    };
    in_place.check(&Env::cpu());
}

#[test]
fn attention_shares_no_memory() {
    let op = Op {
        name: "attention",
        call: reflex_attention,
        supported: reflex_attention_supported,
        fields: both(
            reads!(p: reflex_attention_params; "q": p.q, "k": p.k, "v": p.v, "kv_lengths": p.kv_lengths),
            vec![Field::output("y", |p: &mut reflex_attention_params| &mut p.y, &["q"])],
        ),
        make: |at, rows| {
            let shape = [rows, 1, 2, 32];
            sized!(reflex_attention_params {
                q: at.f32(&shape),
                k: at.f32(&shape),
                v: at.f32(&shape),
                kv_lengths: at.i32(rows),
                y: at.f32(&shape),
            })
        },
        workspace: None,
    };
    op.check(&Env::cpu());
}

#[test]
fn attention_decode_shares_no_memory() {
    let op = Op {
        name: "attention_decode",
        call: reflex_attention_decode,
        supported: reflex_attention_decode_supported,
        fields: both(
            reads!(p: reflex_attention_decode_params; "q": p.q, "k": p.k, "v": p.v, "kv_lengths": p.kv_lengths),
            vec![Field::output(
                "y",
                |p: &mut reflex_attention_decode_params| &mut p.y,
                &["q"],
            )],
        ),
        make: |at, rows| {
            let (heads, cache) = ([rows, 2, 32], [rows, 2, 2, 32]);
            sized!(reflex_attention_decode_params {
                q: at.f32(&heads),
                k: at.f32(&cache),
                v: at.f32(&cache),
                kv_lengths: at.i32(rows),
                y: at.f32(&heads),
            })
        },
        workspace: workspace!(),
    };
    op.check(&Env::cpu());
    // With a new token the caches are written.
    let step = Op {
        fields: both(
            reads!(
                p: reflex_attention_decode_params; "q": p.q, "kv_lengths": p.kv_lengths, "k_new": p.k_new, "v_new": p.v_new, "positions": p.positions,
                "freq_factors": p.freq_factors, "q_norm": p.q_norm, "k_norm": p.k_norm,
            ),
            vec![
                Field::output("k", |p: &mut reflex_attention_decode_params| &mut p.k, &[]),
                Field::output("v", |p| &mut p.v, &[]),
                Field::output("y", |p| &mut p.y, &["q"]),
            ],
        ),
        make: |at, rows| {
            let (heads, cache) = ([rows, 2, 32], [rows, 2, 2, 32]);
            sized!(reflex_attention_decode_params {
                q: at.f32(&heads),
                kv_lengths: at.i32(rows),
                k_new: at.f32(&heads),
                v_new: at.f32(&heads),
                positions: at.i32(rows),
                freq_factors: at.f32(&[16]),
                q_norm: at.f32(&[32]),
                k_norm: at.f32(&[32]),
                k: at.f32(&cache),
                v: at.f32(&cache),
                y: at.f32(&heads),
            })
        },
        ..op
    };
    step.check(&Env::cpu());
}

#[test]
fn matmul_shares_no_memory() {
    let three = Op {
        name: "matmul",
        call: reflex_matmul,
        supported: reflex_matmul_supported,
        fields: both(
            reads!(
                p: reflex_matmul_params; "x": p.x, "weight": p.weight, "bias": p.bias, "residual": p.residual, "norm": p.norm,
                "others[0].weight": p.others[0].weight, "others[0].bias": p.others[0].bias,
                "others[0].residual": p.others[0].residual, "others[1].weight": p.others[1].weight,
                "others[1].bias": p.others[1].bias, "others[1].residual": p.others[1].residual,
            ),
            vec![
                Field::output("y", |p: &mut reflex_matmul_params| &mut p.y, &["residual"]),
                Field::output("others[0].y", |p| &mut p.others[0].y, &["others[0].residual"]),
                Field::output("others[1].y", |p| &mut p.others[1].y, &["others[1].residual"]),
            ],
        ),
        make: |at, rows| {
            let mut product = |weight| reflex_matmul_product {
                weight: at.at(weight, &[32, 256]),
                bias: at.f32(&[32]),
                residual: at.f32(&[rows, 32]),
                y: at.f32(&[rows, 32]),
            };
            let (first, others) = (
                product(Q4_K),
                [Q4_K, reflex_dtype(Q4_K.0 | REFLEX_DTYPE_PACKED.0)].map(&mut product),
            );
            sized!(reflex_matmul_params {
                x: at.f32(&[rows, 256]),
                weight: first.weight,
                bias: first.bias,
                residual: first.residual,
                y: first.y,
                others: others,
                norm: at.f32(&[256]),
            })
        },
        workspace: workspace!(),
    };
    three.check(&Env::cpu());
    let gated = Op {
        fields: both(
            reads!(
                p: reflex_matmul_params; "x": p.x, "weight": p.weight, "bias": p.bias, "residual": p.residual, "x_squares": p.x_squares,
                "others[0].weight": p.others[0].weight, "others[0].bias": p.others[0].bias, "y_norm": p.y_norm,
            ),
            vec![
                Field::output("y", |p: &mut reflex_matmul_params| &mut p.y, &["residual"]),
                Field::output("y_normed", |p| &mut p.y_normed, &[]),
                Field::output("y_squares", |p| &mut p.y_squares, &[]),
            ],
        ),
        make: |at, rows| {
            sized!(reflex_matmul_params {
                flags: REFLEX_MATMUL_GATED,
                x: at.at(ACT_I8, &[rows, 256]),
                weight: at.at(Q4_K, &[64, 256]),
                bias: at.f32(&[64]),
                residual: at.f32(&[rows, 64]),
                y: at.f32(&[rows, 64]),
                others: [
                    reflex_matmul_product {
                        weight: at.at(Q4_K, &[64, 256]),
                        bias: at.f32(&[64]),
                        ..Default::default()
                    },
                    reflex_matmul_product::default(),
                ],
                x_squares: at.f32(&[rows, 8]),
                y_norm: at.f32(&[64]),
                y_normed: at.at(ACT_I8, &[rows, 64]),
                y_squares: at.f32(&[rows, 2]),
            })
        },
        ..three
    };
    gated.check(&Env::cpu());
}

#[test]
fn argmax_shares_no_memory() {
    let op = Op {
        name: "argmax",
        call: reflex_argmax,
        supported: reflex_argmax_supported,
        fields: both(
            reads!(p: reflex_argmax_params; "x": p.x),
            vec![
                Field::output("ids", |p: &mut reflex_argmax_params| &mut p.ids, &[]),
                Field::output("counters", |p| &mut p.counters, &[]),
            ],
        ),
        make: |at, rows| {
            sized!(reflex_argmax_params {
                x: at.f32(&[rows, 32]),
                ids: at.i32(rows),
                counters: at.i32(16),
            })
        },
        workspace: workspace!(),
    };
    op.check(&Env::cpu());
}

#[test]
fn sample_shares_no_memory() {
    let op = Op {
        name: "sample",
        call: reflex_sample,
        supported: reflex_sample_supported,
        fields: both(
            reads!(p: reflex_sample_params; "logits": p.logits, "steps": p.steps),
            vec![
                Field::output("ids", |p: &mut reflex_sample_params| &mut p.ids, &[]),
                Field::output("counters", |p| &mut p.counters, &["steps"]),
            ],
        ),
        make: |at, rows| {
            sized!(reflex_sample_params {
                logits: at.f32(&[rows, 32]),
                steps: at.i32(rows),
                ids: at.i32(rows),
                counters: at.i32(rows),
            })
        },
        workspace: workspace!(),
    };
    op.check(&Env::cpu());
    let env = Env::cpu();
    let memory = env.malloc(8 * PLACE);
    let make = |counters: i64, shift: usize| {
        let mut p = (op.make)(&mut Places { memory, next: 0 }, 8);
        p.counters.shape[0] = counters;
        p.counters.data = p.steps.data.wrapping_byte_add(shift);
        p
    };
    // They may begin with the steps, and have more or none behind them.
    op.taken(&env, &make(8, 0), "counters are steps");
    op.taken(&env, &make(16, 0), "counters begin with steps");
    for (counters, shift) in [(7, 0), (8, 4)] {
        op.refused(
            &env,
            &make(counters, shift),
            "another part",
            &[
                "counters.data",
                "overlaps steps",
                "expected to begin with steps (in place) or memory of its own",
            ],
        );
    }
    ok(reflex_device_free(env.context, memory));
}

#[test]
fn packing_shares_no_memory() {
    const PACKED: reflex_dtype = reflex_dtype(Q4_K.0 | REFLEX_DTYPE_PACKED.0);
    let pack = Op {
        name: "weights_pack",
        call: reflex_weights_pack,
        supported: reflex_weights_pack_supported,
        fields: both(
            reads!(p: reflex_weights_pack_params; "source": p.source),
            vec![Field::output(
                "destination",
                |p: &mut reflex_weights_pack_params| &mut p.destination,
                &["source"],
            )],
        ),
        make: |at, rows| {
            sized!(reflex_weights_pack_params {
                source: at.at(Q4_K, &[4 * rows, 256]),
                destination: at.at(PACKED, &[4 * rows, 256]),
            })
        },
        workspace: workspace!(),
    };
    let unpack = Op {
        name: "weights_unpack",
        call: reflex_weights_unpack,
        supported: reflex_weights_unpack_supported,
        fields: both(
            reads!(p: reflex_weights_unpack_params; "source": p.source),
            vec![Field::output(
                "destination",
                |p: &mut reflex_weights_unpack_params| &mut p.destination,
                &["source"],
            )],
        ),
        make: |at, rows| {
            sized!(reflex_weights_unpack_params {
                source: at.at(PACKED, &[4 * rows, 256]),
                destination: at.at(Q4_K, &[4 * rows, 256]),
            })
        },
        workspace: workspace!(),
    };
    let env = Env::cpu();
    let memory = env.malloc(4 * PLACE);
    fn places(memory: *mut c_void) -> Places {
        Places { memory, next: 0 }
    }
    // In place where the native side is dense, and nowhere else.
    let words = [
        "destination.data",
        "overlaps source",
        "expected the address and dense rows of source",
    ];
    let mut p = (pack.make)(&mut places(memory), 8);
    pack.taken(&env, &p, "apart");
    p.destination.data = p.source.data;
    pack.taken(&env, &p, "in place");
    p.source.stride[0] += 144;
    pack.refused(&env, &p, "rows with gaps", &words);
    p.source.stride[0] -= 144;
    p.destination.data = p.source.data.wrapping_byte_add(144);
    pack.refused(&env, &p, "a row below", &words);
    for field in &pack.fields {
        pack.against_workspace(&env, &(pack.make)(&mut places(memory), 8), field);
    }
    let mut p = (unpack.make)(&mut places(memory), 8);
    unpack.taken(&env, &p, "apart");
    p.destination.data = p.source.data;
    unpack.taken(&env, &p, "in place");
    p.destination.stride[0] += 144;
    unpack.refused(&env, &p, "rows with gaps", &words);
    let mut p = (unpack.make)(&mut places(memory), 8);
    unpack.against_itself(&env, &p, &unpack.fields[1]);
    p.destination.data = p.source.data.wrapping_byte_sub(144);
    unpack.refused(&env, &p, "a row above", &words);
    for field in &unpack.fields {
        unpack.against_workspace(&env, &(unpack.make)(&mut places(memory), 8), field);
    }
    ok(reflex_device_free(env.context, memory));
}

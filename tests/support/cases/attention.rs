//! `cases/attention.txt`, and what reflex_attention_decode's problems share with it.

use super::*;
use crate::support::*;
use std::cell::LazyCell;

/// A cache whose rows from each sequence's length on are NaN: nobody may look there.
fn poisoned(values: &mut [f32], lengths: &[i32], capacity: i64) {
    let sequence = values.len() / lengths.len().max(1);
    for (values, &length) in values.chunks_mut(sequence.max(1)).zip(lengths) {
        let row = sequence / capacity.max(1) as usize;
        values[length.clamp(0, capacity as i32) as usize * row..].fill(f32::NAN);
    }
}

/// How the cache lies in memory.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Layout {
    Plain,
    /// `[batch, kv_heads, capacity, dim]`.
    HeadsFirst,
    /// q, k and v are parts of one buffer.
    Merged,
    /// Rows of q and y are apart, heads are not.
    StridedQ,
}

pub const LAYOUTS: &[(&str, Layout)] = &[
    ("plain", Layout::Plain),
    ("heads_first", Layout::HeadsFirst),
    ("merged", Layout::Merged),
    ("strided_q", Layout::StridedQ),
];

#[derive(Clone, Debug)]
pub struct Case {
    pub q: reflex_dtype,
    pub kv: reflex_dtype,
    pub y: reflex_dtype,
    pub batch: i64,
    pub tokens: i64,
    pub heads: i64,
    pub kv_heads: i64,
    pub capacity: i64,
    pub dim: i64,
    pub v_dim: i64,
    pub full: bool,
    pub scale: f32,
    /// Absent when empty.
    pub lengths: Vec<i32>,
    pub gap: i64,
    pub offset: usize,
    pub special: bool,
    pub layout: Layout,
    pub in_place: bool,
    pub kernel: String,
    pub since: u32,
}

impl Case {
    pub fn read(d: &Descriptor) -> Case {
        let dim = d.number("dim");
        Case {
            q: d.dtype("q"),
            kv: d.dtype("kv"),
            y: d.dtype("y"),
            batch: d.number("batch"),
            tokens: d.number("tokens"),
            heads: d.number("heads"),
            kv_heads: d.number("kv_heads"),
            capacity: d.number("capacity"),
            dim,
            v_dim: d.number_or("v_dim", "dim", dim),
            full: d.one_of("mask", &[("causal", false), ("full", true)]),
            scale: d.number("scale"),
            lengths: d.list("lengths"),
            gap: d.number("gap"),
            offset: d.number("offset"),
            special: d.one_of("values", &[("normal", false), ("special", true)]),
            layout: d.one_of("layout", LAYOUTS),
            in_place: d.flag("in_place"),
            kernel: d.text("kernel").to_string(),
            since: d.number("since"),
        }
    }

    fn spec(&self, dtype: reflex_dtype, shape: [i64; 4]) -> Spec {
        Spec::new(dtype, &shape).row_gap(self.gap).offset(self.offset)
    }

    /// Of q, k and v.
    fn specs(&self) -> [Spec; 3] {
        let q = self.spec(self.q, [self.batch, self.tokens, self.heads, self.dim]);
        let cache = |dim: i64| {
            let spec = self.spec(self.kv, [self.batch, self.capacity, self.kv_heads, dim]);
            match self.layout {
                Layout::HeadsFirst => heads_first(spec),
                _ => spec,
            }
        };
        [q, cache(self.dim), cache(self.v_dim)]
    }

    /// Values of q, k and v.
    pub fn contents(&self) -> [Vec<f32>; 3] {
        let mut random = Random::new((self.tokens * 7919 + self.dim * 31 + self.heads) as u64);
        let [q, mut k, mut v] = self.specs().map(|spec| random.normals(spec.elements()));
        poisoned(&mut k, &self.lengths, self.capacity);
        poisoned(&mut v, &self.lengths, self.capacity);
        if self.special {
            self.specials(&mut k, &mut v);
        }
        [q, k, v]
    }

    pub fn params(&self, io: &Io) -> reflex_attention_params {
        if self.layout == Layout::Merged {
            return self.merged(io);
        }
        let [q, k, v] = self.specs();
        let contents = LazyCell::new(|| self.contents());
        let y = self.spec(self.y, [self.batch, self.tokens, self.heads, self.v_dim]);
        let q = if self.in_place {
            io.in_out_of(q, || contents[0].clone())
        } else {
            io.input_of(q, || contents[0].clone())
        };
        reflex_attention_params {
            q,
            k: io.input_of(k, || contents[1].clone()),
            v: io.input_of(v, || contents[2].clone()),
            kv_lengths: if self.lengths.is_empty() {
                reflex_tensor::default()
            } else {
                io.ints(&self.lengths)
            },
            y: if self.in_place { q } else { io.output(y) },
            ..self.base()
        }
    }

    fn base(&self) -> reflex_attention_params {
        reflex_attention_params {
            struct_size: size_of::<reflex_attention_params>() as u32,
            mask: match self.full {
                true => REFLEX_ATTENTION_FULL,
                false => REFLEX_ATTENTION_CAUSAL,
            },
            scale: self.scale,
            ..Default::default()
        }
    }

    /// NaN and infinities in the cache reach the rows that see them, as on the CPU, and no other.
    fn specials(&self, ks: &mut [f32], vs: &mut [f32]) {
        let row = (self.kv_heads * self.dim) as usize;
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
            ks[key * row + self.dim as usize + 1] = value;
        }
    }

    fn merged(&self, io: &Io) -> reflex_attention_params {
        let (tokens, h, g, d) = (self.tokens, self.heads, self.kv_heads, self.dim);
        let size = i64::from(reflex_dtype_block_bytes(self.kv));
        let width = (h + 2 * g) * d;
        let values = Random::new(4).normals((tokens * width) as usize);
        let merged = io.input(Spec::new(self.kv, &[tokens, width]), &values);
        let part = |first: i64, heads: i64| reflex_tensor {
            data: merged.data.wrapping_byte_add((first * d * size) as usize),
            rank: 4,
            shape: [1, tokens, heads, d],
            stride: [tokens * width * size, width * size, d * size, size],
            ..merged
        };
        reflex_attention_params {
            q: part(0, h),
            k: part(h, g),
            v: part(h + g, g),
            y: io.output(Spec::new(self.y, &[1, tokens, h, d])),
            ..self.base()
        }
    }
}

/// A cache `[batch, capacity, kv_heads, dim]` that lies in memory as `[batch, kv_heads, capacity, dim]`.
pub fn heads_first(spec: Spec) -> Spec {
    let [_, capacity, heads, dim] = spec.shape[..] else {
        panic!("{spec:?} is no cache");
    };
    let size = spec.block_bytes();
    spec.strides(&[heads * capacity * dim * size, dim * size, capacity * dim * size, size])
}

impl Problem for Case {
    fn call(&self, io: &Io) -> Call {
        Call::new(self.params(io), reflex_attention, reflex_attention_selected_kernel)
    }

    /// With normal q, k and v.
    fn size(&self, _kernel: &str) -> Size {
        Size::new(self.y)
    }

    fn expects_kernel(&self) -> Option<(&str, u32)> {
        Some((&self.kernel, self.since))
    }
}

/// What a call of it may be like.
pub fn random_calls(calls: &mut Calls) {
    calls.op(
        "attention",
        (reflex_attention, reflex_attention_supported),
        None,
        |m, p: &mut reflex_attention_params| {
            let (batch, tokens, capacity) = (m.dim().min(3), m.dim(), m.dim());
            let (kv_heads, group) = (m.dim().min(3), m.dim().min(4));
            let (dim, v_dim) = (m.pick(&HEADS), m.pick(&HEADS));
            let v_dim = if m.one_in(2) { dim } else { v_dim };
            p.mask = reflex_attention_mask(m.random.below(2) as u32);
            p.q = m.floats(&[batch, tokens, kv_heads * group, dim]);
            p.k = m.floats(&[batch, capacity, kv_heads, dim]);
            p.v = m.tensor(p.k.dtype, &[batch, capacity, kv_heads, v_dim]);
            p.kv_lengths = m.optional(|m| m.ints(batch));
            p.y = if dim == v_dim && m.one_in(4) {
                p.q
            } else {
                m.floats(&[batch, tokens, kv_heads * group, v_dim])
            };
        },
    );
}

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
    /// Keys of a page; 0 in a contiguous cache.
    pub page: i64,
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
            page: d.number("page"),
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

    /// Of q, k and v, where the cache has no pages.
    fn specs(&self) -> [Spec; 3] {
        self.specs_of([self.batch, self.capacity])
    }

    /// The same with the outer two dimensions of the cache.
    fn specs_of(&self, [outer, inner]: [i64; 2]) -> [Spec; 3] {
        let q = self.spec(self.q, [self.batch, self.tokens, self.heads, self.dim]);
        let cache = |dim: i64| {
            let spec = self.spec(self.kv, [outer, inner, self.kv_heads, dim]);
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

    /// Where the cache has pages.
    fn pages(&self) -> Option<Pages> {
        let capacity = self.capacity as usize;
        let keys = |b: usize| match self.lengths.get(b) {
            Some(&length) => (length.max(0) as usize).min(capacity),
            None => capacity,
        };
        let lengths: Vec<usize> = (0..self.batch as usize).map(keys).collect();
        (self.page > 0).then(|| Pages::new(self.page as usize, capacity, &lengths))
    }

    pub fn params(&self, io: &Io) -> AttentionCall {
        if self.layout == Layout::Merged {
            return self.merged(io);
        }
        let pages = self.pages();
        let [q, k, v] = match &pages {
            Some(pages) => self.specs_of([pages.count as i64, self.page]),
            None => self.specs(),
        };
        let contents = LazyCell::new(|| {
            let [q, k, v] = self.contents();
            let paged = |values: Vec<f32>, dim: i64| match &pages {
                Some(pages) => pages.pool(&values, (self.kv_heads * dim) as usize, f32::NAN),
                None => values,
            };
            [q, paged(k, self.dim), paged(v, self.v_dim)]
        });
        let y = self.spec(self.y, [self.batch, self.tokens, self.heads, self.v_dim]);
        let q = if self.in_place {
            io.in_out_of(q, || contents[0].clone())
        } else {
            io.input_of(q, || contents[0].clone())
        };
        let (k, v) = (
            io.input_of(k, || contents[1].clone()),
            io.input_of(v, || contents[2].clone()),
        );
        let none = reflex_tensor::default();
        let lengths = if self.lengths.is_empty() {
            none
        } else {
            io.ints(&self.lengths)
        };
        let block_table = pages.as_ref().map_or(none, |pages| pages.block_table(io));
        let params = reflex_attention_params {
            q,
            y: if self.in_place { q } else { io.output(y) },
            ..self.base()
        };
        let cache = reflex_kv_cache {
            block_table,
            ..kv_cache(k, v, lengths)
        };
        AttentionCall::new(params, cache)
    }

    fn base(&self) -> reflex_attention_params {
        reflex_attention_params {
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

    fn merged(&self, io: &Io) -> AttentionCall {
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
        let params = reflex_attention_params {
            q: part(0, h),
            y: io.output(Spec::new(self.y, &[1, tokens, h, d])),
            ..self.base()
        };
        AttentionCall::new(params, kv_cache(part(h, g), part(h + g, g), Default::default()))
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
        Call::new(self.params(io), AttentionCall::launch, AttentionCall::selected_kernel)
    }

    /// With normal q, k and v.
    fn size(&self, _kernel: &str) -> Size {
        Size::new(self.y)
    }

    fn expects_kernel(&self) -> Option<(&str, u32)> {
        Some((&self.kernel, self.since))
    }

    fn declined_by_cuda(&self) -> Option<&'static str> {
        // Where there is nothing to do, no kernel is needed.
        let empty = self.batch * self.tokens * self.heads == 0;
        (self.page > 0 && !empty).then_some("contiguous caches")
    }

    /// Where the keys lie changes no bit.
    fn check(&self, env: &Env, _contents: &Contents) {
        if self.page == 0 {
            return;
        }
        let contiguous = Case {
            page: 0,
            ..self.clone()
        };
        let [paged, contiguous] = [self, &contiguous].map(|case| run_once_bytes(env, |io| case.call(io).launch));
        assert!(paged == contiguous, "other bits than with a contiguous cache");
    }
}

/// A cache that may be wrong; some are paged, with whatever lies in memory as their pages.
pub fn random_cache(m: &mut Maker, [batch, capacity, kv_heads, dim, v_dim]: [i64; 5]) -> reflex_kv_cache {
    let paged = m.one_in(8);
    let [outer, inner] = match paged {
        true => [m.dim(), m.pick(&[8, 16, 16, 64])],
        false => [batch, capacity],
    };
    let inner = if paged && m.mishap(8) { m.dim() } else { inner };
    let k = m.floats(&[outer, inner, kv_heads, dim]);
    let v_type = if m.mishap(20) { m.float() } else { k.dtype };
    let v = m.tensor(v_type, &[outer, inner, kv_heads, v_dim]);
    let mut cache = kv_cache(k, v, m.optional(|m| m.ints(batch)));
    if paged {
        let max_pages = m.dim().min(4);
        cache.block_table = m.tensor(REFLEX_DTYPE_I32, &[batch, max_pages]);
    }
    if m.mishap(40) {
        cache.struct_size = m.pick(&[0, 4, 487, cache.struct_size]);
        cache.flags = m.pick(&[0, 1]);
    }
    if m.mishap(40) {
        cache.v_scale = m.floats(&[kv_heads]);
    }
    cache
}

/// What a call of it may be like.
pub fn random_calls(calls: &mut Calls) {
    calls.op(
        "attention",
        (AttentionCall::launch, AttentionCall::supported),
        None,
        |m, p: &mut AttentionCall| {
            *p = AttentionCall::default();
            let (batch, tokens, capacity) = (m.dim().min(3), m.dim(), m.dim());
            let (kv_heads, group) = (m.dim().min(3), m.dim().min(4));
            let (dim, v_dim) = (m.pick(&HEADS), m.pick(&HEADS));
            let v_dim = if m.one_in(2) { dim } else { v_dim };
            p.mask = reflex_attention_mask(m.random.below(2) as u32);
            p.q = m.floats(&[batch, tokens, kv_heads * group, dim]);
            p.cache = random_cache(m, [batch, capacity, kv_heads, dim, v_dim]);
            p.y = if dim == v_dim && m.one_in(4) {
                p.q
            } else {
                m.floats(&[batch, tokens, kv_heads * group, v_dim])
            };
        },
    );
}

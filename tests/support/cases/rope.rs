//! `cases/rope.txt`.

use super::attention::{heads_first, random_cache};
use super::*;
use crate::support::*;
use std::cell::LazyCell;

const F16: reflex_dtype = REFLEX_DTYPE_F16;
const BF16: reflex_dtype = REFLEX_DTYPE_BF16;
const F32: reflex_dtype = REFLEX_DTYPE_F32;

pub const ROPE_MODES: &[(&str, reflex_rope_mode)] =
    &[("neox", REFLEX_ROPE_NEOX), ("interleaved", REFLEX_ROPE_INTERLEAVED)];

#[derive(Clone, Debug)]
pub struct Case {
    mode: reflex_rope_mode,
    x: reflex_dtype,
    cache: reflex_dtype,
    tokens: i64,
    heads: [i64; 2],
    dim: i64,
    v_dim: i64,
    rotary: u32,
    /// Of the first token; the others follow it.
    position: i32,
    gap: i64,
    offset: usize,
    /// Everything that changes a rotation is given.
    scaled: bool,
    /// Types of the norms of q and k.
    norms: [Option<reflex_dtype>; 2],
    operands: Operands,
    factors: i64,
    /// Keys of a page of the cache; 0 where it is contiguous.
    page: i64,
    /// Of the cache: one more than every other slot needs, in whole pages.
    slots: i64,
    heads_first: bool,
    kernel: String,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Operands {
    /// q, k and v, and caches.
    All,
    /// q, k and v inside of one buffer, rotated there.
    Merged,
    /// q at positions up to the ends of I32.
    Extreme,
    /// v, of which nothing is rotated.
    V,
    /// q of ones, with factors that are no numbers to divide by.
    Useless,
}

const OPERANDS: &[(&str, Operands)] = &[
    ("all", Operands::All),
    ("merged", Operands::Merged),
    ("extreme", Operands::Extreme),
    ("v", Operands::V),
    ("useless_factors", Operands::Useless),
];

impl Case {
    pub fn read(d: &Descriptor) -> Case {
        let (page, slots) = (d.number::<i64>("page"), 2 * d.number::<i64>("tokens") + 3);
        Case {
            page,
            slots: if page > 0 {
                (slots as u64).next_multiple_of(page as u64) as i64
            } else {
                slots
            },
            mode: d.one_of("mode", ROPE_MODES),
            x: d.dtype("x"),
            cache: d.dtype("cache"),
            tokens: d.number("tokens"),
            heads: [d.number("q_heads"), d.number("kv_heads")],
            dim: d.number("dim"),
            v_dim: d.number_or("v_dim", "dim", d.number("dim")),
            rotary: d.number("rotary"),
            position: d.number("position"),
            gap: d.number("gap"),
            offset: d.number("offset"),
            scaled: d.flag("scaled"),
            norms: [d.optional_dtype("q_norm"), d.optional_dtype("k_norm")],
            operands: d.one_of("operands", OPERANDS),
            factors: d.number("factors"),
            heads_first: d.one_of("layout", &[("plain", false), ("heads_first", true)]),
            kernel: d.text("kernel").to_string(),
        }
    }

    fn base(&self) -> reflex_rope_params {
        reflex_rope_params {
            mode: self.mode,
            rotary_dim: self.rotary,
            ..Default::default()
        }
    }

    fn all(&self, io: &Io) -> RopeCall {
        let rotary = i64::from(self.rotary);
        let mut random = Random::new((self.tokens * 7919 + self.dim * 13 + rotary) as u64);
        let spec = |dtype, n: i64, heads: i64, dim: i64| {
            Spec::new(dtype, &[n, heads, dim]).row_gap(self.gap).offset(self.offset)
        };
        let mut values = |n: i64, heads: i64, dim: i64| random.normals((n * heads * dim) as usize);
        let ([q_heads, kv_heads], slots) = (self.heads, self.slots);
        let tokens: Vec<i32> = (0..self.tokens as i32).collect();
        // Distinct slots, some of them outside the cache.
        let last = 2 * self.tokens as i32 + 1;
        let slot = |t: i32| if t % 5 == 3 { -1 - t } else { last - 2 * t };
        // Of q, k, v and the caches.
        let contents = LazyCell::new(|| {
            [
                values(self.tokens, q_heads, self.dim),
                values(self.tokens, kv_heads, self.dim),
                values(self.tokens, kv_heads, self.v_dim),
                values(slots, kv_heads, self.dim),
                values(slots, kv_heads, self.v_dim),
            ]
        });
        let caches = [(self.dim, 3), (self.v_dim, 4)].map(|(dim, i)| {
            let [outer, inner] = self.shape();
            let spec = Spec::new(self.cache, &[outer, inner, kv_heads, dim]);
            let spec = spec.row_gap(self.gap).offset(self.offset);
            let spec = if self.heads_first { heads_first(spec) } else { spec };
            io.in_out_of(spec, || contents[i].clone())
        });
        let rows = |heads, dim| spec(self.x, self.tokens, heads, dim);
        let mut p = reflex_rope_params {
            q: io.in_out_of(rows(q_heads, self.dim), || contents[0].clone()),
            k: io.input_of(rows(kv_heads, self.dim), || contents[1].clone()),
            v: io.input_of(rows(kv_heads, self.v_dim), || contents[2].clone()),
            positions: io.ints(&tokens.iter().map(|t| self.position + t).collect::<Vec<_>>()),
            slots: io.ints(&tokens.iter().map(|&t| slot(t)).collect::<Vec<_>>()),
            ..self.base()
        };
        if self.scaled {
            let pairs = if rotary == 0 { self.dim } else { rotary } / 2;
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
        let mut cache = kv_cache(caches[0], caches[1], Default::default());
        if self.page > 0 {
            // Nobody reads it.
            cache.block_table = io.input_bytes(Spec::new(REFLEX_DTYPE_I32, &[1, 2]), &encode_ints(&[-1, i32::MAX]));
        }
        RopeCall::new(p, cache)
    }

    /// The outer two dimensions of the cache.
    fn shape(&self) -> [i64; 2] {
        match self.page {
            0 => [1, self.slots],
            page => [self.slots / page, page],
        }
    }

    fn merged(&self, io: &Io) -> RopeCall {
        let (tokens, dim, [q_heads, kv_heads]) = (self.tokens, self.dim, self.heads);
        let heads = q_heads + 2 * kv_heads;
        let size = i64::from(reflex_dtype_block_bytes(self.x));
        let values = Random::new(2).normals((tokens * heads * dim) as usize);
        let merged = io.in_out(Spec::new(self.x, &[tokens, heads, dim]), &values);
        let part = |first: i64, count: i64| reflex_tensor {
            data: merged.data.wrapping_byte_add((first * dim * size) as usize),
            shape: [tokens, count, dim, 0],
            stride: [heads * dim * size, dim * size, size, 0],
            ..merged
        };
        let cache = |seed| {
            let values = Random::new(seed).normals((8 * kv_heads * dim) as usize);
            io.in_out(Spec::new(self.cache, &[2, 4, kv_heads, dim]), &values)
        };
        let norm = |dtype: Option<reflex_dtype>, seed| {
            let weights = Random::new(seed).normals(dim as usize);
            dtype.map_or(reflex_tensor::default(), |dtype| {
                io.input(Spec::new(dtype, &[dim]), &weights)
            })
        };
        let k = part(q_heads, kv_heads);
        let positions: Vec<i32> = (0..tokens as i32).map(|t| 2 + t).collect();
        let caches = [cache(3), cache(4)];
        let params = reflex_rope_params {
            q: part(0, q_heads),
            k,
            k_out: k,
            v: part(q_heads + kv_heads, kv_heads),
            positions: io.ints(&positions),
            // Rotated in place, though summed first.
            q_norm: norm(self.norms[0], 6),
            k_norm: norm(self.norms[1], 7),
            ..self.base()
        };
        RopeCall::new(params, kv_cache(caches[0], caches[1], Default::default()))
    }

    fn extreme(&self, io: &Io) -> RopeCall {
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
        let (heads, dim) = (self.heads[0], self.dim);
        let mut random = Random::new(1);
        let q: Vec<f32> = (0..8 * heads * dim).map(|_| random.range(-1.0, 1.0)).collect();
        let mut p = reflex_rope_params {
            q: io.in_out(Spec::new(self.x, &[8, heads, dim]), &q),
            positions: io.ints(&positions),
            ..self.base()
        };
        if self.scaled {
            let factors: Vec<f32> = (0..dim / 2)
                .map(|i| (1.0 + i as f32 / 7.0) * if i % 3 == 0 { -1.0 } else { 1.0 })
                .collect();
            p.freq_factors = io.input(Spec::new(F32, &[dim / 2]), &factors);
            (p.theta_base, p.freq_scale) = (5e5, 0.7);
        }
        RopeCall::new(p, Default::default())
    }

    /// Whatever the parameters of a rotation are.
    fn v_alone(&self, io: &Io) -> RopeCall {
        let (dim, heads) = (self.dim, self.heads[1]);
        let count = |tokens: i64| (tokens * heads * dim) as usize;
        let mut p = reflex_rope_params {
            magnitude: 3.0,
            v: io.input(Spec::new(self.x, &[4, heads, dim]), &Random::new(5).normals(count(4))),
            positions: io.ints(&[7, 0, -1, 3]),
            ..self.base()
        };
        let values = io.in_out(Spec::new(self.cache, &[1, 6, heads, dim]), &vec![0.0; count(6)]);
        // Keys are there as well, and stay as they are.
        let keys = io.input(Spec::new(F16, &[1, 6, heads, 8]), &vec![1.0; 6 * 8 * heads as usize]);
        if self.factors > 0 {
            p.freq_factors = io.input(Spec::new(F32, &[self.factors]), &vec![0.0; self.factors as usize]);
        }
        RopeCall::new(p, kv_cache(keys, values, Default::default()))
    }

    fn useless(&self, io: &Io) -> RopeCall {
        let factors = [1.0, 0.0, f32::INFINITY, f32::NAN, -2.0, 1e-45, 1e30, -0.0];
        let params = reflex_rope_params {
            q: io.in_out(Spec::new(self.x, &[1, 2, 16]), &[1.0; 32]),
            positions: io.ints(&[0]),
            freq_factors: io.input(Spec::new(F32, &[8]), &factors),
            ..self.base()
        };
        RopeCall::new(params, Default::default())
    }
}

impl Problem for Case {
    fn call(&self, io: &Io) -> Call {
        let p = match self.operands {
            Operands::All => self.all(io),
            Operands::Merged => self.merged(io),
            Operands::Extreme => self.extreme(io),
            Operands::V => self.v_alone(io),
            Operands::Useless => self.useless(io),
        };
        Call::new(p, RopeCall::launch, RopeCall::selected_kernel)
    }

    /// Each rotated value is a sum of two products that may cancel: the error is measured by the inputs' size, about 4. With a norm they are
    /// products of two normal numbers, up to 16, and have its error, 5e-7 of them. At angles up to 2^31 either backend may be off by
    /// 5 * 2^-21 of |u| + |v|, there at most 2.
    fn size(&self, _kernel: &str) -> Size {
        let worst = [F16, BF16]
            .into_iter()
            .find(|&dtype| self.x == dtype || self.x == F32 && self.cache == dtype);
        let sums = match self.operands {
            // Nothing is rotated.
            Operands::V => 0.0,
            Operands::Extreme => 2.5,
            _ if self.norms != [None, None] => 5.0,
            _ => 1.0,
        };
        let rounded = if self.operands == Operands::V { None } else { worst };
        Size {
            sums,
            ..Size::new(rounded.unwrap_or(F32))
        }
    }

    fn expects_kernel(&self) -> Option<(&str, u32)> {
        Some((&self.kernel, 75))
    }

    fn declined_by_cuda(&self) -> Option<&'static str> {
        let apart = self.heads_first && self.shape()[0] > 1;
        apart.then_some("caches whose slots are evenly apart")
    }

    /// Slots are numbered through all pages: where they lie changes no bit.
    fn check(&self, env: &Env, _contents: &Contents) {
        if self.page == 0 && !self.heads_first {
            return;
        }
        let flat = Case {
            page: 0,
            heads_first: false,
            ..self.clone()
        };
        let [own, flat] = [self, &flat].map(|case| run_once_bytes(env, |io| case.call(io).launch));
        assert!(own == flat, "other bits than in one sequence");
    }
}

/// What a call of it may be like.
pub fn random_calls(calls: &mut Calls) {
    calls.op(
        "rope",
        (RopeCall::launch, RopeCall::supported),
        None,
        |m, p: &mut RopeCall| {
            *p = RopeCall::default();
            let (tokens, q_heads, kv_heads, slots) = (m.dim(), m.dim(), m.dim(), m.dim());
            let (dim, v_dim) = (m.pick(&[0, 2, 6, 8, 32, 64, 128]), m.pick(&[0, 3, 8, 64]));
            p.mode = m.pick(ROPE_MODES).1;
            p.positions = m.ints(tokens);
            if !m.one_in(4) {
                p.q = m.floats(&[tokens, q_heads, dim]);
                let q = p.q;
                p.q_out = m.optional(|m| m.in_place(q, q.dtype));
                p.q_norm = m.optional(|m| m.floats(&[dim]));
            }
            if !m.one_in(3) {
                p.k = m.floats(&[tokens, kv_heads, dim]);
                let k = p.k;
                p.k_out = m.optional(|m| m.in_place(k, k.dtype));
                p.k_norm = m.optional(|m| m.floats(&[dim]));
            }
            let v = m.one_in(2);
            if v {
                p.v = m.floats(&[tokens, kv_heads, v_dim]);
            }
            if v || !p.k.data.is_null() && m.one_in(2) {
                let batch = m.dim().min(3);
                p.cache = random_cache(m, [batch, slots, kv_heads, dim, v_dim]);
            }
            p.freq_factors = m.optional(|m| m.tensor(REFLEX_DTYPE_F32, &[dim / 2]));
            if p.cache.struct_size != 0 && (!p.cache.block_table.data.is_null() || m.one_in(2)) {
                p.slots = m.ints(tokens);
            }
        },
    );
}

//! `cases/attention_decode.txt`: attention alone, or with the operands of a whole decode step.

use super::attention::{LAYOUTS, Layout, heads_first, random_cache};
use super::rope::ROPE_MODES;
use super::*;
use crate::support::*;
use std::cell::LazyCell;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const F16: reflex_dtype = REFLEX_DTYPE_F16;
const BF16: reflex_dtype = REFLEX_DTYPE_BF16;

#[derive(Clone, Debug)]
pub struct Case {
    mode: reflex_rope_mode,
    /// Of q, k_new and v_new.
    x: reflex_dtype,
    kv: reflex_dtype,
    y: reflex_dtype,
    pub heads: i64,
    kv_heads: i64,
    capacity: i64,
    /// Keys of a page; 0 in a contiguous cache.
    page: i64,
    dim: i64,
    pub v_dim: i64,
    scale: f32,
    rotary: u32,
    /// One for each sequence; where they are not given, the capacity.
    lengths: Vec<i32>,
    given: bool,
    rotated: bool,
    /// Of the first sequence.
    position: i32,
    append: bool,
    norms: Option<reflex_dtype>,
    factors: bool,
    /// Elements by which rows are further apart than they are long, and by which the first one is off.
    gap: i64,
    offset: usize,
    layout: Layout,
    special: bool,
    in_place: bool,
    kernel: String,
    since: u32,
}

impl Case {
    pub fn read(d: &Descriptor) -> Case {
        let dim = d.number("dim");
        Case {
            mode: d.one_of("mode", ROPE_MODES),
            x: d.dtype("x"),
            kv: d.dtype("kv"),
            y: d.dtype("y"),
            heads: d.number("heads"),
            kv_heads: d.number("kv_heads"),
            capacity: d.number("capacity"),
            page: d.number("page"),
            dim,
            v_dim: d.number_or("v_dim", "dim", dim),
            scale: d.number("scale"),
            rotary: d.number("rotary"),
            lengths: d.list("lengths"),
            given: d.flag("given"),
            rotated: d.flag("rotated"),
            position: d.number("position"),
            append: d.flag("append"),
            norms: d.optional_dtype("norms"),
            factors: d.flag("factors"),
            gap: d.number("gap"),
            offset: d.number("offset"),
            layout: d.one_of("layout", LAYOUTS),
            special: d.one_of("values", &[("normal", false), ("special", true)]),
            in_place: d.flag("in_place"),
            kernel: d.text("kernel").to_string(),
            since: d.number("since"),
        }
    }

    pub fn batch(&self) -> i64 {
        self.lengths.len() as i64
    }

    fn is_step(&self) -> bool {
        self.rotated || self.append || self.norms.is_some()
    }

    fn spec(&self, dtype: reflex_dtype, shape: &[i64]) -> Spec {
        Spec::new(dtype, shape).row_gap(self.gap).offset(self.offset)
    }

    pub fn params(&self, io: &Io) -> DecodeCall {
        let mut p = self.operands(io);
        // The last of the buffers: the CPU backend, whose buffers are compared with the GPU's one by one, needs none. A call that no kernel
        // takes has no size.
        let mut bytes = 0;
        let status = DecodeCall::workspace_size(io.env.context, &p, &mut bytes);
        if status != REFLEX_UNSUPPORTED {
            ok(status);
        }
        (p.workspace, p.workspace_size) = (io.workspace(bytes), bytes);
        p
    }

    /// Where the cache has pages.
    fn pages(&self) -> Option<Pages> {
        let keys = |&n: &i32| {
            if self.given {
                i64::from(n).clamp(0, self.capacity)
            } else {
                self.capacity
            }
        };
        let lengths: Vec<usize> = self.lengths.iter().map(|n| keys(n) as usize).collect();
        (self.page > 0).then(|| Pages::new(self.page as usize, self.capacity as usize, &lengths))
    }

    /// K and V, the first two buffers.
    fn caches(&self, io: &Io, pages: Option<&Pages>, random: &mut Random) -> [reflex_tensor; 2] {
        let [outer, inner] = match pages {
            Some(pages) => [pages.count as i64, self.page],
            None => [self.batch(), self.capacity],
        };
        let dims = [self.dim, self.v_dim];
        let specs = dims.map(|dim| {
            let spec = self.spec(self.kv, &[outer, inner, self.kv_heads, dim]);
            match self.layout {
                Layout::HeadsFirst => heads_first(spec),
                _ => spec,
            }
        });
        let values = LazyCell::new(|| {
            let rows = (self.batch() * self.capacity * self.kv_heads) as usize;
            let [k, v] = self.cached(dims.map(|dim| rows * dim as usize), random);
            let paged = |values: Vec<f32>, dim: i64| match pages {
                Some(pages) => pages.pool(&values, (self.kv_heads * dim) as usize, f32::NAN),
                None => values,
            };
            [paged(k, self.dim), paged(v, self.v_dim)]
        });
        let operand = |i: usize| match self.append {
            true => io.in_out_of(specs[i].clone(), || values[i].clone()),
            false => io.input_of(specs[i].clone(), || values[i].clone()),
        };
        [operand(0), operand(1)]
    }

    /// What the caches hold.
    fn cached(&self, elements: [usize; 2], random: &mut Random) -> [Vec<f32>; 2] {
        let capacity = self.capacity as usize;
        let [mut ks, mut vs] = elements.map(|elements| {
            // Rows behind a sequence are NaN: nobody may look there. They are most of a long cache.
            let mut values = vec![f32::NAN; elements];
            let sequence = elements / self.lengths.len().max(1);
            for (values, &length) in values.chunks_mut(sequence.max(1)).zip(&self.lengths) {
                // The new row is not there yet.
                let cached = length.min(self.capacity as i32) - i32::from(self.append);
                let there = cached.max(0) as usize * (sequence / capacity.max(1));
                values[..there].fill_with(|| random.normal());
            }
            values
        });
        if self.special {
            let row = (self.kv_heads * self.dim) as usize;
            // A column of the first kv head, and the whole of the second and third; the fourth stays as it is.
            (vs[300 * row + 5], vs[301 * row + 6]) = (f32::NAN, f32::INFINITY);
            ks[400 * row + 64] = f32::NAN;
            ks[612 * row + 128] = f32::INFINITY;
        }
        [ks, vs]
    }

    /// q, k_new and v_new.
    fn rows(&self, io: &Io, random: &mut Random) -> [reflex_tensor; 3] {
        let (batch, dim) = (self.batch(), self.dim);
        let heads: i64 = self.heads + 2 * self.kv_heads;
        let size = i64::from(reflex_dtype_block_bytes(self.x));
        if self.layout == Layout::Merged {
            let values = random.normals((batch * heads * dim) as usize);
            let merged = io.input(Spec::new(self.x, &[batch, heads, dim]), &values);
            return [0, self.heads, self.heads + self.kv_heads].map(|first| reflex_tensor {
                data: merged.data.wrapping_byte_add((first * dim * size) as usize),
                shape: [batch, if first == 0 { self.heads } else { self.kv_heads }, dim, 0],
                stride: [heads * dim * size, dim * size, size, 0],
                ..merged
            });
        }
        let q = match self.layout {
            Layout::StridedQ => self.strided(self.x, dim),
            _ => self.spec(self.x, &[batch, self.heads, dim]),
        };
        let new = [dim, self.v_dim].map(|dim| self.spec(self.x, &[batch, self.kv_heads, dim]));
        let mut values = |spec: &Spec| random.normals(spec.elements());
        let (qs, ks, vs) = (values(&q), values(&new[0]), values(&new[1]));
        let [k, v] = new;
        // y may be q itself, though several blocks read it.
        let q = if self.in_place {
            io.in_out(q, &qs)
        } else {
            io.input(q, &qs)
        };
        match self.append {
            true => [q, io.input(k, &ks), io.input(v, &vs)],
            false => [q, Default::default(), Default::default()],
        }
    }

    /// Heads side by side in rows that are four heads longer.
    fn strided(&self, dtype: reflex_dtype, dim: i64) -> Spec {
        let spec = Spec::new(dtype, &[self.batch(), self.heads, dim]);
        let size = spec.block_bytes();
        spec.strides(&[(self.heads + 4) * dim * size, dim * size, size])
    }

    fn operands(&self, io: &Io) -> DecodeCall {
        let mut random = Random::new((self.capacity * 7919 + self.dim * 31 + self.heads) as u64);
        let (batch, dim, v_dim, none) = (self.batch(), self.dim, self.v_dim, reflex_tensor::default());
        let pages = self.pages();
        let [k, v] = self.caches(io, pages.as_ref(), &mut random);
        let [q, k_new, v_new] = self.rows(io, &mut random);
        let mut norm = || {
            self.norms.map_or(none, |dtype| {
                let weights: Vec<f32> = (0..dim).map(|_| random.range(0.5, 1.5)).collect();
                io.input(Spec::new(dtype, &[dim]).offset(self.offset), &weights)
            })
        };
        let cache = reflex_kv_cache {
            block_table: pages.map_or(none, |pages| pages.block_table(io)),
            ..kv_cache(k, v, if self.given { io.ints(&self.lengths) } else { none })
        };
        let mut p = reflex_attention_decode_params {
            scale: self.scale,
            mode: self.mode,
            rotary_dim: self.rotary,
            q,
            q_norm: norm(),
            k_norm: if self.append { norm() } else { none },
            y: match (self.in_place, self.layout, self.y) {
                (true, ..) => q,
                (_, Layout::StridedQ, dtype) => io.output(self.strided(dtype, v_dim)),
                (.., REFLEX_DTYPE_ACT_I8) => io.output(act_i8(&[batch, self.heads * v_dim])),
                (.., dtype) => io.output(self.spec(dtype, &[batch, self.heads, v_dim])),
            },
            ..Default::default()
        };
        if self.append {
            (p.k_new, p.v_new) = (k_new, v_new);
        }
        if self.rotated {
            // Any positions: they need not be those of the rows.
            let positions: Vec<i32> = (0..batch as i32).map(|b| self.position + 5000 * b).collect();
            p.positions = io.ints(&positions);
        }
        if self.factors {
            let rotary = if self.rotary == 0 { dim } else { self.rotary.into() };
            let factors: Vec<f32> = (0..rotary / 2).map(|_| random.range(1.0, 8.0)).collect();
            p.freq_factors = io.input(Spec::new(F32, &[rotary / 2]), &factors);
            (p.theta_base, p.freq_scale, p.magnitude, p.norm_epsilon) = (5e5, 0.25, 1.1, 1e-5);
        }
        DecodeCall::new(p, cache)
    }

    /// The same rotation and append as a call of reflex_rope.
    fn rope(&self, io: &Io, p: &DecodeCall) -> RopeCall {
        let pages = self.pages();
        let slots: Vec<i32> = (0..self.batch() as usize)
            .zip(&self.lengths)
            .map(|(b, &n)| match (n.min(self.capacity as i32), &pages) {
                (..=0, _) => -1,
                (n, Some(pages)) => pages.slot(b, n as usize - 1),
                (n, None) => b as i32 * self.capacity as i32 + n - 1,
            })
            .collect();
        let params = reflex_rope_params {
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
            slots: io.ints(&slots),
            q_norm: p.q_norm,
            k_norm: p.k_norm,
            norm_epsilon: p.norm_epsilon,
            ..Default::default()
        };
        RopeCall::new(params, p.cache)
    }

    /// What a step leaves in the cache is what reflex_rope leaves there, bit for bit.
    fn check_rope(&self, env: &Env, contents: &Contents) {
        let caches = |rope: bool| {
            let io = Io::sharing(env, contents);
            let p = self.params(&io);
            if rope {
                let r = self.rope(&io, &p);
                ok(RopeCall::launch(env.context, &r, env.stream));
            } else {
                ok(DecodeCall::launch(env.context, &p, env.stream));
            }
            // Guards are checked here, and that no input changed: q is none of rope's, which has an output for it.
            io.read()[..2].to_vec()
        };
        let (fused, rope) = (caches(false), caches(true));
        assert!(fused == rope, "other bits in the caches than reflex_rope's");
    }

    /// Where the keys lie changes no bit.
    fn check_pages(&self, env: &Env, pages: &Pages) {
        let contiguous = Case {
            page: 0,
            ..self.clone()
        };
        let [mut paged, mut contiguous] =
            [self, &contiguous].map(|case| run_once_bytes(env, |io| case.call(io).launch));
        if self.append {
            for (pool, cache) in paged.drain(..2).zip(contiguous.drain(..2)) {
                assert!(
                    pages.agree(&pool, &cache),
                    "other bits in the cache than in a contiguous one"
                );
            }
        }
        assert!(paged == contiguous, "other bits than with a contiguous cache");
    }
}

impl Problem for Case {
    fn call(&self, io: &Io) -> Call {
        Call::new(self.params(io), DecodeCall::launch, DecodeCall::selected_kernel)
    }

    fn size(&self, _kernel: &str) -> Size {
        if !self.is_step() {
            return Size::new(self.y);
        }
        // An element of a step's k between two of the cache's numbers may fall to either: a row of the cache is off by what tensor cores
        // round all of them to.
        let (rounding, rounded_to) = match (self.kv, self.y) {
            (F16, BF16) => (2e-3, BF16),
            (F16, _) => (2e-3, F16),
            (BF16, _) => (1.6e-2, BF16),
            (_, y) => (1e-5, y),
        };
        // Angles near 2^31 are good to 2^-19, of pairs with |u| + |v| up to 10, on either side.
        let far = if self.position.unsigned_abs() > 1 << 24 {
            5e-5
        } else {
            0.0
        };
        Size {
            at_least: rounding + far,
            ..Size::new(rounded_to)
        }
    }

    fn expects_kernel(&self) -> Option<(&str, u32)> {
        Some((&self.kernel, self.since))
    }

    fn declined_by_cuda(&self) -> Option<&'static str> {
        // Where there is nothing to do, no kernel is needed.
        let empty = self.batch() == 0 || self.heads == 0 && !self.append;
        (self.page > 0 && !empty).then_some("contiguous caches")
    }

    fn check(&self, env: &Env, contents: &Contents) {
        if self.append && self.rotated {
            self.check_rope(env, contents);
        }
        if let Some(pages) = self.pages() {
            self.check_pages(env, &pages);
        }
    }
}

/// What a call of it may be like.
pub fn random_calls(calls: &mut Calls) {
    calls.op(
        "attention_decode",
        (DecodeCall::launch, DecodeCall::supported),
        scratch!(DecodeCall::workspace_size, false),
        |m, p: &mut DecodeCall| {
            *p = DecodeCall::default();
            let (batch, capacity) = (m.dim().min(4), m.pick(&[0, 1, 3, 9, 65]));
            let (kv_heads, group) = (m.dim().min(2), m.dim().min(4));
            let dim = m.pick(&HEADS);
            let v_dim = if m.one_in(4) { m.pick(&HEADS) } else { dim };
            p.q = m.floats(&[batch, kv_heads * group, dim]);
            p.cache = random_cache(m, [batch, capacity, kv_heads, dim, v_dim]);
            p.y = match m.one_in(3) {
                true => m.tensor(REFLEX_DTYPE_ACT_I8, &[batch, kv_heads * group * v_dim]),
                false if dim == v_dim && m.one_in(4) => p.q,
                false => m.floats(&[batch, kv_heads * group, v_dim]),
            };
            if m.one_in(2) {
                p.k_new = m.floats(&[batch, kv_heads, dim]);
                p.v_new = m.floats(&[batch, kv_heads, v_dim]);
                p.k_norm = m.optional(|m| m.floats(&[dim]));
            }
            p.q_norm = m.optional(|m| m.floats(&[dim]));
            if m.one_in(2) {
                p.mode = m.pick(ROPE_MODES).1;
                p.positions = m.ints(batch);
                p.freq_factors = m.optional(|m| m.tensor(REFLEX_DTYPE_F32, &[dim / 2]));
            }
        },
    );
}

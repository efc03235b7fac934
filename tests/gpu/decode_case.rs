//! A case of `reflex_attention_decode`: attention alone, or with the operands of a whole decode step.

pub use crate::attention::{BF16, F16, F32, KV_TYPES};
use crate::attention::{poisoned, tolerance};
use crate::support::*;
use reflex_infer::*;

pub const ACT_I8: reflex_dtype = REFLEX_DTYPE_ACT_I8;

#[derive(Clone)]
pub struct Case {
    pub mode: reflex_rope_mode,
    /// Of q, k_new and v_new.
    pub x: reflex_dtype,
    pub kv: reflex_dtype,
    pub y: reflex_dtype,
    pub heads: i64,
    pub kv_heads: i64,
    pub capacity: i64,
    pub dim: i64,
    pub v_dim: i64,
    pub scale: f32,
    pub rotary: u32,
    /// One for each sequence; all of them `capacity` with `no_lengths`.
    pub lengths: Vec<i32>,
    pub no_lengths: bool,
    pub rotated: bool,
    /// Of the first sequence.
    pub position: i32,
    pub append: bool,
    pub norms: Option<reflex_dtype>,
    pub factors: bool,
    /// Elements by which rows are further apart than they are long, and by which the first one is off.
    pub gap: i64,
    pub offset: usize,
    /// q, k_new and v_new are parts of one buffer.
    pub merged: bool,
}

impl Case {
    /// Attention alone.
    pub fn new() -> Case {
        Case {
            mode: REFLEX_ROPE_NEOX,
            x: F32,
            kv: F16,
            y: F32,
            heads: 8,
            kv_heads: 2,
            capacity: 700,
            dim: 64,
            v_dim: 64,
            scale: 0.0,
            rotary: 0,
            lengths: vec![613],
            no_lengths: false,
            rotated: false,
            position: 611,
            append: false,
            norms: None,
            factors: false,
            gap: 0,
            offset: 0,
            merged: false,
        }
    }

    /// A whole step.
    pub fn step() -> Case {
        Case {
            dim: 128,
            v_dim: 128,
            rotated: true,
            append: true,
            norms: Some(F32),
            ..Case::new()
        }
    }

    pub fn batch(&self) -> i64 {
        self.lengths.len() as i64
    }

    fn is_step(&self) -> bool {
        self.rotated || self.append || self.norms.is_some()
    }

    pub fn params(&self, io: &Io) -> reflex_attention_decode_params {
        let mut p = self.operands(io);
        give_workspace(io, &mut p);
        p
    }

    /// The caches are the first two buffers.
    fn operands(&self, io: &Io) -> reflex_attention_decode_params {
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
            scale: self.scale,
            mode: self.mode,
            rotary_dim: self.rotary,
            q,
            k: caches[0],
            v: caches[1],
            kv_lengths: if self.no_lengths { none } else { io.ints(&self.lengths) },
            q_norm: norm(),
            k_norm: if self.append { norm() } else { none },
            y: io.output(match self.y {
                ACT_I8 => act_i8(&[batch, self.heads * v_dim]),
                dtype => spec(dtype, &[batch, self.heads, v_dim]),
            }),
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
        p
    }

    pub fn tolerance(&self) -> Tolerance {
        let limit = tolerance(self.kv, self.y);
        // An element of a step's k between two of the cache's numbers may fall to either.
        let rounding = match self.kv {
            F16 if self.is_step() => 1.0 / 1024.0,
            BF16 if self.is_step() => 1.0 / 128.0,
            _ => 0.0,
        };
        // Angles near 2^31 are good to 2^-19, of pairs with |u| + |v| up to 10, on either side.
        let far = if self.position.unsigned_abs() > 1 << 24 {
            5e-5
        } else {
            0.0
        };
        Tolerance::new(limit.absolute + far, limit.relative.max(rounding))
    }

    /// Against the CPU backend, with operands that `change` puts in the place of the case's.
    pub fn changed(
        self,
        suite: &mut Suite,
        name: &str,
        change: impl Fn(&Case, &Io, &mut reflex_attention_decode_params) + Send + Sync + 'static,
    ) {
        let name = match self.is_step() {
            true => format!("attention_decode::step_{name}"),
            false => format!("attention_decode::{name}"),
        };
        suite.parity(name, self.tolerance(), move |io| {
            let mut p = self.operands(io);
            change(&self, io, &mut p);
            give_workspace(io, &mut p);
            Box::new(move |context, stream| reflex_attention_decode(context, &p, stream))
        });
    }

    pub fn add(self, suite: &mut Suite, name: &str) {
        self.changed(suite, name, |_, _, _| {});
    }

    /// y may be q itself, though several blocks read it.
    pub fn add_in_place(self, suite: &mut Suite, name: &str) {
        self.changed(suite, name, |case, io, p| {
            let spec = Spec::new(F32, &[1, case.heads, case.dim]);
            p.q = io.in_out(spec.clone(), &Random::new(5).normals(spec.elements()));
            p.y = p.q;
        });
    }

    /// Elements of y, which is F32, and whether they are close to the CPU's.
    pub fn expect_close(&self, got: &[u8], want: &[u8], what: &str) {
        let limit = self.tolerance();
        for (got, want) in decode(F32, got).into_iter().zip(decode(F32, want)) {
            assert!(
                (got - want).abs() <= limit.absolute + limit.relative * want.abs(),
                "{what}: {got} {want}"
            );
        }
    }
}

/// The last of the buffers: the CPU backend, whose buffers are compared with the GPU's one by one, needs none.
fn give_workspace(io: &Io, p: &mut reflex_attention_decode_params) {
    let mut bytes = 0;
    ok(reflex_attention_decode_workspace_size(io.env.context, p, &mut bytes));
    (p.workspace, p.workspace_size) = (io.workspace(bytes), bytes);
}

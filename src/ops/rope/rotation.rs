//! What `reflex_rope` shares with `reflex_attention_decode`: the rotation's parameters, the norms of heads, their checks.

use super::{REFLEX_ROPE_INTERLEAVED, REFLEX_ROPE_NEOX, reflex_rope_mode};
use crate::abi::{Dtype, Error, Result, View, reflex_tensor};
use crate::ops::rows::data;

/// Pairs whose cosine and sine a block holds (ROPE_MAX_PAIRS in the kernels).
const MAX_PAIRS: i64 = 512;
/// Bound on heads and on head sizes, so that the work items of a token are counted in 32 bits.
const MAX_EXTENT: i64 = 1 << 14;

/// The fields of a params struct that say how heads are rotated.
pub(crate) struct RotationParams<'a> {
    pub mode: reflex_rope_mode,
    pub theta_base: f32,
    pub freq_scale: f32,
    pub magnitude: f32,
    pub rotary_dim: u32,
    pub positions: &'a reflex_tensor,
    pub freq_factors: &'a reflex_tensor,
}

/// `RotationParams` of an op's params, which have fields of these names.
macro_rules! rotation_params {
    ($params:expr) => {
        $crate::ops::rope::RotationParams {
            mode: $params.mode,
            theta_base: $params.theta_base,
            freq_scale: $params.freq_scale,
            magnitude: $params.magnitude,
            rotary_dim: $params.rotary_dim,
            positions: &$params.positions,
            freq_factors: &$params.freq_factors,
        }
    };
}
pub(crate) use rotation_params;

/// A rotation, checked. Without positions nothing is rotated.
#[derive(Clone, Copy)]
pub(crate) struct Rotation {
    pub neox: bool,
    pub rotary_dim: i64,
    pub theta_base: f64,
    pub freq_scale: f64,
    pub magnitude: f32,
    pub positions: Option<View>,
    pub freq_factors: Option<View>,
}

impl Rotation {
    pub fn new(op: &'static str, p: &RotationParams, head_dim: i64, tokens: i64) -> Result<Rotation> {
        let neox = match p.mode {
            REFLEX_ROPE_NEOX => true,
            REFLEX_ROPE_INTERLEAVED => false,
            other => {
                return Err(Error::invalid(format!(
                    "{op}: mode is {}, expected REFLEX_ROPE_NEOX or REFLEX_ROPE_INTERLEAVED",
                    other.0
                )));
            }
        };
        let theta_base = factor(op, "theta_base", p.theta_base, 10000.0, 1.0)?;
        let freq_scale = factor(op, "freq_scale", p.freq_scale, 1.0, 0.0)?;
        let magnitude = factor(op, "magnitude", p.magnitude, 1.0, 0.0)?;
        let rotary_dim = match i64::from(p.rotary_dim) {
            0 => head_dim,
            n if n <= head_dim => n,
            n => {
                return Err(Error::invalid(format!(
                    "{op}: rotary_dim is {n}, expected at most head_dim, {head_dim}"
                )));
            }
        };
        if rotary_dim % 2 != 0 {
            return Err(Error::invalid(format!(
                "{op}: rotary_dim is {rotary_dim}, expected an even number"
            )));
        }
        if rotary_dim / 2 > MAX_PAIRS {
            return Err(Error::unsupported(format!(
                "{op}: rotary_dim is {rotary_dim}, expected at most {}",
                2 * MAX_PAIRS
            )));
        }
        let positions = View::optional(op, "positions", p.positions)?
            .map(|view| indices(view, tokens))
            .transpose()?;
        let freq_factors = View::optional(op, "freq_factors", p.freq_factors)?
            .map(|view| {
                view.expect_dtype(&[Dtype::F32])?
                    .expect_shape(&[rotary_dim / 2], "[rotary_dim / 2]")?
                    .expect_dense_rows()
            })
            .transpose()?;
        Ok(Rotation {
            neox,
            rotary_dim: if positions.is_some() { rotary_dim } else { 0 },
            theta_base: theta_base.into(),
            freq_scale: freq_scale.into(),
            magnitude,
            positions,
            freq_factors,
        })
    }

    /// Frequency of pair `i` in radians per position, before `freq_factors`.
    pub fn frequency(&self, i: usize) -> f64 {
        self.freq_scale * self.theta_base.powf(-2.0 * i as f64 / self.rotary_dim as f64)
    }
}

/// `0` selects the default; anything else is finite and at least `least`.
pub(crate) fn factor(op: &str, field: &str, value: f32, default: f32, least: f32) -> Result<f32> {
    match value {
        0.0 => Ok(default),
        v if v.is_finite() && v >= least => Ok(v),
        _ => Err(Error::invalid(format!(
            "{op}: {field} is {value}, expected 0 (which selects {default}) or a finite number of {least} or more"
        ))),
    }
}

/// `norm_epsilon` of either op.
pub(crate) fn norm_epsilon(op: &str, value: f32) -> Result<f32> {
    factor(op, "norm_epsilon", value, 1e-6, 0.0)
}

/// `[head_dim]`: the weight of the norm of each head.
pub(crate) fn head_norm(
    op: &'static str,
    field: &'static str,
    tensor: &reflex_tensor,
    head_dim: i64,
) -> Result<Option<View>> {
    View::optional(op, field, tensor)?
        .map(|view| {
            view.expect_dtype(Dtype::FLOATS)?
                .expect_shape(&[head_dim], "[head_dim]")?
                .expect_dense_rows()
        })
        .transpose()
}

/// `[tokens, heads, dim]` of q, k or v.
pub(crate) fn heads(view: View) -> Result<View> {
    view.expect_dtype(Dtype::FLOATS)?
        .expect_rank(3..=3)?
        .expect_dim(0, 0..=i64::from(i32::MAX))?
        .expect_dim(1, 0..=MAX_EXTENT)?
        .expect_dim(2, 0..=MAX_EXTENT)?
        .expect_dense_rows()
}

/// `[tokens]` indices.
pub(crate) fn indices(view: View, tokens: i64) -> Result<View> {
    view.expect_dtype(&[Dtype::I32])?
        .expect_shape(&[tokens], "[tokens]")?
        .expect_dense_rows()
}

/// An operand by its name in messages.
type Named = (&'static str, Option<View>);

/// Of each pair: where the first is given, the second is, too.
pub(crate) fn expect_pairs(op: &str, pairs: &[(Named, Named)]) -> Result<()> {
    match pairs.iter().find(|(one, other)| one.1.is_some() && other.1.is_none()) {
        Some(((field, _), (other, _))) => Err(Error::invalid(format!(
            "{op}: {field} is given and {other}.data is NULL, expected both or neither"
        ))),
        None => Ok(()),
    }
}

/// `rope_angles` of `kernels/common/rotation.cuh`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RopeAngles {
    freq_factors: *const u8,
    coarse: [[f32; 2]; 32],
    fine: [[f32; 2]; 16],
    rotary_dim: i32,
    magnitude: f32,
}

impl RopeAngles {
    /// Frequencies in turns per position are a geometric series: pair 16 a + b has coarse[a] * fine[b].
    pub fn new(rotation: &Rotation) -> RopeAngles {
        let ratio = |i: usize| rotation.frequency(i) / rotation.freq_scale;
        RopeAngles {
            freq_factors: data(rotation.freq_factors),
            coarse: std::array::from_fn(|i| split(rotation.frequency(16 * i) / std::f64::consts::TAU)),
            fine: std::array::from_fn(|i| split(ratio(i))),
            rotary_dim: rotation.rotary_dim as i32,
            magnitude: rotation.magnitude,
        }
    }
}

/// A number as a sum of two floats: 48 bits of it.
fn split(value: f64) -> [f32; 2] {
    let high = value as f32;
    [high, (value - f64::from(high)) as f32]
}

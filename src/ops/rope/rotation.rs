//! What `reflex_rope` shares with `reflex_attention_decode`: the parameters of the rotation, the norms of heads, and
//! their checks.

use super::{REFLEX_ROPE_INTERLEAVED, REFLEX_ROPE_NEOX, reflex_rope_mode};
use crate::abi::{Dtype, Error, Result, View, reflex_tensor};
use crate::constants::{ROPE_COARSE, ROPE_FINE, ROPE_MAX_PAIRS};
use crate::ops::rows::data;
use std::cell::Cell;

/// The largest number of heads, and the largest head size: the work items of a token are counted in 32 bits.
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

/// The `RotationParams` of an op's params, which have fields of these names.
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

/// A checked rotation. Where nothing is rotated, rotary_dim is 0.
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
    /// `head_dim` is the size of the heads to rotate, where there are any. The parameters are checked in any case;
    /// without heads or without positions they have no effect.
    pub fn new(p: &RotationParams, head_dim: Option<i64>, tokens: i64) -> Result<Rotation> {
        let neox = match p.mode {
            REFLEX_ROPE_NEOX => true,
            REFLEX_ROPE_INTERLEAVED => false,
            other => {
                return Err(Error::invalid(format!(
                    "mode is {}, expected REFLEX_ROPE_NEOX or REFLEX_ROPE_INTERLEAVED",
                    other.0
                )));
            }
        };
        let theta_base = factor("theta_base", p.theta_base, 10000.0, 1.0)?;
        let freq_scale = factor("freq_scale", p.freq_scale, 1.0, 0.0)?;
        let magnitude = factor("magnitude", p.magnitude, 1.0, 0.0)?;
        let positions = View::optional("positions", p.positions)?;
        positions.iter().try_for_each(|view| expect_indices(view, tokens))?;
        let given = i64::from(p.rotary_dim);
        match head_dim {
            Some(head_dim) if given > head_dim => {
                return Err(Error::invalid(format!(
                    "rotary_dim is {given}, expected at most head_dim, {head_dim}"
                )));
            }
            // The size of the default matters only where something is rotated.
            Some(head_dim) if given == 0 && positions.is_some() => expect_rotary_dim(
                head_dim,
                format_args!("rotary_dim is 0, which selects head_dim, {head_dim}"),
            )?,
            _ => expect_rotary_dim(given, format_args!("rotary_dim is {given}"))?,
        }
        let rotary_dim = match given {
            0 => head_dim,
            n => Some(n),
        };
        let freq_factors = View::optional("freq_factors", p.freq_factors)?;
        if let Some(view) = &freq_factors {
            view.expect_dtype(&[Dtype::F32])?.expect_rank(1..=1)?;
            // With v alone and no rotary_dim, the number of factors is not known.
            let pairs = rotary_dim.map_or(view.dim(0), |n| n / 2);
            view.expect_shape(&[pairs], "[rotary_dim / 2]")?.expect_dense_rows()?;
        }
        let rotates = positions.is_some() && head_dim.is_some();
        Ok(Rotation {
            neox,
            rotary_dim: rotary_dim.filter(|_| rotates).unwrap_or(0),
            theta_base: theta_base.into(),
            freq_scale: freq_scale.into(),
            magnitude,
            positions,
            freq_factors,
        })
    }

    /// The frequency of pair `i` in radians per position, before `freq_factors`.
    pub fn frequency(&self, i: usize) -> f64 {
        self.freq_scale * self.ratio(i)
    }

    /// Computes theta_base^(-2 i / rotary_dim). The rounding of the exponent alone would cost ln(theta_base) times what
    /// the other roundings do, so it is corrected.
    fn ratio(&self, i: usize) -> f64 {
        let (numerator, denominator) = (-2.0 * i as f64, self.rotary_dim as f64);
        let exponent = numerator / denominator;
        let power = self.theta_base.powf(exponent);
        match (-exponent).mul_add(denominator, numerator) / denominator {
            0.0 => power,
            rest => (power * self.theta_base.ln()).mul_add(rest, power),
        }
    }
}

/// Checks that there are whole pairs, and no more of them than the kernels have room for.
fn expect_rotary_dim(n: i64, what: std::fmt::Arguments) -> Result<()> {
    if n % 2 != 0 {
        return Err(Error::invalid(format!("{what}, expected an even number")));
    }
    if n / 2 > ROPE_MAX_PAIRS {
        return Err(Error::unsupported(format!(
            "{what}, expected at most {}",
            2 * ROPE_MAX_PAIRS
        )));
    }
    Ok(())
}

/// Checks a factor: `0` selects the default, and anything else is finite and at least `least`.
pub(crate) fn factor(field: &str, value: f32, default: f32, least: f32) -> Result<f32> {
    match value {
        0.0 => Ok(default),
        v if v.is_finite() && v >= least => Ok(v),
        _ => Err(Error::invalid(format!(
            "{field} is {value}, expected 0 (which selects {default}) or a finite number of {least} or more"
        ))),
    }
}

/// Checks `norm_epsilon` of either op.
pub(crate) fn norm_epsilon(value: f32) -> Result<f32> {
    factor("norm_epsilon", value, 1e-6, 0.0)
}

/// Checks the weight of the norm of each head: `[head_dim]`.
pub(crate) fn expect_head_norm(view: &View, head_dim: i64) -> Result<()> {
    view.expect_dtype(Dtype::FLOATS)?
        .expect_shape(&[head_dim], "[head_dim]")?
        .expect_dense_rows()
        .map(drop)
}

/// Checks q, k or v: `[tokens, heads, dim]`.
pub(crate) fn expect_heads(view: &View) -> Result<()> {
    view.expect_dtype(Dtype::FLOATS)?
        .expect_rank(3..=3)?
        .expect_dim(0, 0..=i64::from(i32::MAX))?
        .expect_dim(1, 0..=MAX_EXTENT)?
        .expect_dim(2, 0..=MAX_EXTENT)?
        .expect_dense_rows()
        .map(drop)
}

/// Checks indices: `[tokens]`.
pub(crate) fn expect_indices(view: &View, tokens: i64) -> Result<()> {
    view.expect_dtype(&[Dtype::I32])?
        .expect_shape(&[tokens], "[tokens]")?
        .expect_dense_rows()
        .map(drop)
}

/// An operand by its name in messages, and whether it is given.
type Named = (&'static str, bool);

/// Checks that the second operand of each pair is given where the first is. Operands that are listed in both orders
/// need each other.
pub(crate) fn expect_pairs(pairs: &[(Named, Named)]) -> Result<()> {
    match pairs.iter().find(|(one, other)| one.1 && !other.1) {
        Some(((field, _), (other, _))) => {
            let mutual = pairs.iter().any(|(one, needed)| (one.0, needed.0) == (*other, *field));
            Err(Error::invalid(match mutual {
                true => format!("{field} is given and {other}.data is NULL, expected both or neither"),
                false => format!("{field} is given, which needs {other}"),
            }))
        }
        None => Ok(()),
    }
}

/// `rope_angles` of `kernels/common/rotation.cuh`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RopeAngles {
    freq_factors: *const u8,
    coarse: [u64; ROPE_COARSE as usize],
    fine: [u64; ROPE_FINE as usize],
    rotary_dim: i32,
    magnitude: f32,
}

impl RopeAngles {
    /// Frequencies in turns per position are a geometric series: that of pair ROPE_FINE * a + b is coarse[a] * fine[b].
    pub fn new(rotation: &Rotation) -> RopeAngles {
        let series = Series::of(rotation);
        RopeAngles {
            freq_factors: data(&rotation.freq_factors),
            coarse: series.coarse,
            fine: series.fine,
            rotary_dim: rotation.rotary_dim as i32,
            magnitude: rotation.magnitude,
        }
    }
}

/// The frequencies of one rotation. To compute their 48 powers takes longer than all else that a call does, and the
/// layers of a model have the same ones.
#[derive(Clone, Copy)]
struct Series {
    rotary_dim: i64,
    theta_base: u64,
    freq_scale: u64,
    coarse: [u64; ROPE_COARSE as usize],
    fine: [u64; ROPE_FINE as usize],
}

impl Series {
    /// The series that the thread computed last, where that was for the same rotation, else a new one.
    fn of(rotation: &Rotation) -> Series {
        thread_local! {
            static LAST: Cell<Option<Series>> = const { Cell::new(None) };
        }
        let last = LAST.try_with(Cell::get).ok().flatten();
        if let Some(series) = last.filter(|series| series.is_of(rotation)) {
            return series;
        }
        let series = Series {
            rotary_dim: rotation.rotary_dim,
            theta_base: rotation.theta_base.to_bits(),
            freq_scale: rotation.freq_scale.to_bits(),
            coarse: std::array::from_fn(|i| pack(rotation.frequency(ROPE_FINE as usize * i) / std::f64::consts::TAU)),
            fine: std::array::from_fn(|i| pack(rotation.ratio(i))),
        };
        // A thread that is ending has no such place and computes the series each time.
        let _ = LAST.try_with(|last| last.set(Some(series)));
        series
    }

    fn is_of(&self, rotation: &Rotation) -> bool {
        self.rotary_dim == rotation.rotary_dim
            && self.theta_base == rotation.theta_base.to_bits()
            && self.freq_scale == rotation.freq_scale.to_bits()
    }
}

/// Puts the 53 bits of a positive number's mantissa above the 11 bits of its exponent, where the kernels expect them.
fn pack(value: f64) -> u64 {
    let bits = value.to_bits();
    (bits & (u64::MAX >> 12) | 1 << 52) << 11 | bits >> 52 & 0x7FF
}

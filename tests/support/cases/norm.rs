//! `cases/norm.txt`.

use super::*;
use crate::support::*;
use std::cell::LazyCell;

#[derive(Clone, Debug)]
pub struct Case {
    pub x: reflex_dtype,
    pub y: reflex_dtype,
    pub rows: i64,
    /// 0: rows of a matrix.
    pub heads: i64,
    pub dim: i64,
    pub gap: i64,
    pub offset: usize,
    pub residual: Option<reflex_dtype>,
    pub weight: Option<reflex_dtype>,
    values: Values,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Values {
    Normal,
    Special,
    Huge,
}

/// What is written over.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Place {
    None,
    /// y over x.
    X,
    /// The sum over the residual.
    Residual,
}

/// The contents of a case's operands.
pub struct Contents {
    pub x: Vec<f32>,
    pub residual: Vec<f32>,
    pub weight: Vec<f32>,
}

impl Case {
    pub fn read(d: &Descriptor) -> Case {
        Case {
            x: d.dtype("x"),
            y: d.dtype("y"),
            rows: d.number("rows"),
            heads: d.number("heads"),
            dim: d.number("dim"),
            gap: d.number("gap"),
            offset: d.number("offset"),
            residual: d.optional_dtype("residual"),
            weight: d.optional_dtype("weight"),
            values: d.one_of(
                "values",
                &[
                    ("normal", Values::Normal),
                    ("special", Values::Special),
                    ("huge", Values::Huge),
                ],
            ),
            place: d.one_of(
                "place",
                &[("none", Place::None), ("x", Place::X), ("residual", Place::Residual)],
            ),
        }
    }

    pub fn epsilon(&self) -> f32 {
        1e-5
    }

    pub fn contents(&self) -> Contents {
        let mut random = Random::new((self.rows * 7919 + self.dim) as u64);
        let count = (self.rows * self.heads.max(1) * self.dim) as usize;
        let mut x = random.normals(count);
        let dim = self.dim as usize;
        match self.values {
            Values::Normal => {}
            Values::Special => {
                (x[5], x[dim + 7]) = (f32::NAN, f32::INFINITY);
                x[2 * dim..3 * dim].fill(0.0);
            }
            // Squares beyond f32: of one element, and of all.
            Values::Huge => {
                x[dim + 7] = 1e20;
                x[2 * dim..3 * dim].fill(-3e38);
            }
        }
        let mut more = |given: bool, count: usize| if given { random.normals(count) } else { Vec::new() };
        Contents {
            x,
            residual: more(self.residual.is_some(), count),
            weight: more(self.weight.is_some(), dim),
        }
    }

    /// Rows, or heads in rows of three times as many: those of q in a buffer of q, k and v.
    pub fn spec(&self, dtype: reflex_dtype) -> Spec {
        if self.heads == 0 {
            let spec = Spec::new(dtype, &[self.rows, self.dim]).offset(self.offset);
            return match self.values != Values::Normal || self.place != Place::None {
                true => spec.gap(self.gap),
                false => spec.row_gap(self.gap),
            };
        }
        let spec = Spec::new(dtype, &[self.rows, self.heads, self.dim]);
        let size = spec.block_bytes();
        spec.strides(&[3 * self.heads * self.dim * size, self.dim * size, size])
    }
}

impl Problem for Case {
    fn call(&self, io: &Io) -> Call {
        let contents = LazyCell::new(|| self.contents());
        let mut p = reflex_norm_params {
            struct_size: size_of::<reflex_norm_params>() as u32,
            epsilon: self.epsilon(),
            x: match self.place {
                Place::X => io.in_out_of(self.spec(self.x), || contents.x.clone()),
                _ => io.input_of(self.spec(self.x), || contents.x.clone()),
            },
            ..Default::default()
        };
        if let Some(dtype) = self.residual {
            if self.place == Place::Residual {
                p.residual = io.in_out_of(self.spec(dtype), || contents.residual.clone());
                p.residual_out = p.residual;
            } else {
                p.residual = io.input_of(self.spec(dtype), || contents.residual.clone());
                p.residual_out = io.output(self.spec(self.x));
            }
        }
        if let Some(dtype) = self.weight {
            p.weight = io.input_of(Spec::new(dtype, &[self.dim]).offset(self.offset), || {
                contents.weight.clone()
            });
        }
        p.y = match (self.place, self.y) {
            (Place::X, _) => p.x,
            (_, REFLEX_DTYPE_ACT_I8) => io.output(act_i8(&[self.rows, self.dim])),
            (_, dtype) => io.output(self.spec(dtype)),
        };
        Call::new(p, reflex_norm, reflex_norm_selected_kernel)
    }

    fn size(&self, _kernel: &str) -> Size {
        Size::new(self.y)
    }
}

/// What a call of it may be like.
pub fn random_calls(calls: &mut Calls) {
    calls.op(
        "norm",
        (reflex_norm, reflex_norm_supported),
        None,
        |m, p: &mut reflex_norm_params| {
            let shape = m.shape();
            p.x = m.floats(&shape);
            p.residual = m.optional(|m| m.floats(&shape));
            p.weight = m.optional(|m| m.floats(&shape[shape.len() - 1..]));
            let x = p.x;
            p.residual_out = m.optional(|m| m.in_place(x, x.dtype));
            let dtype = m.float_or_act_i8();
            let of = if p.residual.data.is_null() { p.x } else { p.residual };
            p.y = m.in_place(of, dtype);
        },
    );
}

//! `cases/softmax.txt`.

use super::*;
use crate::support::*;
use std::cell::LazyCell;

const INF: f32 = f32::INFINITY;

#[derive(Clone, Debug)]
pub struct Case {
    pub x: reflex_dtype,
    pub y: reflex_dtype,
    pub mask: Option<reflex_dtype>,
    pub shape: Vec<i64>,
    pub scale: f32,
    pub log: bool,
    pub causal: bool,
    over: Over,
    gap: i64,
    offset: usize,
    values: Values,
    in_place: bool,
}

/// The shape of the mask.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Over {
    All,
    Row,
    Rows,
    Ones,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Values {
    Normal,
    Wide,
    Masked,
    Special,
}

/// The contents of a case's operands.
pub struct Contents {
    pub x: Vec<f32>,
    pub mask: Vec<f32>,
}

impl Case {
    pub fn read(d: &Descriptor) -> Case {
        let values = [
            ("normal", Values::Normal),
            ("wide", Values::Wide),
            ("masked", Values::Masked),
            ("special", Values::Special),
        ];
        let over = [
            ("all", Over::All),
            ("row", Over::Row),
            ("rows", Over::Rows),
            ("ones", Over::Ones),
        ];
        Case {
            x: d.dtype("x"),
            y: d.dtype("y"),
            mask: d.optional_dtype("mask"),
            shape: d.list("shape"),
            scale: d.number("scale"),
            log: d.flag("log"),
            causal: d.flag("causal"),
            over: d.one_of("over", &over),
            gap: d.number("gap"),
            offset: d.number("offset"),
            values: d.one_of("values", &values),
            in_place: d.one_of("place", &[("none", false), ("x", true)]),
        }
    }

    pub fn n(&self) -> usize {
        *self.shape.last().expect("a dimension") as usize
    }

    pub fn rows(&self) -> usize {
        self.shape[..self.shape.len() - 1].iter().product::<i64>() as usize
    }

    /// Columns that row number `row` sees.
    pub fn visible(&self, row: usize) -> usize {
        let tokens = self.shape.iter().rev().nth(1).map_or(1, |&t| t as usize);
        match self.causal {
            true => (self.n() + row % tokens + 1).saturating_sub(tokens),
            false => self.n(),
        }
    }

    pub fn mask_shape(&self) -> Vec<i64> {
        let rank = self.shape.len();
        match self.over {
            Over::All => self.shape.clone(),
            Over::Row => self.shape[rank - 1..].to_vec(),
            Over::Rows => self.shape[rank - 2..].to_vec(),
            Over::Ones => (0..rank)
                .map(|i| if i == 0 || i == rank - 1 { self.shape[i] } else { 1 })
                .collect(),
        }
    }

    /// The row of the mask that is added to row number `row` of x.
    pub fn mask_row(&self, row: usize) -> usize {
        let rank = self.shape.len();
        match self.over {
            Over::All => row,
            Over::Row => 0,
            Over::Rows => row % self.shape[rank - 2] as usize,
            Over::Ones => row / self.shape[1..rank - 1].iter().product::<i64>() as usize,
        }
    }

    pub fn contents(&self) -> Contents {
        let (rows, n) = (self.rows(), self.n());
        let mut random = Random::new((rows * 7919 + n) as u64);
        let mut x = random.normals(rows * n);
        let mut mask = Vec::new();
        match self.values {
            Values::Normal => {}
            Values::Wide => x.iter_mut().for_each(|x| *x *= 100.0),
            Values::Masked => {
                x.iter_mut().step_by(5).for_each(|x| *x = -INF);
                x[n..2 * n].fill(-INF);
            }
            Values::Special => {
                x[3] = f32::NAN;
                x[n + 4] = INF;
                x[2 * n..3 * n].fill(-INF);
                x[2 * n + 5] = f32::NAN;
                x[3 * n..4 * n].fill(-INF);
                x[4 * n..5 * n].fill(INF);
            }
        }
        if self.mask.is_some() {
            mask = random.normals(self.mask_shape().iter().product::<i64>() as usize);
            mask.iter_mut().skip(1).step_by(3).for_each(|m| *m = -INF);
            if mask.len() >= 2 * n {
                mask[n..2 * n].fill(-INF);
            }
            for row in 0..rows {
                let of_row = &mask[self.mask_row(row) * n..][..n];
                for (x, _) in x[row * n..].iter_mut().zip(of_row).filter(|(_, m)| **m == -INF) {
                    *x = f32::NAN;
                }
            }
        }
        for row in 0..rows {
            let visible = self.visible(row);
            x[row * n + visible..(row + 1) * n].fill(f32::NAN);
            // A row of the mask that serves others may be seen further by those.
            if !mask.is_empty()
                && (0..rows).all(|r| self.mask_row(r) != self.mask_row(row) || self.visible(r) <= visible)
            {
                mask[self.mask_row(row) * n + visible..][..n - visible].fill(f32::NAN);
            }
        }
        Contents { x, mask }
    }

    fn spec(&self, dtype: reflex_dtype, shape: &[i64]) -> Spec {
        Spec::new(dtype, shape).offset(self.offset).gap(self.gap)
    }
}

impl Problem for Case {
    fn call(&self, io: &Io) -> Call {
        let contents = LazyCell::new(|| self.contents());
        let spec = self.spec(self.x, &self.shape);
        let x = match self.in_place {
            true => io.in_out_of(spec, || contents.x.clone()),
            false => io.input_of(spec, || contents.x.clone()),
        };
        let mask = match self.mask {
            Some(dtype) => io.input_of(self.spec(dtype, &self.mask_shape()), || contents.mask.clone()),
            None => reflex_tensor::default(),
        };
        let log = if self.log { REFLEX_SOFTMAX_LOG } else { 0 };
        let causal = if self.causal { REFLEX_SOFTMAX_CAUSAL } else { 0 };
        let p = reflex_softmax_params {
            struct_size: size_of::<reflex_softmax_params>() as u32,
            flags: log | causal,
            scale: self.scale,
            reserved: 0,
            x,
            mask,
            y: match self.in_place {
                true => x,
                false => io.output(self.spec(self.y, &self.shape)),
            },
        };
        Call::new(p, reflex_softmax, reflex_softmax_selected_kernel)
    }

    fn size(&self, _kernel: &str) -> Size {
        Size {
            // Small numbers of F16 are multiples of this.
            at_least: if self.y == REFLEX_DTYPE_F16 {
                1.0 / (1 << 24) as f32
            } else {
                0.0
            },
            ..Size::new(self.y)
        }
    }

    fn bounded_by(&self, kernel: &str) -> String {
        format!("{kernel}{}", if self.log { "@log" } else { "" })
    }
}

/// What a call of it may be like.
pub fn random_calls(calls: &mut Calls) {
    calls.op(
        "softmax",
        (reflex_softmax, reflex_softmax_supported),
        None,
        |m, p: &mut reflex_softmax_params| {
            let shape = m.shape();
            p.flags = m.pick(&[0, REFLEX_SOFTMAX_LOG, REFLEX_SOFTMAX_CAUSAL, 3]) | u32::from(m.mishap(40)) << 2;
            p.scale = if m.mishap(20) { m.pick(&[-1.0, f32::NAN]) } else { 0.5 };
            p.x = m.floats(&shape);
            let skipped = m.random.below(shape.len() as u64) as usize;
            let mut of_mask = shape[skipped..].to_vec();
            let outer = of_mask.len() - 1;
            for dim in &mut of_mask[..outer] {
                *dim = if m.one_in(3) { 1 } else { *dim };
            }
            p.mask = m.optional(|m| m.floats(&of_mask));
            let dtype = m.float();
            p.y = m.in_place(p.x, dtype);
        },
    );
}

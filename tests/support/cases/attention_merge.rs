//! `cases/attention_merge.txt`.

use super::*;
use crate::support::*;
use std::cell::LazyCell;

const INF: f32 = f32::INFINITY;

#[derive(Clone, Debug)]
pub struct Case {
    pub a: reflex_dtype,
    pub b: reflex_dtype,
    pub y: reflex_dtype,
    pub shape: Vec<i64>,
    pub y_lse: bool,
    lse: Lse,
    heads_first: bool,
    gap: i64,
    offset: usize,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Lse {
    Near,
    Far,
    None,
    Special,
}

/// What y is written over, and its logarithms over those.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Place {
    None,
    A,
    B,
}

/// The contents of a case's operands.
pub struct Contents {
    pub a: Vec<f32>,
    pub a_lse: Vec<f32>,
    pub b: Vec<f32>,
    pub b_lse: Vec<f32>,
}

impl Case {
    pub fn read(d: &Descriptor) -> Case {
        let logarithms = [
            ("near", Lse::Near),
            ("far", Lse::Far),
            ("none", Lse::None),
            ("special", Lse::Special),
        ];
        Case {
            a: d.dtype("a"),
            b: d.dtype("b"),
            y: d.dtype("y"),
            shape: d.list("shape"),
            y_lse: d.flag("y_lse"),
            lse: d.one_of("lse", &logarithms),
            heads_first: d.one_of("layout", &[("plain", false), ("heads_first", true)]),
            gap: d.number("gap"),
            offset: d.number("offset"),
            place: d.one_of("place", &[("none", Place::None), ("a", Place::A), ("b", Place::B)]),
        }
    }

    pub fn rows(&self) -> usize {
        self.shape[..self.shape.len() - 1].iter().product::<i64>() as usize
    }

    pub fn dim(&self) -> usize {
        *self.shape.last().expect("a dimension") as usize
    }

    pub fn contents(&self) -> Contents {
        let (rows, dim) = (self.rows(), self.dim());
        let mut random = Random::new((rows * 7919 + dim) as u64);
        let [a, b] = [(); 2].map(|_| random.normals(rows * dim));
        let mut logarithms = |most: f32| -> Vec<f32> { (0..rows).map(|_| random.range(-most, most)).collect() };
        let most = if self.lse == Lse::Far { 200.0 } else { 3.0 };
        let [a_lse, b_lse] = [(); 2].map(|_| logarithms(most));
        let mut contents = Contents { a, a_lse, b, b_lse };
        let c = &mut contents;
        match self.lse {
            Lse::Near | Lse::Far => {}
            Lse::None => {
                for row in 0..rows {
                    let dead = |lse: &mut [f32], values: &mut [f32]| {
                        lse[row] = -INF;
                        values[row * dim..(row + 1) * dim].fill(f32::NAN);
                    };
                    if row % 4 == 1 || row % 4 == 3 {
                        dead(&mut c.a_lse, &mut c.a);
                    }
                    if row % 4 >= 2 {
                        dead(&mut c.b_lse, &mut c.b);
                    }
                }
            }
            Lse::Special => {
                let a_lse = [INF, f32::NAN, -INF, 1.0, -INF, f32::NAN, INF, 300.0];
                c.a_lse[..8].copy_from_slice(&a_lse);
                c.b_lse[..8].copy_from_slice(&[0.0, 0.0, f32::NAN, INF, INF, -INF, INF, 0.0]);
                // Of weight 0, and of weight 1.
                c.b[7 * dim] = INF;
                c.a[7 * dim + 1] = INF;
                c.a[8 * dim] = f32::NAN;
                c.b[8 * dim + 1] = -INF;
            }
        }
        contents
    }

    fn spec(&self, dtype: reflex_dtype) -> Spec {
        Spec::new(dtype, &self.shape).offset(self.offset).gap(self.gap)
    }

    fn lse_spec(&self) -> Spec {
        let outer = &self.shape[..self.shape.len() - 1];
        let spec = Spec::new(REFLEX_DTYPE_F32, outer);
        match (self.heads_first, outer) {
            (true, [tokens, _]) => spec.strides(&[4, 4 * tokens]),
            (true, _) => panic!("layout=heads_first of {:?}", self.shape),
            (false, _) => spec,
        }
    }
}

impl Problem for Case {
    fn call(&self, io: &Io) -> Call {
        let contents = LazyCell::new(|| self.contents());
        let operand = |place: Place, spec: Spec, values: &dyn Fn() -> Vec<f32>| match self.place == place {
            true => io.in_out_of(spec, values),
            false => io.input_of(spec, values),
        };
        // Where no logarithms are asked for, none are written.
        let lse = |place: Place, values: &dyn Fn() -> Vec<f32>| match self.place == place && self.y_lse {
            true => io.in_out_of(self.lse_spec(), values),
            false => io.input_of(self.lse_spec(), values),
        };
        let a = operand(Place::A, self.spec(self.a), &|| contents.a.clone());
        let a_lse = lse(Place::A, &|| contents.a_lse.clone());
        let b = operand(Place::B, self.spec(self.b), &|| contents.b.clone());
        let b_lse = lse(Place::B, &|| contents.b_lse.clone());
        let (y, over) = match self.place {
            Place::None => (io.output(self.spec(self.y)), None),
            Place::A => (a, Some(a_lse)),
            Place::B => (b, Some(b_lse)),
        };
        let p = reflex_attention_merge_params {
            struct_size: size_of::<reflex_attention_merge_params>() as u32,
            reserved: 0,
            a,
            a_lse,
            b,
            b_lse,
            y,
            y_lse: match self.y_lse {
                true => over.unwrap_or_else(|| io.output(self.lse_spec())),
                false => reflex_tensor::default(),
            },
        };
        Call::new(p, reflex_attention_merge, reflex_attention_merge_selected_kernel)
    }

    fn size(&self, _kernel: &str) -> Size {
        Size::new(self.y)
    }
}

/// What a call of it may be like.
pub fn random_calls(calls: &mut Calls) {
    calls.op(
        "attention_merge",
        (reflex_attention_merge, reflex_attention_merge_supported),
        None,
        |m, p: &mut reflex_attention_merge_params| {
            let mut shape = m.shape();
            if shape.len() == 1 && !m.mishap(20) {
                let heads = m.dim();
                shape.insert(0, heads);
            }
            let outer = &shape[..shape.len() - 1];
            let outer = if outer.is_empty() { &[1] } else { outer };
            p.a = m.floats(&shape);
            p.b = m.floats(&shape);
            p.a_lse = m.tensor(REFLEX_DTYPE_F32, outer);
            p.b_lse = m.tensor(REFLEX_DTYPE_F32, outer);
            let dtype = m.float();
            let of = if m.one_in(2) { p.a } else { p.b };
            p.y = m.in_place(of, dtype);
            let a_lse = p.a_lse;
            p.y_lse = m.optional(|m| m.in_place(a_lse, REFLEX_DTYPE_F32));
            p.reserved = u32::from(m.mishap(40));
        },
    );
}

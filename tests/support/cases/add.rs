//! `cases/add.txt`.

use super::*;
use crate::support::*;
use std::cell::LazyCell;

#[derive(Clone, Debug)]
pub struct Case {
    pub a: reflex_dtype,
    pub b: reflex_dtype,
    pub y: reflex_dtype,
    /// More than 1: a dimension before the rows.
    outer: i64,
    pub rows: i64,
    pub n: i64,
    pub gap: i64,
    pub offset: usize,
    pub scale: f32,
    /// One row of b for all of a.
    pub broadcast: bool,
    special: bool,
    place: Place,
}

/// What y is written over.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Place {
    None,
    A,
    B,
}

impl Case {
    pub fn read(d: &Descriptor) -> Case {
        Case {
            a: d.dtype("a"),
            b: d.dtype("b"),
            y: d.dtype("y"),
            outer: d.number("outer"),
            rows: d.number("rows"),
            n: d.number("n"),
            gap: d.number("gap"),
            offset: d.number("offset"),
            scale: d.number("scale"),
            broadcast: d.flag("broadcast"),
            special: d.one_of("values", &[("normal", false), ("special", true)]),
            place: d.one_of("place", &[("none", Place::None), ("a", Place::A), ("b", Place::B)]),
        }
    }

    fn spec(&self, dtype: reflex_dtype) -> Spec {
        let shape = [self.outer, self.rows, self.n];
        let shape = if self.outer == 1 { &shape[1..] } else { &shape };
        let spec = Spec::new(dtype, shape).offset(self.offset);
        match self.special || self.place != Place::None {
            true => spec.gap(self.gap),
            false => spec.row_gap(self.gap),
        }
    }

    /// Values of a and of b.
    pub fn contents(&self) -> [Vec<f32>; 2] {
        let mut random = Random::new((self.rows * 7919 + self.n) as u64);
        let count = (self.outer * self.rows * self.n) as usize;
        let mut a = random.normals(count);
        let mut b = random.normals(if self.broadcast { self.n as usize } else { count });
        if self.special {
            let inf = f32::INFINITY;
            a[..4].copy_from_slice(&[inf, f32::NAN, -inf, f32::MAX]);
            b[..4].copy_from_slice(&[inf, 1.0, 1.0, f32::MIN]);
        }
        [a, b]
    }
}

impl Problem for Case {
    fn call(&self, io: &Io) -> Call {
        let contents = LazyCell::new(|| self.contents());
        let operand = |spec: Spec, i: usize, place: Place| match self.place == place {
            true => io.in_out_of(spec, || contents[i].clone()),
            false => io.input_of(spec, || contents[i].clone()),
        };
        let b_spec = match self.broadcast {
            true => Spec::new(self.b, &[self.n]).offset(self.offset),
            false => self.spec(self.b),
        };
        let (a, b) = (operand(self.spec(self.a), 0, Place::A), operand(b_spec, 1, Place::B));
        let p = reflex_add_params {
            struct_size: size_of::<reflex_add_params>() as u32,
            scale: self.scale,
            a,
            b,
            y: match self.place {
                Place::None => io.output(self.spec(self.y)),
                Place::A => a,
                Place::B => b,
            },
        };
        Call::new(p, reflex_add, reflex_add_selected_kernel)
    }

    fn size(&self, _kernel: &str) -> Size {
        Size::new(self.y)
    }
}

/// What a call of it may be like.
pub fn random_calls(calls: &mut Calls) {
    calls.op(
        "add",
        (reflex_add, reflex_add_supported),
        None,
        |m, p: &mut reflex_add_params| {
            let shape = m.shape();
            p.a = m.floats(&shape);
            let row = m.one_in(3);
            p.b = m.floats(if row { &shape[shape.len() - 1..] } else { &shape });
            let dtype = m.float();
            p.y = m.in_place(p.a, dtype);
        },
    );
}

//! `cases/softcap.txt`.

use super::*;
use crate::support::*;

#[derive(Clone, Debug)]
pub struct Case {
    pub x: reflex_dtype,
    pub y: reflex_dtype,
    pub rows: i64,
    pub n: i64,
    pub cap: f32,
    gap: i64,
    offset: usize,
    values: Values,
    in_place: bool,
}

#[derive(Clone, Copy, Debug)]
enum Values {
    Normal,
    Wide,
    Special,
}

impl Case {
    pub fn read(d: &Descriptor) -> Case {
        let values = [
            ("normal", Values::Normal),
            ("wide", Values::Wide),
            ("special", Values::Special),
        ];
        Case {
            x: d.dtype("x"),
            y: d.dtype("y"),
            rows: d.number("rows"),
            n: d.number("n"),
            cap: d.number("cap"),
            gap: d.number("gap"),
            offset: d.number("offset"),
            values: d.one_of("values", &values),
            in_place: d.one_of("place", &[("none", false), ("x", true)]),
        }
    }

    fn spec(&self, dtype: reflex_dtype) -> Spec {
        Spec::new(dtype, &[self.rows, self.n])
            .offset(self.offset)
            .row_gap(self.gap)
    }

    pub fn contents(&self) -> Vec<f32> {
        let mut random = Random::new((self.rows * 7919 + self.n) as u64);
        let mut x = random.normals((self.rows * self.n) as usize);
        match self.values {
            Values::Normal => {}
            Values::Wide => x.iter_mut().for_each(|x| *x *= 100.0),
            Values::Special => x[..5].copy_from_slice(&[f32::INFINITY, f32::NAN, f32::NEG_INFINITY, 0.0, -0.0]),
        }
        x
    }
}

impl Problem for Case {
    fn call(&self, io: &Io) -> Call {
        let x = match self.in_place {
            true => io.in_out_of(self.spec(self.x), || self.contents()),
            false => io.input_of(self.spec(self.x), || self.contents()),
        };
        let p = reflex_softcap_params {
            struct_size: size_of::<reflex_softcap_params>() as u32,
            cap: self.cap,
            x,
            y: if self.in_place { x } else { io.output(self.spec(self.y)) },
        };
        Call::new(p, reflex_softcap, reflex_softcap_selected_kernel)
    }

    fn size(&self, _kernel: &str) -> Size {
        Size::new(self.y)
    }
}

/// What a call of it may be like.
pub fn random_calls(calls: &mut Calls) {
    calls.op(
        "softcap",
        (reflex_softcap, reflex_softcap_supported),
        None,
        |m, p: &mut reflex_softcap_params| {
            let shape = m.shape();
            p.cap = if m.mishap(20) {
                m.pick(&[0.0, -1.0, f32::NAN])
            } else {
                30.0
            };
            p.x = m.floats(&shape);
            let dtype = m.float();
            p.y = m.in_place(p.x, dtype);
        },
    );
}

use crate::support::*;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const F16: reflex_dtype = REFLEX_DTYPE_F16;
const BF16: reflex_dtype = REFLEX_DTYPE_BF16;

#[derive(Clone, Copy)]
struct Case {
    types: [reflex_dtype; 3],
    rows: i64,
    n: i64,
    gap: i64,
    offset: usize,
    scale: f32,
    broadcast: bool,
}

impl Case {
    fn launch(self, io: &Io) -> Launch {
        let mut random = Random::new((self.rows * 7919 + self.n) as u64);
        let count = (self.rows * self.n) as usize;
        let [a, b, y] = self.types;
        let spec = |dtype| {
            Spec::new(dtype, &[self.rows, self.n])
                .row_gap(self.gap)
                .offset(self.offset)
        };
        let p = reflex_add_params {
            struct_size: size_of::<reflex_add_params>() as u32,
            scale: self.scale,
            a: io.input(spec(a), &random.normals(count)),
            b: match self.broadcast {
                true => io.input(
                    Spec::new(b, &[self.n]).offset(self.offset),
                    &random.normals(self.n as usize),
                ),
                false => io.input(spec(b), &random.normals(count)),
            },
            y: io.output(spec(y)),
        };
        Box::new(move |context, stream| reflex_add(context, &p, stream))
    }
}

pub fn tests(suite: &mut Suite) {
    let base = Case {
        types: [F32; 3],
        rows: 3,
        n: 1024,
        gap: 0,
        offset: 0,
        scale: 0.0,
        broadcast: false,
    };
    // One fused operation and one rounding, the same on both sides: every bit is equal.
    let mut add = |what: String, case: Case| {
        suite.parity(format!("add::{what}"), Tolerance::EXACT, move |io| case.launch(io));
    };
    for n in [1, 7, 8, 33, 256, 1000, 1023, 1032, 2560, 20001] {
        for (scale, broadcast) in [(0.0, false), (0.0, true), (-0.3, false), (1.7, true)] {
            let case = Case {
                n,
                scale,
                broadcast,
                ..base
            };
            add(format!("n_{n}_scale_{scale}_broadcast_{broadcast}"), case);
        }
    }
    for rows in [0, 1, 2, 257] {
        let case = Case { rows, n: 136, ..base };
        add(format!("rows_{rows}"), case);
    }
    for a in [F32, F16, BF16] {
        for b in [F32, F16, BF16] {
            for y in [F32, F16, BF16] {
                let case = Case {
                    types: [a, b, y],
                    scale: 0.7,
                    ..base
                };
                add(format!("types_{}_{}_{}", a.0, b.0, y.0), case);
            }
        }
    }
    for (gap, offset) in [(1, 0), (8, 0), (0, 1), (3, 1), (0, 4)] {
        add(format!("gap_{gap}_offset_{offset}"), Case { gap, offset, ..base });
    }
    for place in [0, 1] {
        suite.parity(format!("add::in_place_{place}"), Tolerance::EXACT, move |io| {
            let spec = || Spec::new(F16, &[2, 3, 64]);
            let a = io.in_out(spec(), &Random::new(1).normals(384));
            let b = io.in_out(spec(), &Random::new(2).normals(384));
            let p = reflex_add_params {
                struct_size: size_of::<reflex_add_params>() as u32,
                a,
                b,
                y: [a, b][place],
                ..Default::default()
            };
            Box::new(move |context, stream| reflex_add(context, &p, stream))
        });
    }
    suite.parity("add::nan_and_infinity", Tolerance::EXACT, |io| {
        let inf = f32::INFINITY;
        let p = reflex_add_params {
            struct_size: size_of::<reflex_add_params>() as u32,
            scale: -1.0,
            a: io.input(Spec::new(F32, &[4]), &[inf, f32::NAN, -inf, f32::MAX]),
            b: io.input(Spec::new(F32, &[4]), &[inf, 1.0, 1.0, f32::MIN]),
            y: io.output(Spec::new(F16, &[4])),
        };
        Box::new(move |context, stream| reflex_add(context, &p, stream))
    });
}

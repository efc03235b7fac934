//! `cases/argmax.txt`.

use super::*;
use crate::support::*;

#[derive(Clone, Debug)]
pub struct Case {
    pub x: reflex_dtype,
    pub rows: i64,
    pub n: i64,
    gap: i64,
    offset: usize,
    special: bool,
    pub counters: Vec<i32>,
    /// Scratch is given, without which rows are not split.
    workspace: bool,
}

impl Case {
    pub fn read(d: &Descriptor) -> Case {
        Case {
            x: d.dtype("x"),
            rows: d.number("rows"),
            n: d.number("n"),
            gap: d.number("gap"),
            offset: d.number("offset"),
            special: d.one_of("values", &[("normal", false), ("special", true)]),
            counters: d.list("counters"),
            workspace: d.flag("workspace"),
        }
    }

    /// In F16 and BF16 a long row has many equal greatest values.
    pub fn contents(&self) -> Vec<f32> {
        match self.special {
            true => special(self.n as usize).concat(),
            false => Random::new(self.n as u64).normals((self.rows * self.n) as usize),
        }
    }
}

fn special(n: usize) -> [Vec<f32>; 8] {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let mut rows = [
        vec![nan; n],
        vec![-inf; n],
        vec![inf; n],
        vec![1.0; n],
        vec![-0.0; n],
        vec![nan; n],
        vec![-inf; n],
        vec![-3.0; n],
    ];
    rows[4][n - 1] = 0.0; // equal to -0: not greater
    rows[5][n / 2] = -inf; // greater than NaN
    rows[6][n - 2] = f32::MIN;
    rows[7][1] = nan;
    rows[7][3] = -2.0;
    rows[7][4] = -2.0;
    rows
}

impl Problem for Case {
    fn call(&self, io: &Io) -> Call {
        let x = Spec::new(self.x, &[self.rows, self.n]);
        let mut p = reflex_argmax_params {
            struct_size: size_of::<reflex_argmax_params>() as u32,
            x: io.input_of(x.offset(self.offset).gap(self.gap), || self.contents()),
            ids: io.output(Spec::new(REFLEX_DTYPE_I32, &[self.rows])),
            ..Default::default()
        };
        if !self.counters.is_empty() {
            p.counters = io.in_out_ints(&self.counters);
        }
        if self.workspace {
            ok(reflex_argmax_workspace_size(io.env.context, &p, &mut p.workspace_size));
            p.workspace = io.workspace(p.workspace_size);
        }
        Call::new(p, reflex_argmax, reflex_argmax_selected_kernel)
    }

    fn size(&self, _kernel: &str) -> Size {
        Size::new(REFLEX_DTYPE_I32)
    }
}

/// What a call of it may be like.
pub fn random_calls(calls: &mut Calls) {
    /// Of a vocabulary; the last is long enough for several blocks to share a row.
    const VOCABULARIES: [i64; 5] = [1, 7, 100, 1000, 1 << 15];
    calls.op(
        "argmax",
        (reflex_argmax, reflex_argmax_supported),
        scratch!(reflex_argmax_workspace_size, true),
        |m, p: &mut reflex_argmax_params| {
            let (n, rows, count) = (m.pick(&VOCABULARIES), m.dim(), m.dim());
            p.x = m.floats(&[if n > 1000 { rows.min(1) } else { rows }, n]);
            p.ids = m.ints(p.x.shape[0]);
            p.counters = m.optional(|m| m.ints(count));
        },
    );
}

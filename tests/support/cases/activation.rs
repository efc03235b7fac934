//! `cases/activation.txt`.

use super::*;
use crate::support::*;
use std::cell::LazyCell;

#[derive(Clone, Debug)]
pub struct Case {
    pub kind: reflex_activation_kind,
    pub gate: reflex_dtype,
    /// The factor's type.
    pub up: Option<reflex_dtype>,
    pub y: reflex_dtype,
    pub rows: i64,
    pub n: i64,
    gap: i64,
    offset: usize,
    extremes: bool,
    /// Gate and up are halves of rows of one buffer, and y is written over up.
    merged: bool,
}

const EXTREMES: [f32; 16] = [
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    f32::MAX,
    f32::MIN,
    -88.0,
    -103.0,
    -199.0,
    -201.0,
    88.0,
    1e-40,
    -1e-40,
    0.0,
    -0.0,
    1e-7,
    -12.0,
];

impl Case {
    pub fn read(d: &Descriptor) -> Case {
        Case {
            kind: d.one_of("kind", ACTIVATIONS),
            gate: d.dtype("gate"),
            up: d.optional_dtype("up"),
            y: d.dtype("y"),
            rows: d.number("rows"),
            n: d.number("n"),
            gap: d.number("gap"),
            offset: d.number("offset"),
            extremes: d.one_of("values", &[("normal", false), ("extreme", true)]),
            merged: d.flag("merged"),
        }
    }

    fn spec(&self, dtype: reflex_dtype) -> Spec {
        let spec = Spec::new(dtype, &[self.rows, self.n]).offset(self.offset);
        match self.extremes {
            true => spec.gap(self.gap),
            false => spec.row_gap(self.gap),
        }
    }

    /// Values of gate and up.
    pub fn contents(&self) -> [Vec<f32>; 2] {
        let mut random = Random::new((self.rows * 7919 + self.n) as u64);
        let count = (self.rows * self.n) as usize;
        let gate: Vec<f32> = match self.extremes {
            true => EXTREMES.iter().copied().cycle().take(count).collect(),
            false => (0..count).map(|_| 3.0 * random.normal()).collect(),
        };
        let up = if self.up.is_some() {
            random.normals(count)
        } else {
            Vec::new()
        };
        [gate, up]
    }

    /// Over three outer dimensions.
    fn merged(&self, io: &Io) -> reflex_activation_params {
        let n = self.n;
        let values = Random::new(4).normals((2 * 3 * 5 * 2 * n) as usize);
        let merged = io.in_out(Spec::new(self.gate, &[2, 3, 5, 2 * n]), &values);
        let size = i64::from(reflex_dtype_block_bytes(self.gate));
        let half = |first: i64| reflex_tensor {
            data: merged.data.wrapping_byte_add((first * size) as usize),
            shape: [2, 3, 5, n],
            stride: [30 * size * n, 10 * size * n, 2 * size * n, size],
            ..merged
        };
        reflex_activation_params {
            struct_size: size_of::<reflex_activation_params>() as u32,
            kind: self.kind,
            gate: half(0),
            up: half(n),
            y: half(n),
        }
    }
}

impl Problem for Case {
    fn call(&self, io: &Io) -> Call {
        let p = if self.merged {
            self.merged(io)
        } else {
            let contents = LazyCell::new(|| self.contents());
            let gate = io.input_of(self.spec(self.gate), || contents[0].clone());
            let up = self
                .up
                .map(|dtype| io.input_of(self.spec(dtype), || contents[1].clone()));
            reflex_activation_params {
                struct_size: size_of::<reflex_activation_params>() as u32,
                kind: self.kind,
                gate,
                up: up.unwrap_or_default(),
                y: io.output(match self.y {
                    REFLEX_DTYPE_ACT_I8 => act_i8(&[self.rows, self.n]),
                    dtype => self.spec(dtype),
                }),
            }
        };
        Call::new(p, reflex_activation, reflex_activation_selected_kernel)
    }

    fn size(&self, _kernel: &str) -> Size {
        Size::new(self.y)
    }
}

/// What a call of it may be like.
pub fn random_calls(calls: &mut Calls) {
    calls.op(
        "activation",
        (reflex_activation, reflex_activation_supported),
        None,
        |m, p: &mut reflex_activation_params| {
            let shape = m.shape();
            p.kind = reflex_activation_kind(m.random.below(3) as u32);
            p.gate = m.floats(&shape);
            p.up = m.optional(|m| m.floats(&shape));
            let dtype = m.float_or_act_i8();
            p.y = m.in_place(p.gate, dtype);
        },
    );
}

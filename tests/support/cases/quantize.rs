//! `cases/quantize.txt`.

use super::*;
use crate::support::*;

#[derive(Clone, Debug)]
pub struct Case {
    pub x: reflex_dtype,
    pub shape: Vec<i64>,
    gap: i64,
    offset: usize,
    any_bits: bool,
    kernel: String,
}

impl Case {
    pub fn read(d: &Descriptor) -> Case {
        Case {
            x: d.dtype("x"),
            shape: d.list("shape"),
            gap: d.number("gap"),
            offset: d.number("offset"),
            any_bits: d.one_of("values", &[("normal", false), ("any_bits", true)]),
            kernel: d.text("kernel").to_string(),
        }
    }

    pub fn contents(&self) -> Vec<f32> {
        let count = self.shape.iter().product::<i64>() as usize;
        match self.any_bits {
            true => any_bits(count),
            false => Random::new(*self.shape.last().expect("a dimension") as u64).normals(count),
        }
    }
}

/// NaN, infinities, denormals, blocks of zeros, every exponent.
fn any_bits(count: usize) -> Vec<f32> {
    let mut random = Random::new(3);
    let mut x: Vec<f32> = (0..32 * 200).map(|_| f32::from_bits(random.bits() as u32)).collect();
    for exponent in -150..128 {
        x.extend((0..32).map(|_| random.normal() * 2f32.powi(exponent)));
    }
    // About the largest magnitude whose inverse overflows; halves of steps; nothing.
    x.extend((0..32 * 64).map(|i| f32::from_bits(0x027F_0000 + 997 * i)));
    x.extend((0..32).map(|i| if i == 0 { 127.0 } else { i as f32 - 15.5 }));
    x.extend([0.0; 32]);
    assert_eq!(x.len(), count, "values=any_bits are so many");
    x
}

impl Problem for Case {
    fn call(&self, io: &Io) -> Call {
        let spec = Spec::new(self.x, &self.shape);
        let spec = if self.shape.len() == 4 {
            spec.row_gap(self.gap)
        } else {
            spec.gap(self.gap)
        };
        let p = reflex_quantize_params {
            struct_size: size_of::<reflex_quantize_params>() as u32,
            x: io.input_of(spec.offset(self.offset), || self.contents()),
            y: io.output(match self.shape.len() {
                1 => Spec::new(REFLEX_DTYPE_ACT_I8, &self.shape),
                _ => act_i8(&self.shape),
            }),
            ..Default::default()
        };
        Call::new(p, reflex_quantize, reflex_quantize_selected_kernel)
    }

    fn size(&self, _kernel: &str) -> Size {
        Size::new(REFLEX_DTYPE_ACT_I8)
    }

    fn expects_kernel(&self) -> Option<(&str, u32)> {
        Some((&self.kernel, 75))
    }
}

/// What a call of it may be like.
pub fn random_calls(calls: &mut Calls) {
    calls.op(
        "quantize",
        (reflex_quantize, reflex_quantize_supported),
        None,
        |m, p: &mut reflex_quantize_params| {
            let shape = m.shape();
            p.x = m.floats(&shape);
            p.y = m.tensor(REFLEX_DTYPE_ACT_I8, &shape);
        },
    );
}

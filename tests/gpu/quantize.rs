use crate::support::*;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const F16: reflex_dtype = REFLEX_DTYPE_F16;
const BF16: reflex_dtype = REFLEX_DTYPE_BF16;

fn launch(x: reflex_tensor, y: reflex_tensor) -> Launch {
    let p = reflex_quantize_params {
        struct_size: size_of::<reflex_quantize_params>() as u32,
        x,
        y,
        ..Default::default()
    };
    Box::new(move |context, stream| reflex_quantize(context, &p, stream))
}

pub fn tests(suite: &mut Suite) {
    // A maximum, two quotients, a product and a rounding, each exact or rounded as IEEE 754 says: every bit is equal.
    let mut add = |what: String, dtype, shape: [i64; 2]| {
        suite.parity(format!("quantize::{what}"), Tolerance::EXACT, move |io| {
            let spec = Spec::new(dtype, &shape);
            let x = Random::new(shape[1] as u64).normals(spec.elements());
            launch(io.input(spec, &x), io.output(act_i8(&shape)))
        });
    };
    for k in [32, 64, 96, 224, 256, 1056, 2560, 8192, 20000] {
        add(format!("k_{k}"), F32, [1, k]);
        add(format!("rows_3_k_{k}"), F16, [3, k]);
    }
    for rows in [0, 2, 257] {
        add(format!("rows_{rows}"), BF16, [rows, 160]);
    }
    for (name, dtype) in [("f32", F32), ("f16", F16), ("bf16", BF16)] {
        for (gap, offset) in [(0, 0), (1, 0), (8, 0), (0, 1), (3, 5)] {
            let name = format!("quantize::{name}_gap_{gap}_offset_{offset}");
            suite.parity(name, Tolerance::EXACT, move |io| {
                let shape = [2, 3, 5, 192];
                let x = Random::new(2).normals(2 * 3 * 5 * 192);
                let spec = Spec::new(dtype, &shape).row_gap(gap).offset(offset);
                launch(io.input(spec, &x), io.output(act_i8(&shape)))
            });
        }
    }
    // NaN, infinities, denormals, blocks of zeros, every exponent: by both kernels.
    for offset in [0, 1] {
        suite.parity(
            format!("quantize::any_bits_offset_{offset}"),
            Tolerance::EXACT,
            move |io| {
                let mut random = Random::new(3);
                let mut x: Vec<f32> = (0..32 * 200).map(|_| f32::from_bits(random.bits() as u32)).collect();
                for exponent in -150..128 {
                    x.extend((0..32).map(|_| random.normal() * 2f32.powi(exponent)));
                }
                // About the largest magnitude whose inverse overflows; halves of steps; nothing.
                x.extend((0..32 * 64).map(|i| f32::from_bits(0x027F_0000 + 997 * i)));
                x.extend((0..32).map(|i| if i == 0 { 127.0 } else { i as f32 - 15.5 }));
                x.extend([0.0; 32]);
                let shape = [x.len() as i64];
                let spec = Spec::new(F32, &shape).offset(offset);
                launch(io.input(spec, &x), io.output(Spec::new(REFLEX_DTYPE_ACT_I8, &shape)))
            },
        );
    }
    suite.test("quantize::selects_by_alignment", |env| {
        for (offset, kernel) in [(0, "vec8"), (1, "scalar")] {
            let io = Io::new(env);
            let p = reflex_quantize_params {
                struct_size: size_of::<reflex_quantize_params>() as u32,
                x: io.input(Spec::new(F16, &[1, 64]).offset(offset), &[1.0; 64]),
                y: io.output(act_i8(&[1, 64])),
                ..Default::default()
            };
            let name = selected(env, reflex_quantize_selected_kernel, &p);
            assert_eq!(name, format!("reflex_quantize_{kernel}"));
        }
    });
}

use crate::support::*;
use reflex_infer::*;

/// The formula in f64.
fn oracle(x: &[f32], residual: Option<&[f32]>, weight: &[f32], epsilon: f64) -> Vec<f64> {
    let h: Vec<f64> = (0..x.len())
        .map(|i| f64::from(x[i]) + residual.map_or(0.0, |r| f64::from(r[i])))
        .collect();
    let mean = h.iter().map(|v| v * v).sum::<f64>() / h.len() as f64;
    let scale = 1.0 / (mean + epsilon).sqrt();
    h.iter().zip(weight).map(|(v, &w)| v * scale * f64::from(w)).collect()
}

#[test]
fn equals_the_formula() {
    let env = Env::cpu();
    for dim in [1usize, 5, 64, 1000, 2560] {
        let mut random = Random::new(dim as u64);
        let (x, r, w) = (random.normals(3 * dim), random.normals(3 * dim), random.normals(dim));
        let outputs = run_once(&env, |io| {
            let spec = Spec::new(REFLEX_DTYPE_F32, &[3, dim as i64]).row_gap(3);
            let p = reflex_norm_params {
                struct_size: size_of::<reflex_norm_params>() as u32,
                epsilon: 1e-5,
                x: io.input(spec.clone(), &x),
                residual: io.input(spec.clone(), &r),
                residual_out: io.output(spec.clone()),
                weight: io.input(Spec::new(REFLEX_DTYPE_F32, &[dim as i64]), &w),
                y: io.output(spec),
            };
            Box::new(move |context, stream| reflex_norm(context, &p, stream))
        });
        for row in 0..3 {
            let range = row * dim..(row + 1) * dim;
            let want = oracle(&x[range.clone()], Some(&r[range.clone()]), &w, 1e-5);
            for (got, want) in outputs[1][range.clone()].iter().zip(want) {
                assert!(
                    (f64::from(*got) - want).abs() <= 1e-6 + 2e-6 * want.abs(),
                    "{got} {want}"
                );
            }
            for i in range {
                assert_eq!(outputs[0][i], x[i] + r[i]);
            }
        }
    }
}

#[test]
fn quantizes_what_it_normalized() {
    let env = Env::cpu();
    for dim in [32usize, 64, 2560] {
        let mut random = Random::new(dim as u64);
        let (x, w) = (random.normals(3 * dim), random.normals(dim));
        let shape = [3, dim as i64];
        let outputs = run_once(&env, |io| {
            let p = reflex_norm_params {
                struct_size: size_of::<reflex_norm_params>() as u32,
                epsilon: 1e-5,
                x: io.input(Spec::new(REFLEX_DTYPE_F32, &shape), &x),
                weight: io.input(Spec::new(REFLEX_DTYPE_F32, &[dim as i64]), &w),
                y: io.output(act_i8(&shape)),
                ..Default::default()
            };
            Box::new(move |context, stream| reflex_norm(context, &p, stream))
        });
        let want: Vec<f64> = x.chunks(dim).flat_map(|x| oracle(x, None, &w, 1e-5)).collect();
        assert_quantized(&outputs[0], &want, Tolerance::new(1e-6, 2e-6));
    }
}

#[test]
fn quantized_operands_are_refused_but_for_y() {
    let env = Env::cpu();
    for field in ["x", "residual", "residual_out", "weight"] {
        let (status, message) = refused(&env, |io| {
            let spec = || Spec::new(REFLEX_DTYPE_F32, &[2, 64]);
            let mut p = reflex_norm_params {
                struct_size: size_of::<reflex_norm_params>() as u32,
                x: io.input(spec(), &[1.0; 128]),
                y: io.output(Spec::new(REFLEX_DTYPE_ACT_I8, &[2, 64])),
                ..Default::default()
            };
            let quantized = io.input(Spec::new(REFLEX_DTYPE_ACT_I8, &[2, 64]), &[1.0; 128]);
            match field {
                "x" => p.x = quantized,
                "residual" => p.residual = quantized,
                "residual_out" => p.residual_out = quantized,
                _ => p.weight = quantized,
            }
            Box::new(move |context, stream| reflex_norm(context, &p, stream))
        });
        assert_eq!(status_name(status), status_name(REFLEX_INVALID_ARGUMENT), "{message}");
        assert!(
            message.contains(&format!("norm: {field}.dtype is ACT_I8, expected F32, F16, BF16")),
            "{message}"
        );
    }
}

use crate::cases::each_case;
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

/// Every problem of `cases/norm.txt` whose results are numbers.
#[test]
fn equals_the_formula() {
    let env = Env::cpu();
    each_case("norm", Tier::Full, "norm::equals_the_formula", |descriptor| {
        let case = NormCase::read(descriptor);
        if descriptor.text("values") != "normal" || case.rows == 0 {
            return;
        }
        let contents = case.contents();
        let dim = case.dim as usize;
        let x = held(case.x, &contents.x);
        let residual = case.residual.map(|dtype| held(dtype, &contents.residual));
        let weight = case
            .weight
            .map_or(vec![1.0; dim], |dtype| held(dtype, &contents.weight));
        let row = |values: &[f32], row: usize| values[row * dim..][..dim].to_vec();
        let want: Vec<f64> = (0..x.len() / dim)
            .flat_map(|i| {
                let residual = residual.as_ref().map(|r| row(r, i));
                oracle(&row(&x, i), residual.as_deref(), &weight, f64::from(case.epsilon()))
            })
            .collect();
        let outputs = run_once(&env, |io| case.call(io).launch);
        let y = &outputs[outputs.len() - 1];
        if case.y == REFLEX_DTYPE_ACT_I8 {
            assert_quantized(y, &want, Tolerance::new(1e-6, 2e-6));
        } else {
            let step = half_step(case.y);
            for (&got, want) in y.iter().zip(&want) {
                let bound = 1e-6 + (2e-6 + step) * want.abs();
                assert!((f64::from(got) - want).abs() <= bound, "{got} {want}");
            }
        }
        if let Some(residual) = residual {
            let sums: Vec<f32> = x.iter().zip(&residual).map(|(a, b)| a + b).collect();
            assert_eq!(outputs[0], held(case.x, &sums));
        }
    });
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

use crate::cases::each_case;
use crate::support::*;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;

const KINDS: [reflex_activation_kind; 3] = [
    REFLEX_ACTIVATION_SILU,
    REFLEX_ACTIVATION_GELU_TANH,
    REFLEX_ACTIVATION_GELU_ERF,
];

fn base(kind: reflex_activation_kind) -> reflex_activation_params {
    reflex_activation_params {
        struct_size: size_of::<reflex_activation_params>() as u32,
        kind,
        ..Default::default()
    }
}

/// Integral of the normal density from 0 to |x| by Simpson's rule: another road to erf than the library's.
fn erf(x: f64) -> f64 {
    let end = x.abs().min(6.0);
    let steps = 2000;
    let h = end / steps as f64;
    let sum: f64 = (0..=steps)
        .map(|i| {
            let t = h * i as f64;
            let weight = match i {
                0 => 1.0,
                i if i == steps => 1.0,
                i if i % 2 == 1 => 4.0,
                _ => 2.0,
            };
            weight * (-t * t).exp()
        })
        .sum();
    (sum * h / 3.0 * std::f64::consts::FRAC_2_SQRT_PI).copysign(x)
}

fn oracle(kind: reflex_activation_kind, x: f32) -> f64 {
    formula(kind, f64::from(x))
}

pub fn formula(kind: reflex_activation_kind, x: f64) -> f64 {
    match kind {
        REFLEX_ACTIVATION_SILU => x / (1.0 + (-x).exp()),
        REFLEX_ACTIVATION_GELU_TANH => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        }
        _ => 0.5 * x * (1.0 + erf(x / 2f64.sqrt())),
    }
}

/// Every problem of `cases/activation.txt` whose results are numbers.
#[test]
fn equals_the_formula() {
    let env = Env::cpu();
    each_case(
        "activation",
        Tier::Full,
        "activation::equals_the_formula",
        |descriptor| {
            let case = ActivationCase::read(descriptor);
            if descriptor.text("values") != "normal" || descriptor.flag("merged") {
                return;
            }
            let [gate, up] = case.contents();
            let gate = held(case.gate, &gate);
            let up = case.up.map_or(vec![1.0; gate.len()], |dtype| held(dtype, &up));
            let want: Vec<f64> = (gate.iter().zip(&up))
                .map(|(&gate, &up)| oracle(case.kind, gate) * f64::from(up))
                .collect();
            let outputs = run_once(&env, |io| case.call(io).launch);
            if case.y == REFLEX_DTYPE_ACT_I8 {
                return assert_quantized(&outputs[0], &want, Tolerance::new(1e-6, 2e-6));
            }
            for (i, (&got, want)) in outputs[0].iter().zip(want).enumerate() {
                let bound = 1e-7 + (1e-6 + half_step(case.y)) * want.abs();
                assert!((f64::from(got) - want).abs() <= bound, "f({}): {got} {want}", gate[i]);
            }
        },
    );
}

#[test]
fn extremes_have_their_limits() {
    let env = Env::cpu();
    let gate = [f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, f32::NAN, -1000.0];
    for kind in KINDS {
        let outputs = run_once(&env, |io| {
            let p = reflex_activation_params {
                gate: io.input(Spec::new(F32, &[6]), &gate),
                y: io.output(Spec::new(F32, &[6])),
                ..base(kind)
            };
            Box::new(move |context, stream| reflex_activation(context, &p, stream))
        });
        let y = &outputs[0];
        assert!(y[0] == f32::INFINITY && y[1] == 0.0 && y[2] == f32::MAX, "{y:?}");
        assert!(y[3] == 0.0 && y[4].is_nan() && y[5] == 0.0, "{y:?}");
    }
}

#[test]
fn works_in_place_on_halves_of_a_merged_buffer() {
    let env = Env::cpu();
    let values = Random::new(2).normals(3 * 10);
    let outputs = run_once(&env, |io| {
        let merged = io.in_out(Spec::new(F32, &[3, 10]), &values);
        let half = |first: usize| reflex_tensor {
            data: merged.data.wrapping_byte_add(first * 4),
            shape: [3, 5, 0, 0],
            stride: [40, 4, 0, 0],
            ..merged
        };
        let p = reflex_activation_params {
            gate: half(0),
            up: half(5),
            y: half(0),
            ..base(REFLEX_ACTIVATION_SILU)
        };
        Box::new(move |context, stream| reflex_activation(context, &p, stream))
    });
    for (i, &got) in outputs[0].iter().enumerate() {
        if i % 10 < 5 {
            let want = oracle(REFLEX_ACTIVATION_SILU, values[i]) * f64::from(values[i + 5]);
            assert!((f64::from(got) - want).abs() < 1e-6);
        } else {
            assert_eq!(got, values[i]);
        }
    }
}

#[test]
fn nothing_to_do_is_success() {
    let env = Env::cpu();
    let outputs = run_once(&env, |io| {
        let p = reflex_activation_params {
            gate: io.input(Spec::new(F32, &[0, 8]), &[]),
            y: io.output(Spec::new(F32, &[0, 8])),
            ..base(REFLEX_ACTIVATION_SILU)
        };
        Box::new(move |context, stream| reflex_activation(context, &p, stream))
    });
    assert_eq!(outputs, [Vec::<f32>::new()]);
}

#[test]
fn bad_input_is_refused() {
    type Change = fn(&mut reflex_activation_params, &Io);
    let cases: &[(&str, Change)] = &[
        ("kind", |p, _| p.kind = reflex_activation_kind(3)),
        ("gate.data", |p, _| p.gate = reflex_tensor::default()),
        ("y.data", |p, _| p.y = reflex_tensor::default()),
        ("gate.dtype", |p, _| p.gate.dtype = REFLEX_DTYPE_I32),
        ("gate.dtype", |p, _| p.gate.dtype = reflex_dtype(77)),
        ("gate.rank", |p, _| p.gate.rank = 5),
        ("gate.stride[1]", |p, _| p.gate.stride = [32, 8, 0, 0]),
        ("up.shape", |p, io| p.up = io.output(Spec::new(F32, &[2, 4]))),
        ("y.shape", |p, io| p.y = io.output(Spec::new(F32, &[16]))),
        ("y.stride[0]", |p, _| p.y.stride = [0, 4, 0, 0]),
        ("y.data", |p, _| p.y.data = p.up.data.wrapping_byte_add(8)),
    ];
    let env = Env::cpu();
    for (i, (field, change)) in cases.iter().enumerate() {
        let (status, message) = refused(&env, |io| {
            let mut p = reflex_activation_params {
                gate: io.input(Spec::new(F32, &[2, 8]), &[1.0; 16]),
                up: io.input(Spec::new(F32, &[2, 8]), &[1.0; 16]),
                y: io.output(Spec::new(F32, &[2, 8])),
                ..base(REFLEX_ACTIVATION_SILU)
            };
            change(&mut p, io);
            Box::new(move |context, stream| reflex_activation(context, &p, stream))
        });
        let named = message.contains(&format!("activation: {field}"));
        assert!(named, "case {i} {field}: {message}");
        assert_eq!(status, REFLEX_INVALID_ARGUMENT, "case {i}: {message}");
    }
}

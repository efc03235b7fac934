use crate::cases::each_case;
use crate::support::softcap::Case;
use crate::support::*;
use reflex_infer::*;

/// `cap * tanh(x / cap)` in f64, then f32. Types of 16 bits round once more.
#[test]
fn equals_the_formula() {
    let env = Env::cpu();
    each_case("softcap", Tier::Full, "softcap::equals_the_formula", |descriptor| {
        let case = Case::read(descriptor);
        let x = decode(case.x, &encode(case.x, &case.contents()));
        let outputs = run_once(&env, |io| case.call(io).launch);
        for (i, (got, x)) in outputs[0].iter().zip(x).enumerate() {
            let cap = f64::from(case.cap);
            let want = (cap * (f64::from(x) / cap).tanh()) as f32;
            let bound = (2.0 * half_step(case.y) as f32).max(f32::EPSILON) * want.abs();
            let close = (got - want).abs() <= bound || got.is_nan() && want.is_nan();
            assert!(close, "element {i} is {got}, expected {want}");
            assert!(
                x.is_nan() || got.abs() <= decode(case.y, &encode(case.y, &[case.cap]))[0],
                "element {i} is {got}"
            );
        }
    });
}

#[test]
fn a_cap_is_a_normal_number_with_a_normal_reciprocal() {
    let env = Env::cpu();
    let io = Io::new(&env);
    let x = io.in_out(Spec::new(REFLEX_DTYPE_F32, &[4]), &[1.0; 4]);
    let capped = |cap: f32| {
        let p = reflex_softcap_params {
            struct_size: size_of::<reflex_softcap_params>() as u32,
            cap,
            x,
            y: x,
        };
        [
            reflex_softcap(env.context, &p, env.stream),
            reflex_softcap_supported(env.context, &p),
        ]
    };
    for cap in [1e-37, 1.0, 30.0, 8e37] {
        assert_eq!(capped(cap), [REFLEX_SUCCESS; 2], "{cap}");
    }
    for cap in [
        0.0,
        -0.0,
        -30.0,
        1e-45,
        f32::MIN_POSITIVE / 2.0,
        f32::MAX,
        f32::INFINITY,
        f32::NAN,
    ] {
        assert_eq!(capped(cap), [REFLEX_INVALID_ARGUMENT; 2], "{cap}");
        assert!(
            last_error().starts_with(&format!("softcap: cap is {cap}, expected a number greater")),
            "{}",
            last_error()
        );
    }
}

use crate::cases::each_case;
use crate::support::*;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;

fn base() -> reflex_add_params {
    reflex_add_params {
        struct_size: size_of::<reflex_add_params>() as u32,
        ..Default::default()
    }
}

/// `a + scale * b`, exact in f64 for these sizes but for one rounding, then f32.
fn oracle(a: f32, b: f32, scale: f32) -> f32 {
    (f64::from(scale) * f64::from(b) + f64::from(a)) as f32
}

/// Every problem of `cases/add.txt`. Types of 16 bits round once more.
#[test]
fn equals_the_formula() {
    let env = Env::cpu();
    each_case("add", Tier::Full, "add::equals_the_formula", |descriptor| {
        let case = AddCase::read(descriptor);
        let [a, b] = case.contents();
        let (a, b) = (held(case.a, &a), held(case.b, &b));
        let outputs = run_once(&env, |io| case.call(io).launch);
        let y = &outputs[0];
        let factor = if case.scale == 0.0 { 1.0 } else { case.scale };
        for (i, got) in y.iter().enumerate() {
            let want = oracle(a[i], if case.broadcast { b[i % case.n as usize] } else { b[i] }, factor);
            let bound = (2.0 * half_step(case.y) as f32).max(f32::EPSILON) * want.abs();
            let largest = held(case.y, &[want])[0];
            // The oracle rounds twice.
            let close = (got - want).abs() <= bound || *got == largest || got.is_nan() && want.is_nan();
            assert!(close, "element {i} is {got}, expected {want}");
        }
    });
}

#[test]
fn may_be_in_place_of_either_operand() {
    let env = Env::cpu();
    for place in [0, 1] {
        let outputs = run_once(&env, |io| {
            let a = io.in_out(Spec::new(F32, &[2, 2]), &[1.0, 2.0, 3.0, 4.0]);
            let b = io.in_out(Spec::new(F32, &[2, 2]), &[10.0, 20.0, 30.0, 40.0]);
            let y = [a, b][place];
            let p = reflex_add_params { a, b, y, ..base() };
            Box::new(move |context, stream| reflex_add(context, &p, stream))
        });
        assert_eq!(outputs[place], [11.0, 22.0, 33.0, 44.0]);
    }
}

#[test]
fn nothing_to_do_is_success() {
    let env = Env::cpu();
    let outputs = run_once(&env, |io| {
        let p = reflex_add_params {
            a: io.input(Spec::new(F32, &[4, 0]), &[]),
            b: io.input(Spec::new(F32, &[0]), &[]),
            y: io.output(Spec::new(F32, &[4, 0])),
            ..base()
        };
        Box::new(move |context, stream| reflex_add(context, &p, stream))
    });
    assert_eq!(outputs, [Vec::<f32>::new()]);
}

#[test]
fn bad_input_is_refused() {
    type Change = fn(&mut reflex_add_params, &Io);
    let cases: &[(&str, Change)] = &[
        ("scale", |p, _| p.scale = f32::NAN),
        ("scale", |p, _| p.scale = f32::NEG_INFINITY),
        ("a.data", |p, _| p.a = reflex_tensor::default()),
        ("b.data", |p, _| p.b = reflex_tensor::default()),
        ("y.data", |p, _| p.y = reflex_tensor::default()),
        ("a.dtype", |p, _| p.a.dtype = REFLEX_DTYPE_I32),
        ("b.shape", |p, io| p.b = io.output(Spec::new(F32, &[2]))),
        ("b.shape", |p, io| p.b = io.output(Spec::new(F32, &[1, 8]))),
        ("y.shape", |p, io| p.y = io.output(Spec::new(F32, &[2, 4]))),
        ("y.stride[0]", |p, _| p.y.stride = [0, 4, 0, 0]),
        ("y.data", |p, _| p.y.data = p.a.data.wrapping_byte_add(4)),
        // One row for all may not be written while others still read it.
        ("y.data", |p, io| {
            p.a = io.output(Spec::new(F32, &[2, 8]));
            p.b = reflex_tensor {
                rank: 1,
                shape: [8, 0, 0, 0],
                ..p.y
            };
        }),
    ];
    let env = Env::cpu();
    for (i, (field, change)) in cases.iter().enumerate() {
        let (status, message) = refused(&env, |io| {
            let mut p = reflex_add_params {
                a: io.input(Spec::new(F32, &[2, 8]), &[1.0; 16]),
                b: io.input(Spec::new(F32, &[2, 8]), &[1.0; 16]),
                y: io.output(Spec::new(F32, &[2, 8])),
                ..base()
            };
            change(&mut p, io);
            Box::new(move |context, stream| reflex_add(context, &p, stream))
        });
        assert!(
            message.contains(&format!("add: {field}")),
            "case {i} {field}: {message}"
        );
        assert_eq!(status, REFLEX_INVALID_ARGUMENT, "case {i}: {message}");
    }
}

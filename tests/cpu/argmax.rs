use crate::cases::{each_case, wanted_tier};
use crate::support::*;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const NAN: f32 = f32::NAN;
const INF: f32 = f32::INFINITY;

fn base() -> reflex_argmax_params {
    reflex_argmax_params {
        struct_size: size_of::<reflex_argmax_params>() as u32,
        ..Default::default()
    }
}

#[test]
fn finds_the_greatest() {
    let env = Env::cpu();
    let rows: &[(&[f32], f32)] = &[
        (&[1.0, 3.0, 2.0, 3.0], 1.0),
        (&[-1.0, -3.0, -2.0, -1.0], 0.0),
        (&[-0.0, 0.0, -1.0, -2.0], 0.0),
        (&[NAN, 1.0, NAN, 2.0], 3.0),
        (&[NAN, NAN, NAN, NAN], 0.0),
        (&[NAN, -INF, -INF, NAN], 1.0),
        (&[-INF, -INF, -INF, -INF], 0.0),
        (&[1.0, INF, 2.0, INF], 1.0),
        (&[NAN, -INF, -1e30, -2e30], 2.0),
    ];
    let values: Vec<f32> = rows.iter().flat_map(|(row, _)| row.to_vec()).collect();
    let want: Vec<f32> = rows.iter().map(|(_, id)| *id).collect();
    for dtype in [F32, REFLEX_DTYPE_BF16] {
        let outputs = run_once(&env, |io| {
            let p = reflex_argmax_params {
                x: io.input(Spec::new(dtype, &[rows.len() as i64, 4]).row_gap(3), &values),
                ids: io.output(Spec::new(REFLEX_DTYPE_I32, &[rows.len() as i64])),
                counters: io.in_out_ints(&[0, 41, -1, 7, i32::MIN]),
                ..base()
            };
            Box::new(move |context, stream| reflex_argmax(context, &p, stream))
        });
        assert_eq!(outputs[0], want);
        assert_eq!(outputs[1], [1.0, 42.0, 0.0, 8.0, (i32::MIN + 1) as f32]);
    }
}

/// Problems of `cases/argmax.txt`: the first of the greatest, NaN being less than all.
#[test]
fn problems_find_the_greatest() {
    let env = Env::cpu();
    each_case(
        "argmax",
        wanted_tier(),
        "argmax::problems_find_the_greatest",
        |descriptor| {
            let case = ArgmaxCase::read(descriptor);
            let x = decode(case.x, &encode(case.x, &case.contents()));
            let outputs = run_once(&env, |io| case.call(io).launch);
            for (row, &id) in x.chunks(case.n as usize).zip(&outputs[0]) {
                let value = |v: f32| if v.is_nan() { (false, 0.0) } else { (true, v) };
                let best = (1..row.len()).fold(0, |best, i| if value(row[i]) > value(row[best]) { i } else { best });
                assert_eq!(id, best as f32);
            }
            for (&got, &before) in outputs.get(1).into_iter().flatten().zip(&case.counters) {
                assert_eq!(got, before.wrapping_add(1) as f32);
            }
        },
    );
}

#[test]
fn finds_the_greatest_of_a_vocabulary() {
    let env = Env::cpu();
    let n = 151_936;
    let values = Random::new(1).normals(2 * n);
    let outputs = run_once(&env, |io| {
        let p = reflex_argmax_params {
            x: io.input(Spec::new(F32, &[2, n as i64]), &values),
            ids: io.output(Spec::new(REFLEX_DTYPE_I32, &[2])),
            ..base()
        };
        Box::new(move |context, stream| reflex_argmax(context, &p, stream))
    });
    for (row, &id) in values.chunks(n).zip(&outputs[0]) {
        assert!(row.iter().all(|v| *v <= row[id as usize]));
    }
}

#[test]
fn counters_advance_without_rows() {
    let env = Env::cpu();
    let outputs = run_once(&env, |io| {
        let p = reflex_argmax_params {
            x: io.input(Spec::new(F32, &[0, 5]), &[]),
            ids: io.output(Spec::new(REFLEX_DTYPE_I32, &[0])),
            counters: io.in_out_ints(&[3]),
            ..base()
        };
        Box::new(move |context, stream| reflex_argmax(context, &p, stream))
    });
    assert_eq!(outputs[1], [4.0]);
}

#[test]
fn bad_input_is_refused() {
    type Change = fn(&mut reflex_argmax_params, &Io);
    let cases: &[(&str, Change)] = &[
        ("reserved", |p, _| p.reserved = 1),
        ("x.data", |p, _| p.x = reflex_tensor::default()),
        ("x.rank", |p, _| p.x.rank = 1),
        ("x.dtype", |p, _| p.x.dtype = REFLEX_DTYPE_I32),
        ("x.shape[1]", |p, _| p.x.shape[1] = 0),
        ("x.stride[1]", |p, _| p.x.stride = [64, 8, 0, 0]),
        ("ids.data", |p, _| p.ids = reflex_tensor::default()),
        ("ids.dtype", |p, io| p.ids = io.output(Spec::new(F32, &[2]))),
        ("ids.shape", |p, io| p.ids = io.in_out_ints(&[0, 0, 0])),
        ("ids.stride[0]", |p, _| p.ids.stride[0] = 8),
        ("ids.data", |p, _| p.ids.data = p.x.data),
        ("counters.rank", |p, _| {
            p.counters = p.ids;
            p.counters.rank = 2;
        }),
        ("counters.dtype", |p, io| p.counters = io.output(Spec::new(F32, &[2]))),
        ("counters.data", |p, _| p.counters = p.ids),
    ];
    let env = Env::cpu();
    for (i, (field, change)) in cases.iter().enumerate() {
        let (status, message) = refused(&env, |io| {
            let mut p = reflex_argmax_params {
                x: io.input(Spec::new(F32, &[2, 8]), &[1.0; 16]),
                ids: io.output(Spec::new(REFLEX_DTYPE_I32, &[2])),
                ..base()
            };
            change(&mut p, io);
            Box::new(move |context, stream| reflex_argmax(context, &p, stream))
        });
        let named = message.contains(&format!("argmax: {field}"));
        assert!(named, "case {i} {field}: {message}");
        assert_eq!(status, REFLEX_INVALID_ARGUMENT, "case {i}: {message}");
    }
}

#[test]
fn needs_no_workspace() {
    let env = Env::cpu();
    let io = Io::new(&env);
    let p = reflex_argmax_params {
        x: io.input(Spec::new(F32, &[1, 1 << 16]), &[0.0; 1 << 16]),
        ids: io.output(Spec::new(REFLEX_DTYPE_I32, &[1])),
        ..base()
    };
    let mut bytes = usize::MAX;
    ok(reflex_argmax_workspace_size(env.context, &p, &mut bytes));
    assert_eq!(bytes, 0);
}

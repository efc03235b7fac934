use crate::cases::each_case;
use crate::support::softmax::Case;
use crate::support::*;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;

/// The formula in f64, from the columns that a row sees.
fn oracle(t: &[f64], log: bool) -> Vec<f64> {
    let max = t
        .iter()
        .copied()
        .filter(|t| !t.is_nan())
        .fold(f64::NEG_INFINITY, f64::max);
    if t.iter().any(|t| t.is_nan()) || max == f64::INFINITY {
        return vec![f64::NAN; t.len()];
    }
    if max == f64::NEG_INFINITY {
        return vec![if log { f64::NEG_INFINITY } else { 0.0 }; t.len()];
    }
    let sum: f64 = t.iter().map(|t| (t - max).exp()).sum();
    match log {
        true => t.iter().map(|t| t - max - sum.ln()).collect(),
        false => t.iter().map(|t| (t - max).exp() / sum).collect(),
    }
}

/// Every problem of `cases/softmax.txt`. Types of 16 bits round once more.
#[test]
fn equals_the_formula() {
    let env = Env::cpu();
    each_case("softmax", Tier::Full, "softmax::equals_the_formula", |descriptor| {
        let case = Case::read(descriptor);
        let c = case.contents();
        let x = held(case.x, &c.x);
        let mask = case.mask.map(|dtype| held(dtype, &c.mask));
        let scale = f64::from(if case.scale == 0.0 { 1.0 } else { case.scale });
        let y = &run_once(&env, |io| case.call(io).launch)[0];
        for row in 0..case.rows() {
            let (n, visible) = (case.n(), case.visible(row));
            let t: Vec<f64> = (0..visible)
                .map(|j| {
                    let mask = mask.as_ref().map_or(0.0, |mask| mask[case.mask_row(row) * n + j]);
                    match mask == -INF {
                        true => f64::NEG_INFINITY,
                        false => f64::from(x[row * n + j]) * scale + f64::from(mask),
                    }
                })
                .collect();
            let largest = t
                .iter()
                .fold(0.0, |max: f64, t| if t.is_finite() { max.max(t.abs()) } else { max });
            let want = oracle(&t, case.log);
            for j in 0..n {
                let got = y[row * n + j];
                let want = want
                    .get(j)
                    .copied()
                    .unwrap_or(if case.log { f64::NEG_INFINITY } else { 0.0 });
                // t is rounded to f32, which moves exponentials by as much of themselves.
                let of_t = largest * f64::from(f32::EPSILON);
                let step = (2.0 * half_step(case.y)).max(f64::from(f32::EPSILON));
                let smallest = if case.y == REFLEX_DTYPE_F16 { 6e-8 } else { 1e-44 };
                let bound = match case.log {
                    true => of_t + step * want.abs(),
                    false => (of_t + step) * want.abs(),
                };
                let close = (f64::from(got) - want).abs() <= bound + smallest;
                let same = f64::from(got) == want || got.is_nan() && want.is_nan();
                assert!(close || same, "row {row}, column {j} is {got}, expected {want}");
            }
        }
    });
}

fn softmax(flags: u32, shape: &[i64], x: &[f32], mask: Option<(&[i64], &[f32])>) -> Vec<f32> {
    let outputs = run_once(&Env::cpu(), |io| {
        let p = reflex_softmax_params {
            struct_size: size_of::<reflex_softmax_params>() as u32,
            flags,
            x: io.input(Spec::new(F32, shape), x),
            mask: mask.map_or(reflex_tensor::default(), |(shape, mask)| {
                io.input(Spec::new(F32, shape), mask)
            }),
            y: io.output(Spec::new(F32, shape)),
            ..Default::default()
        };
        Box::new(move |context, stream| reflex_softmax(context, &p, stream))
    });
    outputs.into_iter().next().expect("y")
}

fn same(got: &[f32], want: &[f32]) {
    let equal = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan();
    assert!(
        got.len() == want.len() && got.iter().zip(want).all(equal),
        "{got:?}, expected {want:?}"
    );
}

#[test]
fn rows_that_see_nothing_give_zeros() {
    same(&softmax(0, &[3], &[-INF; 3], None), &[0.0; 3]);
    same(&softmax(REFLEX_SOFTMAX_LOG, &[3], &[-INF; 3], None), &[-INF; 3]);
    let mask: (&[i64], &[f32]) = (&[2], &[-INF; 2]);
    same(&softmax(0, &[2, 2], &[NAN, INF, 1.0, -INF], Some(mask)), &[0.0; 4]);
    // Three rows of two columns: the first sees none, the last both.
    let x = [NAN, INF, 7.0, NAN, 1.0, 1.0];
    same(
        &softmax(REFLEX_SOFTMAX_CAUSAL, &[3, 2], &x, None),
        &[0.0, 0.0, 1.0, 0.0, 0.5, 0.5],
    );
    let log_causal = REFLEX_SOFTMAX_LOG | REFLEX_SOFTMAX_CAUSAL;
    let half = -std::f32::consts::LN_2;
    same(
        &softmax(log_causal, &[3, 2], &x, None),
        &[-INF, -INF, 0.0, -INF, half, half],
    );
}

#[test]
fn a_nan_stays_in_the_columns_that_its_row_sees() {
    let rows = [
        1.0, NAN, 3.0, 4.0, 1.0, INF, -INF, 4.0, -INF, -INF, NAN, 4.0, 0.0, 0.0, 0.0, -INF,
    ];
    let third = 1.0 / 3.0;
    same(
        &softmax(0, &[4, 4], &rows, None),
        &[
            NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, third, third, third, 0.0,
        ],
    );
    // Of row 0 one column is seen, of row 1 two.
    same(
        &softmax(REFLEX_SOFTMAX_CAUSAL, &[4, 4], &rows, None)[..8],
        &[1.0, 0.0, 0.0, 0.0, NAN, NAN, 0.0, 0.0],
    );
}

#[test]
fn a_mask_serves_every_row_that_it_has_a_dimension_of_1_for() {
    let x = [0.0f32; 8];
    let masked = |shape: &[i64], mask: &[f32]| softmax(0, &[2, 2, 2], &x, Some((shape, mask)));
    let (on, off, half) = ([1.0, 0.0], [0.0, 1.0], [0.5, 0.5]);
    let (first, second, both) = ([0.0, -INF], [-INF, 0.0], [0.0, 0.0]);
    same(&masked(&[2], &first), &[on, on, on, on].concat());
    same(
        &masked(&[2, 2], &[first, second].concat()),
        &[on, off, on, off].concat(),
    );
    same(&masked(&[1, 2], &second), &[off, off, off, off].concat());
    same(
        &masked(&[2, 1, 2], &[first, both].concat()),
        &[on, on, half, half].concat(),
    );
    same(
        &masked(&[1, 2, 2], &[both, second].concat()),
        &[half, off, half, off].concat(),
    );
}

#[test]
fn bad_input_is_refused() {
    type Change = fn(&mut reflex_softmax_params, &Io);
    let cases: &[(&str, Change)] = &[
        ("flags is 0x4, expected REFLEX_SOFTMAX_* bits (0x3)", |p, _| p.flags = 4),
        ("scale is -1, expected a finite number, 0 or more", |p, _| {
            p.scale = -1.0
        }),
        ("scale is NaN", |p, _| p.scale = NAN),
        ("reserved is 1, expected 0", |p, _| p.reserved = 1),
        ("x.data is NULL", |p, _| p.x = reflex_tensor::default()),
        ("x.dtype is I32", |p, _| p.x.dtype = REFLEX_DTYPE_I32),
        ("y.shape is [2, 4], expected [2, 8]", |p, io| {
            p.y = io.output(Spec::new(F32, &[2, 4]));
        }),
        (
            "mask.shape is [3, 8], expected [2, 8] (of x), or 1 in place of a dimension before the last",
            |p, io| p.mask = io.output(Spec::new(F32, &[3, 8])),
        ),
        ("mask.shape is [2, 1], expected [2, 8]", |p, io| {
            p.mask = io.output(Spec::new(F32, &[2, 1]));
        }),
        ("mask.rank is 3, expected 1 to 2", |p, io| {
            p.mask = io.output(Spec::new(F32, &[1, 2, 8]));
        }),
        ("y.data", |p, _| p.y.data = p.x.data.wrapping_byte_add(4)),
        ("overlaps mask", |p, _| p.mask = p.y),
    ];
    let env = Env::cpu();
    for (words, change) in cases {
        expect_refused(&env, "softmax", (REFLEX_INVALID_ARGUMENT, words), |io| {
            let mut p = reflex_softmax_params {
                struct_size: size_of::<reflex_softmax_params>() as u32,
                x: io.input(Spec::new(F32, &[2, 8]), &[1.0; 16]),
                y: io.output(Spec::new(F32, &[2, 8])),
                ..Default::default()
            };
            change(&mut p, io);
            Box::new(move |context, stream| reflex_softmax(context, &p, stream))
        });
    }
}

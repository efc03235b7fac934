use crate::cases::each_case;
use crate::support::attention_merge::Case;
use crate::support::*;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;

/// The formula in f64, of one element and of its row's logarithm.
fn oracle([a, b]: [f32; 2], [a_lse, b_lse]: [f32; 2]) -> (f64, f64) {
    let (a_lse, b_lse) = (f64::from(a_lse), f64::from(b_lse));
    if a_lse == f64::NEG_INFINITY && b_lse == f64::NEG_INFINITY {
        return (0.0, f64::NEG_INFINITY);
    }
    let max = a_lse.max(b_lse);
    let (u, v) = ((a_lse - max).exp(), (b_lse - max).exp());
    // What f32 does not hold as a normal number is no weight.
    let part = |weight: f64, value: f32| {
        let nothing = weight < f64::from(f32::MIN_POSITIVE);
        if nothing { 0.0 } else { weight * f64::from(value) }
    };
    ((part(u, a) + part(v, b)) / (u + v), max + (u + v).ln())
}

/// Every problem of `cases/attention_merge.txt`. Types of 16 bits round once more.
#[test]
fn equals_the_formula() {
    let env = Env::cpu();
    each_case(
        "attention_merge",
        Tier::Full,
        "attention_merge::equals_the_formula",
        |descriptor| {
            let case = Case::read(descriptor);
            let c = case.contents();
            let (a, b) = (held(case.a, &c.a), held(case.b, &c.b));
            let outputs = run_once(&env, |io| case.call(io).launch);
            let (y, lse) = match case.y_lse {
                true => (&outputs[0], outputs.get(1)),
                false => (&outputs[0], None),
            };
            assert_eq!(outputs.len(), 1 + usize::from(case.y_lse));
            for row in 0..case.rows() {
                let logarithms = [c.a_lse[row], c.b_lse[row]];
                for i in row * case.dim()..(row + 1) * case.dim() {
                    let want = oracle([a[i], b[i]], logarithms).0 as f32;
                    let bound = 1e-6 + (2.0 * half_step(case.y) as f32).max(f32::EPSILON) * want.abs();
                    let close = (y[i] - want).abs() <= bound || y[i] == want || y[i].is_nan() && want.is_nan();
                    assert!(close, "row {row}, element {i} is {}, expected {want}", y[i]);
                }
                if let Some(lse) = lse {
                    let (got, want) = (lse[row], oracle([0.0; 2], logarithms).1 as f32);
                    let close = (got - want).abs() <= 1e-6 * want.abs().max(1.0);
                    assert!(
                        close || got == want || got.is_nan() && want.is_nan(),
                        "the logarithm of row {row} is {got}, expected {want}"
                    );
                }
            }
        },
    );
}

fn merge(io: &Io, parts: [(&[f32], f32); 2]) -> [reflex_tensor; 4] {
    let part = |(values, lse): (&[f32], f32)| {
        [
            io.input(Spec::new(F32, &[1, values.len() as i64]), values),
            io.input(Spec::new(F32, &[1]), &[lse]),
        ]
    };
    let ([a, a_lse], [b, b_lse]) = (part(parts[0]), part(parts[1]));
    [a, a_lse, b, b_lse]
}

fn merged(parts: [(&[f32], f32); 2]) -> (Vec<f32>, f32) {
    let outputs = run_once(&Env::cpu(), |io| {
        let [a, a_lse, b, b_lse] = merge(io, parts);
        let p = reflex_attention_merge_params {
            struct_size: size_of::<reflex_attention_merge_params>() as u32,
            a,
            a_lse,
            b,
            b_lse,
            y: io.output(Spec::new(F32, &[1, parts[0].0.len() as i64])),
            y_lse: io.output(Spec::new(F32, &[1])),
            ..Default::default()
        };
        Box::new(move |context, stream| reflex_attention_merge(context, &p, stream))
    });
    (outputs[0].clone(), outputs[1][0])
}

/// Attention over keys with these scores, and its logarithm, in f64.
fn attention(scores: &[f64], values: &[[f64; 3]]) -> ([f64; 3], f64) {
    let lse = scores.iter().map(|s| s.exp()).sum::<f64>().ln();
    let mut y = [0.0; 3];
    for (score, value) in scores.iter().zip(values) {
        (0..3).for_each(|i| y[i] += (score - lse).exp() * value[i]);
    }
    (y, lse)
}

/// What the op is for: parts of the keys, however they are divided, give the attention over all of them, also through
/// parts that were merged before.
#[test]
fn parts_give_the_attention_over_all_keys() {
    let mut random = Random::new(5);
    const KEYS: usize = 40;
    let scores: Vec<f64> = (0..KEYS).map(|_| f64::from(random.range(-4.0, 4.0))).collect();
    let values: Vec<[f64; 3]> = (0..KEYS)
        .map(|_| [(); 3].map(|_| f64::from(random.range(-2.0, 2.0))))
        .collect();
    let (want, want_lse) = attention(&scores, &values);
    for cuts in [&[1][..], &[20], &[39], &[3, 30], &[1, 2, 3, 25]] {
        let mut start = 0;
        let mut parts = cuts.iter().chain(&[KEYS]).map(|&end| {
            let (y, lse) = attention(&scores[start..end], &values[start..end]);
            start = end;
            (y.map(|v| v as f32).to_vec(), lse as f32)
        });
        let first = parts.next().expect("a part");
        let (y, lse) = parts.fold(first, |sum, part| merged([(&sum.0, sum.1), (&part.0, part.1)]));
        assert!(
            y.iter()
                .zip(want)
                .all(|(&got, want)| (f64::from(got) - want).abs() < 2e-6),
            "{y:?} {want:?}"
        );
        assert!((f64::from(lse) - want_lse).abs() < 1e-6, "{lse} {want_lse}");
    }
}

/// A part without keys leaves the other one's bits, whatever it holds.
#[test]
fn a_part_without_keys_is_not_looked_at() {
    let (a, junk): (&[f32], &[f32]) = (&[1.1, -0.0, INF, 3e38], &[NAN, INF, NAN, -INF]);
    for (y, lse) in [merged([(a, 0.3), (junk, -INF)]), merged([(junk, -INF), (a, 0.3)])] {
        // The sum with nothing makes a negative zero positive.
        assert_eq!(y, [1.1, 0.0, INF, 3e38]);
        assert_eq!(lse, 0.3);
    }
    assert_eq!(merged([(junk, -INF), (junk, -INF)]), (vec![0.0; 4], -INF));
}

#[test]
fn bad_input_is_refused() {
    type Change = fn(&mut reflex_attention_merge_params, &Io);
    let cases: &[(&str, Change)] = &[
        ("reserved is 1, expected 0", |p, _| p.reserved = 1),
        ("a.data is NULL", |p, _| p.a = reflex_tensor::default()),
        ("b_lse.data is NULL", |p, _| p.b_lse = reflex_tensor::default()),
        ("a.rank is 1, expected 2 to 4", |p, io| {
            p.a = io.output(Spec::new(F32, &[8]))
        }),
        ("b.shape is [2, 4]", |p, io| p.b = io.output(Spec::new(F32, &[2, 4]))),
        (
            "a_lse.shape is [8], expected [2] (the outer dimensions of a)",
            |p, io| {
                p.a_lse = io.output(Spec::new(F32, &[8]));
            },
        ),
        ("b_lse.dtype is F16, expected F32", |p, io| {
            p.b_lse = io.output(Spec::new(REFLEX_DTYPE_F16, &[2]));
        }),
        ("y_lse.shape is [2, 1]", |p, io| {
            p.y_lse = io.output(Spec::new(F32, &[2, 1]))
        }),
        ("y.stride[1] is 8, expected 4", |p, _| p.y.stride = [64, 8, 0, 0]),
    ];
    let env = Env::cpu();
    for (words, change) in cases {
        expect_refused(&env, "attention_merge", (REFLEX_INVALID_ARGUMENT, words), |io| {
            let [a, b] = [(); 2].map(|_| io.input(Spec::new(F32, &[2, 8]), &[1.0; 16]));
            let [a_lse, b_lse] = [(); 2].map(|_| io.input(Spec::new(F32, &[2]), &[1.0; 2]));
            let mut p = reflex_attention_merge_params {
                struct_size: size_of::<reflex_attention_merge_params>() as u32,
                a,
                a_lse,
                b,
                b_lse,
                y: io.output(Spec::new(F32, &[2, 8])),
                y_lse: io.output(Spec::new(F32, &[2])),
                ..Default::default()
            };
            change(&mut p, io);
            Box::new(move |context, stream| reflex_attention_merge(context, &p, stream))
        });
    }
}

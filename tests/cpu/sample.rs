use crate::support::*;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const I32: reflex_dtype = REFLEX_DTYPE_I32;
const NAN: f32 = f32::NAN;
const INF: f32 = f32::INFINITY;

fn base() -> reflex_sample_params {
    reflex_sample_params {
        struct_size: size_of::<reflex_sample_params>() as u32,
        temperature: 1.0,
        ..Default::default()
    }
}

/// Draws `count` times from one row of logits, at steps 0, 1, ..
fn draws(p: reflex_sample_params, logits: &[f32], count: usize) -> Vec<usize> {
    let env = Env::cpu();
    let outputs = run_once(&env, |io| {
        let n = logits.len() as i64;
        let rows = io.input(Spec::new(F32, &[n]), logits);
        let p = reflex_sample_params {
            logits: reflex_tensor {
                rank: 2,
                shape: [count as i64, n, 0, 0],
                // Every row is the same memory.
                stride: [0, 4, 0, 0],
                ..rows
            },
            steps: io.ints(&(0..count as i32).collect::<Vec<_>>()),
            ids: io.output(Spec::new(I32, &[count as i64])),
            ..p
        };
        Box::new(move |context, stream| reflex_sample(context, &p, stream))
    });
    outputs[0].iter().map(|&id| id as usize).collect()
}

/// One token for each row.
fn draw_rows(p: reflex_sample_params, rows: &[&[f32]]) -> Vec<usize> {
    let env = Env::cpu();
    let values: Vec<f32> = rows.concat();
    let shape = [rows.len() as i64, rows[0].len() as i64];
    let outputs = run_once(&env, |io| {
        let p = reflex_sample_params {
            logits: io.input(Spec::new(F32, &shape), &values),
            ids: io.output(Spec::new(I32, &shape[..1])),
            ..p
        };
        Box::new(move |context, stream| reflex_sample(context, &p, stream))
    });
    outputs[0].iter().map(|&id| id as usize).collect()
}

/// Probability of every token, by sorting and f64.
fn oracle(p: &reflex_sample_params, logits: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].partial_cmp(&logits[a]).unwrap().then(a.cmp(&b)));
    if p.top_k > 0 {
        order.truncate(p.top_k as usize);
    }
    let greatest = f64::from(logits[order[0]]);
    let weight = |i: usize, temperature: f64| ((f64::from(logits[i]) - greatest) / temperature).exp();
    if p.top_p > 0.0 && p.top_p < 1.0 {
        let total: f64 = order.iter().map(|&i| weight(i, 1.0)).sum();
        let mut sum = 0.0;
        let reach = order.iter().position(|&i| {
            sum += weight(i, 1.0) / total;
            sum >= f64::from(p.top_p)
        });
        order.truncate(reach.map_or(order.len(), |at| at + 1));
    }
    order.retain(|&i| weight(i, 1.0) >= f64::from(p.min_p));
    let temperature = f64::from(p.temperature);
    let total: f64 = order.iter().map(|&i| weight(i, temperature)).sum();
    let mut probabilities = vec![0.0; logits.len()];
    for i in order {
        probabilities[i] = weight(i, temperature) / total;
    }
    probabilities
}

/// Philox4x32-10 as its paper writes it: the first two words, as a fraction.
fn uniform(seed: u64, row: u32, step: u32) -> f64 {
    let mut x = [row, 0, step, 0];
    let mut key = [seed as u32, (seed >> 32) as u32];
    for _ in 0..10 {
        let a = u64::from(x[0]) * 0xD251_1F53;
        let b = u64::from(x[2]) * 0xCD9E_8D57;
        let high = |product: u64| (product >> 32) as u32;
        x = [high(b) ^ x[1] ^ key[0], b as u32, high(a) ^ x[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(0x9E3779B9), key[1].wrapping_add(0xBB67AE85)];
    }
    (f64::from(x[1]) + f64::from(x[0]) / 4294967296.0) / 4294967296.0
}

fn settings() -> Vec<reflex_sample_params> {
    let mut all = Vec::new();
    for (temperature, top_k, top_p, min_p) in [
        (1.0, 0, 0.0, 0.0),
        (0.7, 0, 1.0, 0.0),
        (5.0, 0, 0.0, 0.0),
        (1.0, 1, 0.0, 0.0),
        (1.0, 7, 0.0, 0.0),
        (2.0, 40, 0.0, 0.0),
        (1.0, 100_000, 0.0, 0.0),
        (1.0, 0, 0.9, 0.0),
        (3.0, 0, 0.5, 0.0),
        (1.0, 0, 1e-9, 0.0),
        (1.0, 0, 0.0, 0.05),
        (1.5, 0, 0.0, 1.0),
        (0.8, 40, 0.95, 0.05),
        (1.3, 20, 0.7, 0.01),
    ] {
        all.push(reflex_sample_params {
            temperature,
            top_k,
            top_p,
            min_p,
            seed: 0x0123_4567_89AB_CDEF,
            ..base()
        });
    }
    all
}

#[test]
fn draws_by_the_definition() {
    for n in [2, 5, 64, 1000] {
        let mut random = Random::new(n as u64);
        let logits: Vec<f32> = (0..n).map(|_| 2.5 * random.normal()).collect();
        for p in settings() {
            let probabilities = oracle(&p, &logits);
            for (row, id) in draws(p, &logits, 200).into_iter().enumerate() {
                assert!(probabilities[id] > 0.0, "{p:?}: token {id} is filtered out");
                // The draw falls into the token's part of the running sum, in the order of indices.
                let u = uniform(p.seed, row as u32, row as u32);
                let before: f64 = probabilities[..id].iter().sum();
                let after = before + probabilities[id];
                assert!(
                    before - 1e-5 <= u && u <= after + 1e-5,
                    "{p:?}: {u} in {before}..{after}"
                );
            }
        }
    }
}

#[test]
fn frequencies_are_the_probabilities() {
    let logits = [1.0, -0.5, 2.0, 0.0, 1.5, -2.0, 0.3, 1.9];
    let count = 40_000;
    let settings = [(1.0, 0, 0.0), (0.6, 0, 0.0), (2.0, 6, 0.0), (1.0, 0, 0.9)];
    for (temperature, top_k, top_p) in settings {
        let p = reflex_sample_params {
            temperature,
            top_k,
            top_p,
            seed: 42,
            ..base()
        };
        let mut counts = [0usize; 8];
        draws(p, &logits, count).into_iter().for_each(|id| counts[id] += 1);
        let probabilities = oracle(&p, &logits);
        let chi_square: f64 = counts
            .iter()
            .zip(&probabilities)
            .filter(|(_, p)| **p > 0.0)
            .map(|(&got, p)| (got as f64 - p * count as f64).powi(2) / (p * count as f64))
            .sum();
        // The 0.999 quantile for 7 degrees of freedom; fewer have a lower one.
        assert!(chi_square < 24.32, "{chi_square}: {counts:?} {probabilities:?}");
    }
}

#[test]
fn seed_row_and_step_choose_the_draw() {
    let logits = [0.0; 64];
    let with_seed = |seed| draws(reflex_sample_params { seed, ..base() }, &logits, 500);
    let (first, again, other) = (with_seed(1), with_seed(1), with_seed(1 << 32));
    assert_eq!(first, again);
    let equal = |a: &[usize], b: &[usize]| a.iter().zip(b).filter(|(a, b)| a == b).count();
    assert!(equal(&first, &other) < 50 && equal(&first[1..], &first) < 50);
    // Without steps rows still differ.
    let rows = vec![&logits[..]; 500];
    let by_row = draw_rows(base(), &rows);
    assert!(equal(&by_row[1..], &by_row) < 50);
}

#[test]
fn ties_go_to_the_lower_index() {
    let logits = [1.0, 3.0, 2.0, 3.0, 2.0, 2.0, -0.0, 0.0];
    for (top_k, top_p, want) in [
        (1, 0.0, vec![1]),
        (2, 0.0, vec![1, 3]),
        (3, 0.0, vec![1, 2, 3]),
        (4, 0.0, vec![1, 2, 3, 4]),
        (7, 0.0, vec![0, 1, 2, 3, 4, 5, 6]),
        (0, 0.29, vec![1]),
        (0, 0.55, vec![1, 3]),
        (0, 0.7, vec![1, 2, 3]),
        (4, 0.75, vec![1, 2, 3]),
    ] {
        // Hot enough that every token that is kept is drawn.
        let p = reflex_sample_params {
            temperature: 10.0,
            top_k,
            top_p,
            ..base()
        };
        let mut seen = draws(p, &logits, 500);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, want, "top_k {top_k} top_p {top_p}");
    }
}

#[test]
fn special_values() {
    let greedy = reflex_sample_params {
        temperature: 0.0,
        ..base()
    };
    let rows: &[(&[f32], usize)] = &[
        (&[1.0, 3.0, 2.0, 3.0], 1),
        (&[NAN, 1.0, NAN, 0.5], 1),
        (&[NAN, NAN, NAN, NAN], 0),
        (&[-INF, -INF, NAN, -INF], 0),
        (&[0.0, INF, 1.0, INF], 1),
        (&[-0.0, 0.0, -1.0, -1.0], 0),
    ];
    let logits: Vec<&[f32]> = rows.iter().map(|(row, _)| *row).collect();
    let want: Vec<usize> = rows.iter().map(|(_, id)| *id).collect();
    assert_eq!(draw_rows(greedy, &logits), want);

    // One possible token, whatever is drawn.
    for p in settings() {
        let rows: &[&[f32]] = &[
            &[NAN, 7.0, -INF],
            &[-INF, -INF, -3e38],
            &[NAN, NAN, NAN],
            &[-INF, NAN, -INF],
            &[3e38, INF, NAN],
            &[500.0, 400.0, 300.0],
        ];
        assert_eq!(draw_rows(p, rows), [1, 2, 0, 0, 1, 0], "{p:?}");
        assert_eq!(draw_rows(p, &[&[-3.0]]), [0]);
    }

    // Infinite logits are equally probable, and nothing else is.
    let mut seen = draws(base(), &[1.0, INF, 3e38, INF, -INF], 1000);
    let ones = seen.iter().filter(|&&id| id == 1).count();
    assert!((400..600).contains(&ones), "{ones}");
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [1, 3]);

    // Temperatures at the ends of the range.
    let p = |temperature| reflex_sample_params { temperature, ..base() };
    assert!(
        draws(p(f32::MIN_POSITIVE), &[1.0, 2.0, 1.5], 50)
            .iter()
            .all(|&id| id == 1)
    );
    assert!(draws(p(1e-45), &[2.0, 1.0, 1.5], 50).iter().all(|&id| id == 0));
    let ones = draws(p(f32::MAX), &[30.0, -30.0], 1000).iter().sum::<usize>();
    assert!((400..600).contains(&ones), "{ones}");
}

#[test]
fn each_row_draws_by_its_own_numbers_wherever_it_stands() {
    let env = Env::cpu();
    for n in [2, 9, 700, 5000] {
        expect_rows_draw_for_themselves(&env, 40, n);
    }
}

#[test]
fn numbers_out_of_range_on_the_device_are_clamped() {
    let env = Env::cpu();
    for n in [9, 700] {
        expect_strays_are_clamped(&env, n);
    }
}

#[test]
fn a_recorded_draw_reads_the_settings_of_rows_anew() {
    expect_replays_read_settings_anew(&Env::cpu());
}

/// By the formula of the header: a key is the first word of the counter, a seed the key of the generator.
#[test]
fn keys_and_seeds_choose_the_draw_as_documented() {
    let n = 1 << 16;
    let rows: Vec<SampleRow> = sample_rows(60)
        .into_iter()
        .map(|row| SampleRow {
            temperature: 1.0,
            top_k: 0,
            top_p: 0.0,
            min_p: 0.0,
            ..row
        })
        .collect();
    let ids = draw_together(&Env::cpu(), &rows, &vec![vec![0.0; n]; rows.len()]);
    for (row, id) in rows.iter().zip(ids) {
        let u = uniform(row.seed, row.key as u32, row.step as u32);
        assert_eq!(id, (u * n as f64) as i32, "{row:?}");
    }
}

/// Every operand by itself; what is absent is the call's own, and the number of a row is its key.
#[test]
fn one_operand_alone_replaces_one_number() {
    let env = Env::cpu();
    let (count, n) = (24, 300);
    let own = sample_rows(count);
    let logits = sample_logits(count, n);
    let common = SampleRow {
        seed: 77,
        temperature: 1.5,
        top_k: 90,
        top_p: 0.97,
        min_p: 0.001,
        key: 0,
        step: 0,
    };
    for which in 0..=6 {
        let outputs = run_once(&env, |io| {
            let x = io.input(Spec::new(F32, &[count as i64, n as i64]), &logits.concat());
            let all = sample_rows_params(io, &own, x);
            let mut p = reflex_sample_params {
                temperature: common.temperature,
                top_k: common.top_k as u32,
                top_p: common.top_p,
                min_p: common.min_p,
                seed: common.seed,
                logits: x,
                ids: all.ids,
                ..base()
            };
            match which {
                1 => p.seeds = all.seeds,
                2 => p.temperatures = all.temperatures,
                3 => p.top_ks = all.top_ks,
                4 => p.top_ps = all.top_ps,
                5 => p.min_ps = all.min_ps,
                6 => p.row_keys = all.row_keys,
                _ => {}
            }
            Box::new(move |context, stream| reflex_sample(context, &p, stream))
        });
        let rows: Vec<SampleRow> = (own.iter().enumerate())
            .map(|(i, own)| {
                let mut row = SampleRow {
                    key: i as i32,
                    ..common
                };
                match which {
                    1 => row.seed = own.seed,
                    2 => row.temperature = own.temperature,
                    3 => row.top_k = own.top_k,
                    4 => row.top_p = own.top_p,
                    5 => row.min_p = own.min_p,
                    6 => row.key = own.key,
                    _ => {}
                }
                row
            })
            .collect();
        let got: Vec<i32> = outputs[0].iter().map(|&id| id as i32).collect();
        assert_eq!(got, draw_one_by_one(&env, &rows, &logits), "operand {which}");
    }
}

#[test]
fn a_caller_that_knows_no_settings_of_rows_is_served() {
    let env = Env::cpu();
    let logits = sample_logits(1, 500).remove(0);
    let outputs = run_once(&env, |io| {
        let x = io.input(Spec::new(F32, &[1, 500]), &logits);
        let p = reflex_sample_params {
            // As the struct was before the operands were appended, with what lies behind it.
            struct_size: std::mem::offset_of!(reflex_sample_params, seeds) as u32,
            temperature: 1.0,
            seed: 5,
            ..sample_rows_params(io, &sample_rows(1), x)
        };
        let p = reflex_sample_params {
            top_k: 0,
            top_p: 0.0,
            min_p: 0.0,
            steps: reflex_tensor::default(),
            ..p
        };
        Box::new(move |context, stream| reflex_sample(context, &p, stream))
    });
    let p = reflex_sample_params { seed: 5, ..base() };
    assert_eq!(outputs[0][0] as usize, draws(p, &logits, 1)[0]);
}

#[test]
fn counters_may_be_the_steps() {
    let env = Env::cpu();
    let (rows, n) = (6, 50);
    let logits = Random::new(1).normals(rows * n);
    let steps = [7, -1, i32::MAX, 0, 3, 3];
    let run = |aliased: bool| {
        run_once(&env, |io| {
            let mut p = reflex_sample_params {
                logits: io.input(Spec::new(F32, &[rows as i64, n as i64]), &logits),
                ids: io.output(Spec::new(I32, &[rows as i64])),
                steps: io.in_out_ints(&steps),
                ..base()
            };
            if aliased {
                p.counters = p.steps;
            }
            Box::new(move |context, stream| reflex_sample(context, &p, stream))
        })
    };
    let (apart, aliased) = (run(false), run(true));
    assert_eq!(apart[0], aliased[0]);
    let advanced: Vec<f32> = steps.iter().map(|s| s.wrapping_add(1) as f32).collect();
    assert_eq!(aliased[1], advanced);
}

#[test]
fn needs_no_workspace() {
    let env = Env::cpu();
    let io = Io::new(&env);
    let p = reflex_sample_params {
        logits: io.input(Spec::new(F32, &[1, 4]), &[0.0; 4]),
        ids: io.output(Spec::new(I32, &[1])),
        ..base()
    };
    let mut bytes = usize::MAX;
    ok(reflex_sample_workspace_size(env.context, &p, &mut bytes));
    assert_eq!(bytes, 0);
    let null = std::ptr::null_mut();
    assert_eq!(
        reflex_sample_workspace_size(env.context, &p, null),
        REFLEX_INVALID_ARGUMENT
    );
}

#[test]
fn bad_input_is_refused() {
    type Change = fn(&mut reflex_sample_params, &Io);
    let cases: &[(&str, Change)] = &[
        ("reserved", |p, _| p.reserved = 7),
        ("temperature", |p, _| p.temperature = -0.1),
        ("temperature", |p, _| p.temperature = NAN),
        ("temperature", |p, _| p.temperature = INF),
        ("top_p", |p, _| p.top_p = -0.1),
        ("top_p", |p, _| p.top_p = 1.1),
        ("top_p", |p, _| p.top_p = NAN),
        ("min_p", |p, _| p.min_p = 1.5),
        ("min_p", |p, _| p.min_p = NAN),
        ("logits.data", |p, _| p.logits = reflex_tensor::default()),
        ("logits.rank", |p, _| p.logits.rank = 1),
        ("logits.dtype", |p, _| p.logits.dtype = I32),
        ("logits.shape[1]", |p, _| p.logits.shape[1] = 0),
        ("logits.shape", |p, _| p.logits.shape[1] = -4),
        ("ids.data", |p, _| p.ids = reflex_tensor::default()),
        ("ids.shape", |p, io| p.ids = io.in_out_ints(&[0])),
        ("ids.dtype", |p, io| p.ids = io.output(Spec::new(F32, &[2]))),
        ("ids.data", |p, _| p.ids.data = p.logits.data),
        ("ids.data", |p, _| p.steps = p.ids),
        ("steps.shape", |p, io| p.steps = io.ints(&[1, 2, 3])),
        ("steps.dtype", |p, io| p.steps = io.output(Spec::new(F32, &[2]))),
        ("counters.dtype", |p, io| p.counters = io.output(Spec::new(F32, &[2]))),
        ("counters.data", |p, _| p.counters = p.ids),
        ("seeds.shape", |p, io| p.seeds = io.ints(&[1, 2])),
        ("seeds.shape", |p, io| {
            p.seeds = io.in_out_bytes(Spec::new(I32, &[2, 1]), &[0; 8])
        }),
        ("seeds.dtype", |p, io| p.seeds = io.output(Spec::new(F32, &[2, 2]))),
        ("seeds.stride[0] is 12, expected 8", |p, io| {
            p.seeds = io.output(Spec::new(I32, &[2, 2]).row_gap(1));
        }),
        ("temperatures.shape", |p, io| {
            p.temperatures = io.output(Spec::new(F32, &[3]))
        }),
        ("temperatures.dtype", |p, io| p.temperatures = io.ints(&[1, 2])),
        ("temperatures.stride[0]", |p, io| {
            p.temperatures = io.output(Spec::new(F32, &[2]).strides(&[8]));
        }),
        ("top_ks.shape", |p, io| p.top_ks = io.ints(&[1])),
        ("top_ks.dtype", |p, io| p.top_ks = io.output(Spec::new(F32, &[2]))),
        ("top_ps.shape", |p, io| p.top_ps = io.output(Spec::new(F32, &[2, 1]))),
        ("top_ps.dtype", |p, io| {
            p.top_ps = io.output(Spec::new(REFLEX_DTYPE_F16, &[2]))
        }),
        ("min_ps.shape", |p, io| p.min_ps = io.output(Spec::new(F32, &[1]))),
        ("min_ps.dtype", |p, io| {
            p.min_ps = io.output(Spec::new(REFLEX_DTYPE_BF16, &[2]))
        }),
        ("row_keys.shape", |p, io| p.row_keys = io.ints(&[1, 2, 3])),
        ("row_keys.dtype", |p, io| p.row_keys = io.output(Spec::new(F32, &[2]))),
        ("ids.data", |p, _| p.row_keys = p.ids),
        ("ids.data", |p, io| {
            p.seeds = io.in_out_bytes(Spec::new(I32, &[2, 2]), &[0; 16]);
            p.ids.data = p.seeds.data.wrapping_byte_add(8);
        }),
        ("counters.data", |p, io| {
            p.counters = io.in_out_ints(&[1, 2]);
            p.top_ks = p.counters;
        }),
        ("counters.data", |p, io| {
            p.counters = io.in_out_ints(&[1, 2]);
            p.temperatures = reflex_tensor {
                dtype: F32,
                ..p.counters
            };
        }),
        // The call's own numbers are checked also where all rows have others.
        ("temperature", |p, io| {
            p.temperatures = io.output(Spec::new(F32, &[2]));
            p.temperature = NAN;
        }),
        ("counters.data", |p, io| {
            p.steps = io.in_out_ints(&[1, 2]);
            // Part of the steps: which of them is read late is not known.
            p.counters = reflex_tensor {
                shape: [1, 0, 0, 0],
                ..p.steps
            };
        }),
    ];
    let env = Env::cpu();
    for (i, (field, change)) in cases.iter().enumerate() {
        let (status, message) = refused(&env, |io| {
            let mut p = reflex_sample_params {
                logits: io.input(Spec::new(F32, &[2, 8]), &[1.0; 16]),
                ids: io.output(Spec::new(I32, &[2])),
                ..base()
            };
            change(&mut p, io);
            Box::new(move |context, stream| reflex_sample(context, &p, stream))
        });
        let named = message.contains(&format!("sample: {field}"));
        assert!(named, "case {i} {field}: {message}");
        assert_eq!(status, REFLEX_INVALID_ARGUMENT, "case {i}: {message}");
    }
}

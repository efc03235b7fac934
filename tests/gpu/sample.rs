use crate::support::*;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const F16: reflex_dtype = REFLEX_DTYPE_F16;
const BF16: reflex_dtype = REFLEX_DTYPE_BF16;
const I32: reflex_dtype = REFLEX_DTYPE_I32;
const NAN: f32 = f32::NAN;
const INF: f32 = f32::INFINITY;

/// Temperature, top_k, top_p, min_p.
type Setting = (f32, u32, f32, f32);

const SETTINGS: [Setting; 14] = [
    (0.0, 0, 0.0, 0.0),
    (1.0, 0, 0.0, 0.0),
    (0.7, 0, 0.0, 0.05),
    (1.0, 1, 0.0, 0.0),
    (2.0, 40, 0.0, 0.0),
    (1.0, 40, 0.95, 0.05),
    (3.0, 4000, 0.0, 0.0),
    (3.0, 4000, 0.99, 0.0),
    // More candidates than are sorted.
    (5.0, 5000, 0.0, 0.0),
    (5.0, 6000, 0.97, 1e-4),
    (1.0, 0, 0.5, 0.0),
    (1.5, 0, 0.9, 0.0),
    (4.0, 0, 0.999, 0.0),
    (1e-3, 0, 1e-9, 1.0),
];

#[derive(Clone)]
struct Case {
    spec: Spec,
    logits: Vec<f32>,
    setting: Setting,
    seed: u64,
}

impl Case {
    /// The steps are the counters, as in a captured decode step.
    fn launch(&self, io: &Io) -> Launch {
        let rows = self.spec.shape[0];
        let (temperature, top_k, top_p, min_p) = self.setting;
        let steps: Vec<i32> = (0..rows as i32).map(|row| 100 - 7 * row).collect();
        let mut p = reflex_sample_params {
            struct_size: size_of::<reflex_sample_params>() as u32,
            temperature,
            top_k,
            top_p,
            min_p,
            seed: self.seed,
            logits: io.input(self.spec.clone(), &self.logits),
            ids: io.output(Spec::new(I32, &[rows])),
            ..Default::default()
        };
        p.steps = io.in_out_ints(&steps);
        p.counters = p.steps;
        Box::new(move |context, stream| reflex_sample(context, &p, stream))
    }
}

pub fn tests(suite: &mut Suite) {
    // Integers and operations that every device rounds alike: the CPU backend draws the very same tokens.
    let mut add = |name: String, spec: Spec, logits: Vec<f32>, setting: Setting| {
        let seed = 0x9E37_79B9_7F4A_7C15 ^ logits.len() as u64;
        let case = Case {
            spec,
            logits,
            setting,
            seed,
        };
        suite.parity(format!("sample::{name}"), Tolerance::EXACT, move |io| case.launch(io));
    };
    let normals = |count: i64, scale: f32, shift: f32| -> Vec<f32> {
        let mut random = Random::new(count as u64);
        (0..count).map(|_| shift + scale * random.normal()).collect()
    };
    for (i, setting) in SETTINGS.into_iter().enumerate() {
        for n in [1, 2, 7, 8, 33, 264, 1000, 4096, 4097, 8192, 20001] {
            let spec = Spec::new(F32, &[4, n]);
            add(format!("setting_{i}_n_{n}"), spec, normals(4 * n, 3.0, 0.0), setting);
        }
        for n in [32000, 151_936] {
            let spec = Spec::new(F32, &[1, n]);
            add(format!("setting_{i}_n_{n}"), spec, normals(n, 2.5, -4.0), setting);
        }
        for dtype in [F16, BF16] {
            let spec = Spec::new(dtype, &[2, 8000]);
            let logits = normals(16000, 4.0, 1.0);
            add(format!("setting_{i}_type_{}", dtype.0), spec, logits, setting);
        }
        let n = 9000;
        let spec = || Spec::new(F32, &[1, n]);
        add(format!("setting_{i}_flat"), spec(), vec![1.5; n as usize], setting);
        add(format!("setting_{i}_narrow"), spec(), normals(n, 1e-3, 1e3), setting);
        add(format!("setting_{i}_wide"), spec(), normals(n, 1e4, 0.0), setting);
        add(format!("setting_{i}_huge"), spec(), normals(n, 1e38, 0.0), setting);
        let steps = (0..n).map(|k| (k % 13) as f32 - 0.0).collect();
        add(format!("setting_{i}_ties"), spec(), steps, setting);
    }
    for (gap, offset) in [(1, 0), (8, 0), (0, 1), (3, 2), (4, 4)] {
        let spec = Spec::new(F32, &[3, 1000]).row_gap(gap).offset(offset);
        let logits = normals(3000, 3.0, 0.0);
        add(format!("gap_{gap}_offset_{offset}"), spec, logits, SETTINGS[5]);
    }
    for rows in [0, 1, 40] {
        let spec = Spec::new(F32, &[rows, 100]);
        add(format!("rows_{rows}"), spec, normals(100 * rows, 1.0, 0.0), SETTINGS[1]);
    }
    for (i, setting) in SETTINGS.into_iter().enumerate() {
        for n in [9usize, 5000] {
            let mut rows = [
                vec![NAN; n],
                vec![-INF; n],
                vec![INF; n],
                vec![-0.0; n],
                vec![NAN; n],
                vec![-INF; n],
                vec![3e38; n],
            ];
            rows[3][n - 1] = 0.0;
            rows[4][n / 2] = -7.0;
            rows[5][n - 2] = f32::MIN;
            rows[5][n - 3] = f32::MIN;
            rows[6][3] = INF;
            rows[6][n - 1] = INF;
            let spec = Spec::new(F32, &[7, n as i64]);
            add(format!("setting_{i}_special_values_{n}"), spec, rows.concat(), setting);
        }
    }

    for (rows, n) in [(1, 700), (24, 33), (40, 8000), (12, 20001), (3, 151_936)] {
        for dtype in [F32, F16, BF16] {
            suite.parity(
                format!("sample::settings_of_{rows}_rows_n_{n}_type_{}", dtype.0),
                Tolerance::EXACT,
                move |io| {
                    let logits = io.input(
                        Spec::new(dtype, &[rows as i64, n as i64]),
                        &sample_logits(rows, n).concat(),
                    );
                    let mut p = sample_rows_params(io, &sample_rows(rows), logits);
                    p.counters = io.in_out_ints(&[1, 2, i32::MAX]);
                    Box::new(move |context, stream| reflex_sample(context, &p, stream))
                },
            );
        }
    }
    // Each operand by itself: what is absent is the call's own.
    for which in 0..6 {
        suite.parity(format!("sample::own_numbers_{which}"), Tolerance::EXACT, move |io| {
            let logits = io.input(Spec::new(F32, &[20, 3001]), &sample_logits(20, 3001).concat());
            let all = sample_rows_params(io, &sample_rows(20), logits);
            let mut p = reflex_sample_params {
                struct_size: all.struct_size,
                temperature: 1.5,
                top_k: 300,
                top_p: 0.98,
                min_p: 1e-4,
                seed: 77,
                logits,
                ids: all.ids,
                ..Default::default()
            };
            match which {
                0 => p.seeds = all.seeds,
                1 => p.temperatures = all.temperatures,
                2 => p.top_ks = all.top_ks,
                3 => p.top_ps = all.top_ps,
                4 => p.min_ps = all.min_ps,
                _ => p.row_keys = all.row_keys,
            }
            Box::new(move |context, stream| reflex_sample(context, &p, stream))
        });
    }
    for n in [700, 9000] {
        suite.parity(format!("sample::stray_settings_n_{n}"), Tolerance::EXACT, move |io| {
            let rows: Vec<SampleRow> = stray_sample_rows().into_iter().map(|(stray, _)| stray).collect();
            let logits = sample_logits(1, n).concat().repeat(rows.len());
            let logits = io.input(Spec::new(F32, &[rows.len() as i64, n as i64]), &logits);
            let p = sample_rows_params(io, &rows, logits);
            Box::new(move |context, stream| reflex_sample(context, &p, stream))
        });
    }
    // Any bits at all: settings nobody wrote, as in memory that was never set.
    suite.parity("sample::settings_of_any_bits", Tolerance::EXACT, |io| {
        let (rows, n) = (500i64, 300usize);
        let mut random = Random::new(6);
        let mut any = |spec: Spec| {
            let bytes = random.bytes(4 * spec.elements());
            io.input_bytes(spec, &bytes)
        };
        let p = reflex_sample_params {
            struct_size: size_of::<reflex_sample_params>() as u32,
            seeds: any(Spec::new(I32, &[rows, 2])),
            temperatures: any(Spec::new(F32, &[rows])),
            top_ks: any(Spec::new(I32, &[rows])),
            top_ps: any(Spec::new(F32, &[rows])),
            min_ps: any(Spec::new(F32, &[rows])),
            row_keys: any(Spec::new(I32, &[rows])),
            steps: any(Spec::new(I32, &[rows])),
            logits: io.input(
                Spec::new(F32, &[rows, n as i64]),
                &sample_logits(rows as usize, n).concat(),
            ),
            ids: io.output(Spec::new(I32, &[rows])),
            ..Default::default()
        };
        Box::new(move |context, stream| reflex_sample(context, &p, stream))
    });
    for n in [9, 700, 9000] {
        suite.test(format!("sample::rows_draw_for_themselves_n_{n}"), move |_| {
            expect_rows_draw_for_themselves(&Env::cuda().expect("a GPU"), 24, n);
        });
    }
    suite.test("sample::stray_settings_are_clamped", |_| {
        expect_strays_are_clamped(&Env::cuda().expect("a GPU"), 700);
    });
    suite.test("sample::replays_read_settings_anew", |_| {
        expect_replays_read_settings_anew(&Env::cuda().expect("a GPU"));
    });

    suite.parity("sample::counters_apart", Tolerance::EXACT, |io| {
        let p = reflex_sample_params {
            struct_size: size_of::<reflex_sample_params>() as u32,
            temperature: 1.0,
            logits: io.input(Spec::new(F32, &[3, 500]), &Random::new(1).normals(1500)),
            ids: io.output(Spec::new(I32, &[3])),
            counters: io.in_out_ints(&(0..5000).collect::<Vec<_>>()),
            ..Default::default()
        };
        Box::new(move |context, stream| reflex_sample(context, &p, stream))
    });
}

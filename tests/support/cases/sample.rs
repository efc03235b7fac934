//! `cases/sample.txt`.

use super::*;
use crate::support::*;

const NAN: f32 = f32::NAN;
const INF: f32 = f32::INFINITY;

#[derive(Clone, Debug)]
pub struct Case {
    logits: reflex_dtype,
    rows: i64,
    n: i64,
    gap: i64,
    offset: usize,
    values: Values,
    temperature: f32,
    top_k: u32,
    top_p: f32,
    min_p: f32,
    own: Own,
    counters: Counters,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Values {
    /// Normals of this deviation around this.
    Normal(f32, f32),
    Flat,
    Ties,
    Special,
    /// Steps of an eighth, with ties.
    Eighths,
}

/// Which numbers each row has for itself.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Own {
    None,
    All,
    /// One operand of them.
    One(usize),
    /// Numbers outside of their ranges.
    Stray,
    /// Settings nobody wrote, as in memory that was never set.
    AnyBits,
}

#[derive(Clone, PartialEq, Debug)]
enum Counters {
    /// The steps are the counters, as in a captured decode step.
    Steps,
    Apart(Vec<i32>),
}

const VALUES: &[(&str, Values)] = &[
    ("normal", Values::Normal(3.0, 0.0)),
    ("vocabulary", Values::Normal(2.5, -4.0)),
    ("shifted", Values::Normal(4.0, 1.0)),
    ("unit", Values::Normal(1.0, 0.0)),
    ("narrow", Values::Normal(1e-3, 1e3)),
    ("wide", Values::Normal(1e4, 0.0)),
    ("huge", Values::Normal(1e38, 0.0)),
    ("flat", Values::Flat),
    ("ties", Values::Ties),
    ("special", Values::Special),
    ("eighths", Values::Eighths),
];

const OWN: &[(&str, Own)] = &[
    ("none", Own::None),
    ("all", Own::All),
    ("seeds", Own::One(0)),
    ("temperatures", Own::One(1)),
    ("top_ks", Own::One(2)),
    ("top_ps", Own::One(3)),
    ("min_ps", Own::One(4)),
    ("row_keys", Own::One(5)),
    ("stray", Own::Stray),
    ("any_bits", Own::AnyBits),
];

impl Case {
    pub fn read(d: &Descriptor) -> Case {
        let own = d.one_of("own", OWN);
        Case {
            logits: d.dtype("logits"),
            rows: if own == Own::Stray {
                stray_sample_rows().len() as i64
            } else {
                d.number("rows")
            },
            n: d.number("n"),
            gap: d.number("gap"),
            offset: d.number("offset"),
            values: d.one_of("values", VALUES),
            temperature: d.number("temperature"),
            top_k: d.number("top_k"),
            top_p: d.number("top_p"),
            min_p: d.number("min_p"),
            own,
            counters: match d.text("counters") {
                "steps" => Counters::Steps,
                _ => Counters::Apart(d.list("counters")),
            },
        }
    }

    fn contents(&self) -> Vec<f32> {
        let (rows, n) = (self.rows as usize, self.n as usize);
        match self.values {
            Values::Normal(deviation, middle) => {
                let mut random = Random::new((rows * n) as u64);
                (0..rows * n).map(|_| middle + deviation * random.normal()).collect()
            }
            Values::Flat => vec![1.5; rows * n],
            Values::Ties => (0..rows * n).map(|k| (k % 13) as f32).collect(),
            Values::Special => special(n).concat(),
            Values::Eighths if self.own == Own::Stray => sample_logits(1, n).concat().repeat(rows),
            Values::Eighths => sample_logits(rows, n).concat(),
        }
    }

    fn settings(&self, logits: reflex_tensor, ids: reflex_tensor) -> reflex_sample_params {
        reflex_sample_params {
            struct_size: size_of::<reflex_sample_params>() as u32,
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            seed: 0x9E37_79B9_7F4A_7C15 ^ (self.rows * self.n) as u64,
            logits,
            ids,
            ..Default::default()
        }
    }

    fn params(&self, io: &Io) -> reflex_sample_params {
        let spec = Spec::new(self.logits, &[self.rows, self.n]);
        let logits = io.input_of(spec.offset(self.offset).gap(self.gap), || self.contents());
        let ids = || io.output(Spec::new(REFLEX_DTYPE_I32, &[self.rows]));
        match self.own {
            Own::None => self.settings(logits, ids()),
            Own::All => sample_rows_params(io, &sample_rows(self.rows as usize), logits),
            Own::Stray => {
                let rows: Vec<SampleRow> = stray_sample_rows().into_iter().map(|(stray, _)| stray).collect();
                sample_rows_params(io, &rows, logits)
            }
            Own::One(which) => {
                // What is absent is the call's own.
                let all = sample_rows_params(io, &sample_rows(self.rows as usize), logits);
                let mut p = self.settings(logits, all.ids);
                match which {
                    0 => p.seeds = all.seeds,
                    1 => p.temperatures = all.temperatures,
                    2 => p.top_ks = all.top_ks,
                    3 => p.top_ps = all.top_ps,
                    4 => p.min_ps = all.min_ps,
                    _ => p.row_keys = all.row_keys,
                }
                p
            }
            Own::AnyBits => {
                let mut random = Random::new(6);
                let mut any = |dtype, shape: &[i64]| {
                    let spec = Spec::new(dtype, shape);
                    let bytes = random.bytes(4 * spec.elements());
                    io.input_bytes(spec, &bytes)
                };
                let (ints, floats, rows) = (REFLEX_DTYPE_I32, REFLEX_DTYPE_F32, self.rows);
                reflex_sample_params {
                    seeds: any(ints, &[rows, 2]),
                    temperatures: any(floats, &[rows]),
                    top_ks: any(ints, &[rows]),
                    top_ps: any(floats, &[rows]),
                    min_ps: any(floats, &[rows]),
                    row_keys: any(ints, &[rows]),
                    steps: any(ints, &[rows]),
                    ..self.settings(logits, ids())
                }
            }
        }
    }
}

fn special(n: usize) -> [Vec<f32>; 7] {
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
    rows
}

impl Problem for Case {
    fn call(&self, io: &Io) -> Call {
        let mut p = self.params(io);
        match &self.counters {
            Counters::Steps => {
                let steps: Vec<i32> = (0..self.rows as i32).map(|row| 100 - 7 * row).collect();
                p.steps = io.in_out_ints(&steps);
                p.counters = p.steps;
            }
            Counters::Apart(values) if values.is_empty() => {}
            Counters::Apart(values) => p.counters = io.in_out_ints(values),
        }
        Call::new(p, reflex_sample, reflex_sample_selected_kernel)
    }

    fn size(&self, _kernel: &str) -> Size {
        Size::new(REFLEX_DTYPE_I32)
    }
}

/// What a call of it may be like.
pub fn random_calls(calls: &mut Calls) {
    calls.op(
        "sample",
        (reflex_sample, reflex_sample_supported),
        scratch!(reflex_sample_workspace_size, false),
        |m, p: &mut reflex_sample_params| {
            let (n, rows, count) = (m.pick(&[1, 7, 100, 1000]), m.dim(), m.dim());
            p.temperature = m.pick(&[0.0, 0.7, -1.0, 1.0]);
            p.top_k = m.pick(&[0, 1, 40]);
            p.top_p = m.pick(&[0.0, 0.9, 1.0, 1.5]);
            p.logits = m.floats(&[rows, n]);
            p.steps = m.optional(|m| m.ints(rows));
            p.temperatures = m.optional(|m| m.tensor(REFLEX_DTYPE_F32, &[rows]));
            p.top_ks = m.optional(|m| m.ints(rows));
            p.ids = m.ints(rows);
            let steps = p.steps;
            p.counters = m.optional(|m| match m.one_in(2) && !steps.data.is_null() {
                true => reflex_tensor {
                    shape: [rows + count, 0, 0, 0],
                    stride: [0; 4],
                    ..steps
                },
                false => m.ints(count),
            });
        },
    );
}

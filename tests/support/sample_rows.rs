//! Rows of reflex_sample with settings of their own, drawn together and one by one.

use super::buffer::*;
use super::parity::*;
use super::{Env, Random};
use reflex_infer::*;

#[derive(Clone, Copy, Debug)]
pub struct SampleRow {
    pub seed: u64,
    pub temperature: f32,
    pub top_k: i32,
    pub top_p: f32,
    pub min_p: f32,
    pub key: i32,
    pub step: i32,
}

/// Settings within their ranges, greedy ones among them.
pub fn sample_rows(count: usize) -> Vec<SampleRow> {
    let mut random = Random::new(count as u64);
    let mut pick = |values: &[f32]| values[random.below(values.len() as u64) as usize];
    (0..count)
        .map(|i| SampleRow {
            seed: 0x9E37_79B9_7F4A_7C15u64.wrapping_mul(i as u64 / 2 + 1),
            temperature: pick(&[0.0, 0.7, 1.0, 1.3, 3.0, 1e-3, 0.1]),
            top_k: pick(&[0.0, 0.0, 1.0, 7.0, 40.0, 500.0, 1e6]) as i32,
            top_p: pick(&[0.0, 0.0, 0.3, 0.9, 0.999, 1.0, 1e-12]),
            min_p: pick(&[0.0, 0.0, 0.01, 0.2, 1.0, 1e-12]),
            // More than half of them are negative as I32.
            key: (i as u32).wrapping_mul(0xC2B2_AE35) as i32,
            step: (i as i32 % 5) - 2,
        })
        .collect()
}

/// Numbers that the host would refuse, each with what it counts as.
pub fn stray_sample_rows() -> Vec<(SampleRow, SampleRow)> {
    let base = SampleRow {
        seed: 3,
        temperature: 2.0,
        top_k: 0,
        top_p: 0.0,
        min_p: 0.0,
        key: 9,
        step: 4,
    };
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let mut pairs = Vec::new();
    for (stray, counts_as) in [
        (nan, 0.0),
        (-nan, 0.0),
        (-1.0, 0.0),
        (-inf, 0.0),
        (-0.0, 0.0),
        (-1e-45, 0.0),
        (inf, f32::MAX),
        (f32::MAX, f32::MAX),
        (1e-45, 1e-45),
    ] {
        let row = |temperature| SampleRow { temperature, ..base };
        pairs.push((row(stray), row(counts_as)));
    }
    for (stray, counts_as) in [(-1, 0), (i32::MIN, 0), (i32::MAX, 0), (1 << 30, 0), (5, 5)] {
        let row = |top_k| SampleRow { top_k, ..base };
        pairs.push((row(stray), row(counts_as)));
    }
    for (stray, counts_as) in [
        (nan, 0.0),
        (-0.5, 0.0),
        (-inf, 0.0),
        (-0.0, 0.0),
        (1.0 + f32::EPSILON, 1.0),
        (inf, 1.0),
        (3e38, 1.0),
        (1e-45, 1e-45),
    ] {
        let top_p = |top_p| SampleRow { top_p, ..base };
        let min_p = |min_p| SampleRow { min_p, ..base };
        pairs.push((top_p(stray), top_p(counts_as)));
        pairs.push((min_p(stray), min_p(counts_as)));
    }
    pairs
}

/// Both words of each seed, the lower one first.
pub fn seed_words(rows: &[SampleRow]) -> Vec<i32> {
    let words = |row: &SampleRow| [row.seed as i32, (row.seed >> 32) as i32];
    rows.iter().flat_map(words).collect()
}

/// The operands of the rows; the fields that they stand in for hold other numbers.
pub fn sample_rows_params(io: &Io, rows: &[SampleRow], logits: reflex_tensor) -> reflex_sample_params {
    let n = rows.len() as i64;
    let floats = |value: fn(&SampleRow) -> f32| {
        let values: Vec<f32> = rows.iter().map(value).collect();
        io.input(Spec::new(REFLEX_DTYPE_F32, &[n]), &values)
    };
    let ints = |value: fn(&SampleRow) -> i32| io.ints(&rows.iter().map(value).collect::<Vec<_>>());
    let seeds = Spec::new(REFLEX_DTYPE_I32, &[n, 2]);
    reflex_sample_params {
        struct_size: size_of::<reflex_sample_params>() as u32,
        temperature: 77.0,
        top_k: 2,
        top_p: 0.123,
        min_p: 0.456,
        seed: 987,
        logits,
        ids: io.output(Spec::new(REFLEX_DTYPE_I32, &[n])),
        steps: ints(|row| row.step),
        seeds: io.input_bytes(seeds, &encode_ints(&seed_words(rows))),
        temperatures: floats(|row| row.temperature),
        top_ks: ints(|row| row.top_k),
        top_ps: floats(|row| row.top_p),
        min_ps: floats(|row| row.min_p),
        row_keys: ints(|row| row.key),
        ..Default::default()
    }
}

/// All rows in one call. Rows of logits are as many.
pub fn draw_together(env: &Env, rows: &[SampleRow], logits: &[Vec<f32>]) -> Vec<i32> {
    let shape = [rows.len() as i64, logits.first().map_or(1, Vec::len) as i64];
    let outputs = run_once(env, |io| {
        let logits = io.input(Spec::new(REFLEX_DTYPE_F32, &shape), &logits.concat());
        let p = sample_rows_params(io, rows, logits);
        Box::new(move |context, stream| reflex_sample(context, &p, stream))
    });
    outputs[0].iter().map(|&id| id as i32).collect()
}

/// A call for each row, with its numbers in the fields, which are 0 or more; its key alone is an operand.
pub fn draw_one_by_one(env: &Env, rows: &[SampleRow], logits: &[Vec<f32>]) -> Vec<i32> {
    let draw = |(row, logits): (&SampleRow, &Vec<f32>)| {
        let outputs = run_once(env, |io| {
            let p = reflex_sample_params {
                struct_size: size_of::<reflex_sample_params>() as u32,
                temperature: row.temperature,
                top_k: row.top_k as u32,
                top_p: row.top_p,
                min_p: row.min_p,
                seed: row.seed,
                logits: io.input(Spec::new(REFLEX_DTYPE_F32, &[1, logits.len() as i64]), logits),
                ids: io.output(Spec::new(REFLEX_DTYPE_I32, &[1])),
                steps: io.ints(&[row.step]),
                row_keys: io.ints(&[row.key]),
                ..Default::default()
            };
            Box::new(move |context, stream| reflex_sample(context, &p, stream))
        });
        outputs[0][0] as i32
    };
    rows.iter().zip(logits).map(draw).collect()
}

/// Logits of as many rows, with ties.
pub fn sample_logits(rows: usize, n: usize) -> Vec<Vec<f32>> {
    let mut random = Random::new((rows * n) as u64);
    (0..rows)
        .map(|_| (0..n).map(|_| (random.normal() * 24.0).round() / 8.0).collect())
        .collect()
}

/// What holds on every backend: a row draws alone what it draws in any batch, wherever it stands there.
pub fn expect_rows_draw_for_themselves(env: &Env, count: usize, n: usize) {
    let (rows, logits) = (sample_rows(count), sample_logits(count, n));
    let together = draw_together(env, &rows, &logits);
    assert_eq!(together, draw_one_by_one(env, &rows, &logits), "n {n}: one by one");
    // The rows in another order, then every third of them.
    for (what, order) in [
        ("reversed", (0..count).rev().collect::<Vec<_>>()),
        ("rotated", (0..count).map(|i| (i + 5) % count).collect()),
        ("a third", (1..count).step_by(3).collect()),
    ] {
        let rows: Vec<SampleRow> = order.iter().map(|&i| rows[i]).collect();
        let logits: Vec<Vec<f32>> = order.iter().map(|&i| logits[i].clone()).collect();
        let want: Vec<i32> = order.iter().map(|&i| together[i]).collect();
        assert_eq!(draw_together(env, &rows, &logits), want, "n {n}: {what}");
    }
    let greedy = rows.iter().filter(|row| row.temperature == 0.0).count();
    assert!(greedy > 0 && greedy < count, "greedy rows beside others");
}

/// Numbers outside of their ranges count as documented.
pub fn expect_strays_are_clamped(env: &Env, n: usize) {
    let (stray, counts_as): (Vec<SampleRow>, Vec<SampleRow>) = stray_sample_rows().into_iter().unzip();
    // The same logits for all, flat enough that a filter that is off or on shows.
    let logits = vec![sample_logits(1, n).remove(0); stray.len()];
    let want = draw_one_by_one(env, &counts_as, &logits);
    let got = draw_together(env, &stray, &logits);
    for ((got, want), row) in got.iter().zip(&want).zip(&stray) {
        assert_eq!(got, want, "{row:?}");
    }
}

/// A recorded call draws by what the operands hold when it is replayed.
pub fn expect_replays_read_settings_anew(env: &Env) {
    let (count, n) = (12, 700);
    let (rows, logits) = (sample_rows(3 * count), sample_logits(count, n));
    let io = Io::new(env);
    let spec = Spec::new(REFLEX_DTYPE_F32, &[count as i64, n as i64]);
    let p = sample_rows_params(&io, &rows[..count], io.input(spec, &logits.concat()));
    let graph = env.captured(|| reflex_sample(env.context, &p, env.stream));
    let mut seen = Vec::new();
    for rows in rows.chunks(count) {
        let floats = |value: fn(&SampleRow) -> f32| -> Vec<u8> {
            encode(REFLEX_DTYPE_F32, &rows.iter().map(value).collect::<Vec<_>>())
        };
        let ints = |value: fn(&SampleRow) -> i32| encode_ints(&rows.iter().map(value).collect::<Vec<_>>());
        env.upload(p.seeds.data, &encode_ints(&seed_words(rows)));
        env.upload(p.temperatures.data, &floats(|row| row.temperature));
        env.upload(p.top_ks.data, &ints(|row| row.top_k));
        env.upload(p.top_ps.data, &floats(|row| row.top_p));
        env.upload(p.min_ps.data, &floats(|row| row.min_p));
        env.upload(p.row_keys.data, &ints(|row| row.key));
        env.upload(p.steps.data, &ints(|row| row.step));
        super::ok(reflex_graph_launch(env.context, graph, env.stream));
        let mut bytes = vec![0; 4 * count];
        env.download(p.ids.data, &mut bytes);
        let got: Vec<i32> = decode(REFLEX_DTYPE_I32, &bytes).iter().map(|&id| id as i32).collect();
        assert_eq!(got, draw_together(env, rows, &logits));
        seen.push(got);
    }
    assert!(
        seen[0] != seen[1] && seen[1] != seen[2],
        "the settings made no difference"
    );
    reflex_graph_destroy(graph);
}

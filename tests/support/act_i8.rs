//! `REFLEX_DTYPE_ACT_I8` in tests: the specification in its plainest form, and the comparison of two backends' results.

use super::buffer::Spec;
use super::parity::Tolerance;
use reflex_infer::REFLEX_DTYPE_ACT_I8;

/// One block of a row.
#[derive(Clone, Copy, Debug)]
pub struct Q8Block {
    pub d: f32,
    pub sums: [i16; 2],
    pub q: [i8; 32],
}

/// A tensor whose rows are apart, and aligned for any number of blocks in a row.
pub fn act_i8(shape: &[i64]) -> Spec {
    let blocks = shape.last().expect("a dimension") / 32;
    Spec::new(REFLEX_DTYPE_ACT_I8, shape).row_gap(2 - blocks % 2).offset(2)
}

/// Rows of `k` values as rows of bytes.
pub fn encode_act_i8(values: &[f32], k: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for row in values.chunks(k.max(1)) {
        let blocks: Vec<Q8Block> = row.chunks(32).map(quantize).collect();
        bytes.extend(blocks.iter().flat_map(|b| b.q.map(|q| q as u8)));
        for block in blocks {
            bytes.extend(block.d.to_le_bytes());
            bytes.extend(block.sums.iter().flat_map(|s| s.to_le_bytes()));
        }
    }
    bytes
}

fn quantize(x: &[f32]) -> Q8Block {
    let largest = x.iter().fold(0.0f32, |a, v| a.max(v.abs()));
    let inverse = 127.0 / largest;
    let (d, q): (f32, Vec<f32>) = if x.iter().any(|v| v.is_nan()) {
        (f32::NAN, vec![0.0; 32])
    } else if largest.is_infinite() {
        let end = |v: &f32| if v.is_infinite() { 127.0 * v.signum() } else { 0.0 };
        (largest, x.iter().map(end).collect())
    } else if inverse.is_infinite() {
        (0.0, vec![0.0; 32])
    } else {
        let round = |v: &f32| (v * inverse).round_ties_even().clamp(-127.0, 127.0);
        (largest / 127.0, x.iter().map(round).collect())
    };
    let sum = |q: &[f32]| q.iter().sum::<f32>() as i16;
    Q8Block {
        d,
        sums: [sum(&q[..16]), sum(&q[16..])],
        q: std::array::from_fn(|i| q[i] as i8),
    }
}

/// The blocks of every row of `k` values.
pub fn act_i8_blocks(bytes: &[u8], k: usize) -> Vec<Q8Block> {
    let mut blocks = Vec::new();
    for row in bytes.chunks((k / 32 * 40).max(1)) {
        let (quants, records) = row.split_at(k);
        for (q, record) in quants.chunks(32).zip(records.chunks(8)) {
            let word = |at: usize| i16::from_le_bytes([record[at], record[at + 1]]);
            blocks.push(Q8Block {
                d: f32::from_le_bytes(record[..4].try_into().unwrap()),
                sums: [word(4), word(6)],
                q: std::array::from_fn(|i| q[i] as i8),
            });
        }
    }
    blocks
}

pub fn decode_act_i8(bytes: &[u8], k: usize) -> Vec<f32> {
    let value = |block: Q8Block| block.q.map(|q| block.d * f32::from(q));
    act_i8_blocks(bytes, k).into_iter().flat_map(value).collect()
}

/// Where what was quantised agrees to `tolerance`: an element may fall to the next step, the largest element of a block
/// (and so d) differs by no more than the tolerance, and the sums are those of the block itself. No tolerance: every byte.
pub fn compare_act_i8(got: &[u8], want: &[u8], k: usize, tolerance: Tolerance) -> Result<(), String> {
    if tolerance == Tolerance::EXACT {
        let at = got.iter().zip(want).position(|(a, b)| a != b);
        return at.map_or(Ok(()), |i| Err(format!("byte {i} is {}, expected {}", got[i], want[i])));
    }
    for (i, (a, b)) in act_i8_blocks(got, k)
        .into_iter()
        .zip(act_i8_blocks(want, k))
        .enumerate()
    {
        let fail = |what: &str| Err(format!("block {i}: {what}: {a:?}, expected {b:?}"));
        let sum = |q: &[i8]| q.iter().map(|&q| i16::from(q)).sum::<i16>();
        if a.sums != [sum(&a.q[..16]), sum(&a.q[16..])] {
            return fail("the sums are not those of q");
        }
        if !(a.d.is_finite() && b.d.is_finite()) {
            if a.d.to_bits() != b.d.to_bits() || a.q != b.q {
                return fail("not finite, and different");
            }
            continue;
        }
        let largest = 127.0 * b.d;
        let allowed = |size: f32| tolerance.absolute + tolerance.relative * size;
        // One part in 2^22 for the rounding of d itself.
        if (a.d - b.d).abs() * 127.0 > allowed(largest) + largest / (1 << 22) as f32 {
            return fail("d");
        }
        let step = a.d.max(b.d) * (1.0 + f32::EPSILON);
        for (&p, &q) in a.q.iter().zip(&b.q) {
            let (p, q) = (a.d * f32::from(p), b.d * f32::from(q));
            if (p - q).abs() > step + allowed(q.abs()) {
                return fail("values more than a step apart");
            }
        }
    }
    Ok(())
}

/// Values that went through ACT_I8 against the formula in f64: half a step of their block, on top of `tolerance`.
#[track_caller]
pub fn assert_quantized(got: &[f32], want: &[f64], tolerance: Tolerance) {
    assert_eq!(got.len(), want.len());
    for (i, (got, want)) in got.chunks(32).zip(want.chunks(32)).enumerate() {
        let largest = want.iter().fold(0.0f64, |a, v| a.max(v.abs()));
        let allowed = f64::from(tolerance.absolute) + f64::from(tolerance.relative) * largest;
        for (&got, &want) in got.iter().zip(want) {
            let error = (f64::from(got) - want).abs();
            assert!(error <= largest / 254.0 + allowed, "block {i}: {got}, expected {want}");
        }
    }
}

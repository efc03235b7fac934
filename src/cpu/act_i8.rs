//! Quantised activations: the layout and the rounding of `REFLEX_DTYPE_ACT_I8`, bit for bit as the kernels have them.

use crate::constants::ACT_I8_BLOCK;

/// Elements of a block.
pub(crate) const BLOCK: usize = ACT_I8_BLOCK as usize;

/// What follows the quants of a row, for each of its blocks.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Record {
    /// An element is `d * q`.
    pub d: f32,
    /// Of the first 16 q and of the last 16.
    pub sums: [i16; 2],
}
const _: () = assert!(size_of::<Record>() == 8);

/// Quantises elements `first..first + values.len()` of a row of `k`; all three are multiples of 32.
///
/// # Safety
/// The row lies in memory that may be written, 16-byte aligned.
pub(crate) unsafe fn store(row: *mut u8, k: usize, first: usize, values: &[f32]) {
    let (blocks, rest) = values.as_chunks::<BLOCK>();
    debug_assert!(rest.is_empty() && k.is_multiple_of(BLOCK) && first.is_multiple_of(BLOCK));
    let (quants, records) = (row.cast::<[i8; BLOCK]>(), row.wrapping_add(k).cast::<Record>());
    for (i, block) in blocks.iter().enumerate() {
        let (q, record) = quantize(block);
        let at = first / BLOCK + i;
        unsafe {
            quants.add(at).write(q);
            records.add(at).write(record);
        }
    }
}

/// A whole row of quants times their scales.
///
/// # Safety
/// The row lies in memory that may be read, 16-byte aligned.
pub(crate) unsafe fn load(row: *const u8, out: &mut [f32]) {
    let (quants, records) = (row.cast::<[i8; BLOCK]>(), row.wrapping_add(out.len()).cast::<Record>());
    let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
    debug_assert!(rest.is_empty());
    for (i, block) in blocks.iter_mut().enumerate() {
        let (q, record) = unsafe { (quants.add(i).read(), records.add(i).read()) };
        *block = q.map(|q| record.d * f32::from(q));
    }
}

/// The values that 8 bits hold of these; whole blocks.
pub(crate) fn round(values: &mut [f32]) {
    let (blocks, rest) = values.as_chunks_mut::<BLOCK>();
    debug_assert!(rest.is_empty());
    for block in blocks {
        let (q, record) = quantize(block);
        *block = q.map(|q| record.d * f32::from(q));
    }
}

fn quantize(x: &[f32; BLOCK]) -> ([i8; BLOCK], Record) {
    /// Added to a small number, it leaves an integer, rounded to nearest even, in the low bits.
    const ROUND: f32 = (3 << 22) as f32;
    // Magnitudes are ordered as their bits are; NaN is above infinity.
    let bits = x.iter().map(|v| v.abs().to_bits()).max().unwrap_or(0);
    let amax = f32::from_bits(bits);
    let infinities = |v: f32| if v.is_infinite() { v.signum() } else { 0.0 };
    let (x, d, inverse) = match 127.0 / amax {
        _ if amax.is_nan() => ([0.0; BLOCK], f32::from_bits(0x7FC0_0000), 0.0),
        _ if amax.is_infinite() => (x.map(infinities), f32::INFINITY, 127.0),
        inverse if inverse.is_infinite() => ([0.0; BLOCK], 0.0, 0.0),
        inverse => (*x, amax / 127.0, inverse),
    };
    // Rounding takes x * inverse above 127 by less than 2^-15: nothing to clamp.
    let q = x.map(|v| (v * inverse + ROUND).to_bits() as i8);
    let sum = |q: &[i8]| q.iter().map(|&q| i16::from(q)).sum();
    let sums = [sum(&q[..16]), sum(&q[16..])];
    (q, Record { d, sums })
}

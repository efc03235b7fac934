//! Packed weights (docs/packed-weights.md) as what they are: a permutation of bits. For every bit of a row's 256 elements a
//! table says where it lies in the native blocks and where in the tile; packing and unpacking walk the same table.

use crate::abi::{Dtype, View};
use crate::ops::panels::Panels;
use std::sync::OnceLock;

/// Adjacent bits of one byte that stay adjacent.
#[derive(Clone, Copy, Debug)]
struct Field {
    /// Byte of the row's 256 elements.
    native: u16,
    /// Byte of the tile.
    packed: u16,
    native_shift: u8,
    packed_shift: u8,
    /// Before either shift.
    mask: u8,
}

/// The fields of each row of a tile.
pub(crate) struct Layout {
    rows: [Vec<Field>; 16],
}

impl Layout {
    pub fn of(dtype: Dtype) -> &'static Layout {
        static LAYOUTS: [OnceLock<Layout>; Dtype::ALL.len()] = [const { OnceLock::new() }; Dtype::ALL.len()];
        crate::abi::process::once(&LAYOUTS[dtype as usize], || Layout {
            rows: std::array::from_fn(|row| fields(&Bits::of_row(dtype, row).pairs)),
        })
    }

    /// Moves the 256 elements `run` of row `row` into a tile that was zero there.
    fn pack(&self, row: usize, run: &[u8], tile: &mut [u8]) {
        for f in &self.rows[row] {
            tile[f.packed as usize] |= (run[f.native as usize] >> f.native_shift & f.mask) << f.packed_shift;
        }
    }

    /// And back, into a `run` that was zero.
    fn unpack(&self, row: usize, tile: &[u8], run: &mut [u8]) {
        for f in &self.rows[row] {
            run[f.native as usize] |= (tile[f.packed as usize] >> f.packed_shift & f.mask) << f.native_shift;
        }
    }
}

/// Where things are in a panel, in bytes.
struct Sizes {
    tiles: usize,
    run: usize,
    tile: usize,
    tail: usize,
    row: usize,
}

impl Sizes {
    fn of(panels: &Panels) -> Sizes {
        let run = panels.run_bytes() as usize;
        Sizes {
            tiles: panels.tiles() as usize,
            run,
            tile: Panels::ROWS as usize * run,
            tail: panels.tail_bytes() as usize,
            row: panels.row_bytes() as usize,
        }
    }

    /// What follows the tiles of a panel: the last blocks of row `row`.
    fn tail_of(&self, row: usize) -> std::ops::Range<usize> {
        let start = self.tiles * self.tile + row * self.tail;
        start..start + self.tail
    }
}

/// A panel from its sixteen native rows.
pub(crate) fn pack_panel<'r>(dtype: Dtype, panels: &Panels, rows: impl Iterator<Item = &'r [u8]>, panel: &mut [u8]) {
    let (layout, sizes) = (Layout::of(dtype), Sizes::of(panels));
    panel.fill(0);
    for (r, row) in rows.enumerate() {
        for s in 0..sizes.tiles {
            layout.pack(
                r,
                &row[s * sizes.run..][..sizes.run],
                &mut panel[s * sizes.tile..][..sizes.tile],
            );
        }
        panel[sizes.tail_of(r)].copy_from_slice(&row[sizes.tiles * sizes.run..]);
    }
}

/// Native row `r` of a panel.
pub(crate) fn unpack_row(dtype: Dtype, panels: &Panels, panel: &[u8], r: usize, row: &mut [u8]) {
    let (layout, sizes) = (Layout::of(dtype), Sizes::of(panels));
    row.fill(0);
    for s in 0..sizes.tiles {
        layout.unpack(
            r,
            &panel[s * sizes.tile..][..sizes.tile],
            &mut row[s * sizes.run..][..sizes.run],
        );
    }
    row[sizes.tiles * sizes.run..].copy_from_slice(&panel[sizes.tail_of(r)]);
}

/// Address of a weight row with native blocks: the row itself, or what was unpacked into `scratch`.
///
/// # Safety
/// The weights may be read; the row exists.
pub(crate) unsafe fn native_row(weight: &View, row: usize, scratch: &mut Vec<u8>) -> *const u8 {
    let panels = Panels::of(weight);
    let (panel, r) = (row / Panels::ROWS as usize, row % Panels::ROWS as usize);
    if !weight.packed || panel >= panels.count() as usize {
        return weight.row(&[row as i64]);
    }
    let bytes = panels.bytes() as usize;
    // SAFETY: a whole panel of a dense matrix.
    let panel = unsafe { std::slice::from_raw_parts(weight.data.wrapping_add(panel * bytes), bytes) };
    scratch.resize(Sizes::of(&panels).row, 0);
    unpack_row(weight.dtype, &panels, panel, r, scratch);
    scratch.as_ptr()
}

/// (native bit, packed bit) for every bit of a row, where bit i is bit i % 8 of byte i / 8; adjacent ones in order.
struct Bits {
    pairs: Vec<(usize, usize)>,
}

fn fields(pairs: &[(usize, usize)]) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    let mut next = (0, 0);
    for &(native, packed) in pairs {
        match fields.last_mut() {
            Some(field) if (native, packed) == next && native % 8 != 0 && packed % 8 != 0 => {
                field.mask = field.mask << 1 | 1;
            }
            _ => fields.push(Field {
                native: (native / 8) as u16,
                packed: (packed / 8) as u16,
                native_shift: (native % 8) as u8,
                packed_shift: (packed % 8) as u8,
                mask: 1,
            }),
        }
        next = (native + 1, packed + 1);
    }
    fields
}

/// Bits of an unsigned quant; of Q8_0, of the signed byte.
fn quant_bits(dtype: Dtype) -> usize {
    match dtype {
        Dtype::Q2_K => 2,
        Dtype::Q3_K => 3,
        Dtype::Q4_0 | Dtype::Q4_1 | Dtype::Q4_K | Dtype::IQ4_NL | Dtype::IQ4_XS | Dtype::MXFP4 => 4,
        Dtype::Q5_0 | Dtype::Q5_1 | Dtype::Q5_K => 5,
        Dtype::Q6_K => 6,
        Dtype::Q8_0 => 8,
        Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::I32 | Dtype::ACT_I8 => {
            unreachable!("{} has no blocks", dtype.name())
        }
    }
}

fn at(byte: usize, bit: usize) -> usize {
    8 * byte + bit
}

impl Bits {
    fn of_row(dtype: Dtype, row: usize) -> Bits {
        let mut bits = Bits { pairs: Vec::new() };
        let (g, half) = (row % 8, row / 8);
        for element in 0..Panels::TILE as usize {
            for bit in 0..quant_bits(dtype) {
                let packed = packed_quant(dtype, g, half, element, bit);
                bits.pairs.push((native_quant(dtype, element, bit), packed));
            }
        }
        bits.add_scales(dtype, g, half);
        bits
    }

    /// `count` bits from one byte on, on both sides.
    fn run(&mut self, native: usize, packed: usize, count: usize) {
        (0..count).for_each(|bit| self.pairs.push((at(native, bit), at(packed, bit))));
    }

    fn add_scales(&mut self, dtype: Dtype, g: usize, half: usize) {
        // Quants of 16 rows come first.
        let section = 16 * Panels::TILE as usize * quant_bits(dtype) / 8;
        let lane = |t: usize| 4 * g + t;
        let step = dtype.block_bytes();
        match dtype {
            Dtype::Q4_0 | Dtype::Q5_0 | Dtype::Q8_0 | Dtype::IQ4_NL => {
                for b in 0..8 {
                    self.run(b * step, section + lane(b / 2) * 8 + half * 4 + b % 2 * 2, 16);
                }
            }
            Dtype::Q4_1 | Dtype::Q5_1 => {
                for b in 0..8 {
                    self.run(b * step, section + lane(b / 2) * 16 + half * 8 + b % 2 * 4, 32);
                }
            }
            Dtype::MXFP4 => {
                for b in 0..8 {
                    self.run(b * step, section + lane(b / 2) * 4 + half * 2 + b % 2, 8);
                }
            }
            Dtype::Q4_K | Dtype::Q5_K => {
                for b in 0..8 {
                    for bit in 0..6 {
                        let [scale, minimum] = k4_scale(b, bit);
                        let place = |i| six_bits(section, lane(b / 2), half, i, bit);
                        self.pairs.push((scale, place(b % 2)));
                        self.pairs.push((minimum, place(2 + b % 2)));
                    }
                }
                self.run(0, section + 192 + g * 8 + half * 4, 32);
            }
            Dtype::Q3_K => {
                for group in 0..16 {
                    for bit in 0..6 {
                        let native = match bit {
                            0..4 => at(96 + group % 8, 4 * (group / 8) + bit),
                            _ => at(104 + group % 4, 2 * (group / 4) + bit - 4),
                        };
                        let packed = six_bits(section, lane(group / 4), half, group % 4, bit);
                        self.pairs.push((native, packed));
                    }
                }
                self.run(108, section + 192 + g * 4 + half * 2, 16);
            }
            Dtype::Q6_K => {
                for group in 0..16 {
                    self.run(192 + group, section + lane(group / 4) * 8 + half * 4 + group % 4, 8);
                }
                self.run(208, section + 256 + g * 4 + half * 2, 16);
            }
            Dtype::Q2_K => {
                for group in 0..16 {
                    self.run(group, section + lane(group / 4) * 8 + half * 4 + group % 4, 8);
                }
                self.run(80, section + 256 + g * 8 + half * 4, 32);
            }
            Dtype::IQ4_XS => {
                for b in 0..8 {
                    let place = 2 * half + b % 2;
                    for bit in 0..4 {
                        let packed = at(section + lane(b / 2) * 2, 4 * place + bit);
                        self.pairs.push((at(4 + b / 2, b % 2 * 4 + bit), packed));
                    }
                    for bit in 0..2 {
                        let packed = at(section + 64 + lane(b / 2), 2 * place + bit);
                        self.pairs.push((at(2 + b / 4, b % 4 * 2 + bit), packed));
                    }
                }
                self.run(0, section + 96 + g * 4 + half * 2, 16);
            }
            Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::I32 | Dtype::ACT_I8 => {
                unreachable!("{} has no blocks", dtype.name())
            }
        }
    }
}

/// Bit `bit` of 6-bit number `i` of a lane: all of row g and two bits of row g + 8 in a word, the other four in a nibble.
fn six_bits(section: usize, lane: usize, half: usize, i: usize, bit: usize) -> usize {
    match (half, bit) {
        (0, _) => at(section + lane * 4 + i, bit),
        (_, 0..2) => at(section + lane * 4 + i, 6 + bit),
        _ => at(section + 128 + lane * 2, 4 * i + bit - 2),
    }
}

/// Bit `bit` of scale and minimum `b` of Q4_K and Q5_K in a native block.
fn k4_scale(b: usize, bit: usize) -> [usize; 2] {
    match (b, bit) {
        (0..4, _) => [at(4 + b, bit), at(8 + b, bit)],
        (_, 0..4) => [at(8 + b, bit), at(8 + b, 4 + bit)],
        _ => [at(b, 2 + bit), at(4 + b, 2 + bit)],
    }
}

/// Bit `bit` of a quant in the native blocks of 256 elements.
fn native_quant(dtype: Dtype, element: usize, bit: usize) -> usize {
    let (b, e) = (element / 32, element % 32);
    let block = b * dtype.block_bytes();
    // Byte l holds element l low and element l + 16 high.
    let nibble = |start: usize| at(start + e % 16, e / 16 * 4 + bit);
    // The same of whole 32-element blocks.
    let block_nibble = |start: usize| at(start + b / 2 * 32 + e, b % 2 * 4 + bit);
    let pair = |start: usize, bit: usize| at(start + b / 4 * 32 + e, b % 4 * 2 + bit);
    match (dtype, bit) {
        (Dtype::Q4_0 | Dtype::IQ4_NL, _) => nibble(block + 2),
        (Dtype::Q4_1, _) => nibble(block + 4),
        (Dtype::MXFP4, _) => nibble(block + 1),
        (Dtype::IQ4_XS, _) => nibble(8 + b * 16),
        (Dtype::Q5_0, 0..4) => nibble(block + 6),
        (Dtype::Q5_0, _) => at(block + 2, e),
        (Dtype::Q5_1, 0..4) => nibble(block + 8),
        (Dtype::Q5_1, _) => at(block + 4, e),
        (Dtype::Q8_0, _) => at(block + 2 + e, bit),
        (Dtype::Q4_K, _) => block_nibble(16),
        (Dtype::Q5_K, 0..4) => block_nibble(48),
        (Dtype::Q5_K, _) => at(16 + e, b),
        (Dtype::Q6_K, 0..4) => at(b / 4 * 64 + b % 2 * 32 + e, b % 4 / 2 * 4 + bit),
        (Dtype::Q6_K, _) => pair(128, bit - 4),
        (Dtype::Q2_K, _) => pair(16, bit),
        (Dtype::Q3_K, 0..2) => pair(32, bit),
        (Dtype::Q3_K, _) => at(e, b),
        (Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::I32 | Dtype::ACT_I8, _) => {
            unreachable!("{} has no blocks", dtype.name())
        }
    }
}

/// The same bit in a tile.
fn packed_quant(dtype: Dtype, g: usize, half: usize, element: usize, bit: usize) -> usize {
    let (b, e) = (element / 32, element % 32);
    let (t, w, i) = match dtype {
        Dtype::Q2_K | Dtype::Q3_K | Dtype::Q6_K => (e % 16 / 4, e / 16, e % 4),
        _ => (e / 8, e % 8 / 4, e % 4),
    };
    let word = |plane: usize, chunk: usize| at(plane + chunk * 512 + (4 * g + t) * 16 + (2 * w + half) * 4, 0);
    let (odd, s) = (b % 2, b % 4);
    match dtype {
        Dtype::Q8_0 => word(0, b) + 8 * i + bit,
        Dtype::Q4_0 | Dtype::Q4_1 | Dtype::Q4_K => word(0, b / 2) + 8 * i + 4 * odd + bit,
        Dtype::IQ4_NL | Dtype::IQ4_XS | Dtype::MXFP4 => word(0, b / 2) + 4 * (4 * odd + i) + bit,
        Dtype::Q5_0 | Dtype::Q5_1 | Dtype::Q5_K => match (odd, bit) {
            (0, 4) => word(2048, 0) + (8 * i + 4 + b) % 32,
            (1, 0) => word(2048, 0) + (8 * i + 2 + b) % 32,
            _ => word(0, b / 2) + 8 * i + 4 * odd + bit - odd,
        },
        Dtype::Q6_K => {
            let rest = word(2048, b / 4) + (8 * i + [4, 2, 8, 6][s]) % 32;
            match (odd, bit) {
                (0, 4..) => rest + bit - 4,
                (1, 0..2) => rest + bit,
                _ => word(0, b / 2) + 8 * i + 4 * odd + bit - 2 * odd,
            }
        }
        Dtype::Q2_K => word(0, b / 4) + 8 * i + 2 * s + bit,
        Dtype::Q3_K => match (s, bit) {
            (0..2, 2) | (2.., 0) => word(1024, 0) + (8 * i + 4 * (b / 4) + [2, 4, 3, 5][s]) % 32,
            (0..2, _) => word(0, b / 4) + 8 * i + 2 * s + bit,
            _ => word(0, b / 4) + 8 * i + 2 * s + bit - 1,
        },
        Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::I32 | Dtype::ACT_I8 => {
            unreachable!("{} has no blocks", dtype.name())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing is lost: every bit of every row goes to one bit of the tile, and none is left over.
    #[test]
    fn a_tile_is_a_permutation_of_its_rows_bits() {
        for &dtype in Dtype::BLOCKS {
            let row_bits = 8 * Panels::TILE as usize / dtype.block_elements() * dtype.block_bytes();
            let mut tile = vec![false; 16 * row_bits];
            for row in 0..16 {
                let mut native = vec![false; row_bits];
                for (from, to) in Bits::of_row(dtype, row).pairs {
                    assert!(
                        !std::mem::replace(&mut native[from], true),
                        "{} bit {from} twice",
                        dtype.name()
                    );
                    assert!(
                        !std::mem::replace(&mut tile[to], true),
                        "{} tile bit {to} twice",
                        dtype.name()
                    );
                }
                assert!(
                    native.iter().all(|&seen| seen),
                    "{}: row {row} has bits left",
                    dtype.name()
                );
            }
            assert!(
                tile.iter().all(|&seen| seen),
                "{}: the tile has bits left",
                dtype.name()
            );
        }
    }
}

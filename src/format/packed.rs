//! Packed weights (docs/packed-weights.md) as what they are: a permutation of bits. For every bit of a row's 256 elements a
//! table says where it lies in the native blocks and where in the tile; packing and unpacking walk the same table.

use super::panels::Panels;
use super::{at, native_quant, packed_quant, scales};
use crate::abi::{BlockFormat, View};
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
    pub fn of(format: BlockFormat) -> &'static Layout {
        static LAYOUTS: [OnceLock<Layout>; BlockFormat::ALL.len()] =
            [const { OnceLock::new() }; BlockFormat::ALL.len()];
        crate::abi::process::once(&LAYOUTS[format as usize], || Layout {
            rows: std::array::from_fn(|row| fields(&bits_of_row(format, row))),
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
pub(crate) fn pack_panel<'r>(panels: &Panels, rows: impl Iterator<Item = &'r [u8]>, panel: &mut [u8]) {
    let (layout, sizes) = (Layout::of(panels.format), Sizes::of(panels));
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
pub(crate) fn unpack_row(panels: &Panels, panel: &[u8], r: usize, row: &mut [u8]) {
    let (layout, sizes) = (Layout::of(panels.format), Sizes::of(panels));
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
    let (panel, r) = (row / Panels::ROWS as usize, row % Panels::ROWS as usize);
    let panels = Panels::of_packed(weight).filter(|panels| panel < panels.count() as usize);
    let Some(panels) = panels else {
        return weight.row(&[row as i64]);
    };
    let bytes = panels.bytes() as usize;
    // SAFETY: a complete panel of a dense matrix.
    let panel = unsafe { std::slice::from_raw_parts(weight.data.wrapping_add(panel * bytes), bytes) };
    scratch.resize(Sizes::of(&panels).row, 0);
    unpack_row(&panels, panel, r, scratch);
    scratch.as_ptr()
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

/// (native bit, packed bit) for every bit of the 256 elements of row `row` of a tile, where bit i is bit i % 8 of byte i / 8; adjacent ones in
/// order.
fn bits_of_row(format: BlockFormat, row: usize) -> Vec<(usize, usize)> {
    let (g, half) = (row % 8, row / 8);
    let mut pairs = Vec::new();
    for element in 0..Panels::TILE as usize {
        let (b, e) = (element / 32, element % 32);
        let element = Element::new(format.scale_group(), g, half, b, e);
        for bit in 0..format.quant_bits() {
            pairs.push((native_quant(format, b, e, bit), packed_quant(format, &element, bit)));
        }
    }
    // Quants of 16 rows come first.
    let section = 16 * Panels::TILE as usize * format.quant_bits() / 8;
    scales(
        format,
        &mut Scales {
            g,
            half,
            section,
            pairs: &mut pairs,
        },
    );
    pairs
}

/// An element of a tile: element `i` of its word, which is about 32-element block `b`.
pub(super) struct Element {
    b: usize,
    i: usize,
    /// Byte of the word in a chunk.
    word: usize,
}

impl Element {
    fn new(scale_group: usize, g: usize, half: usize, b: usize, e: usize) -> Element {
        let (t, w, i) = match scale_group {
            16 => (e % 16 / 4, e / 16, e % 4),
            _ => (e / 8, e % 8 / 4, e % 4),
        };
        let word = (4 * g + t) * 16 + (2 * w + half) * 4;
        Element { b, i, word }
    }

    /// First bit of the word in a chunk of a plane.
    fn word(&self, plane: usize, chunk: usize) -> usize {
        at(plane + chunk * 512 + self.word, 0)
    }
}

/// Eight bits: a chunk for each block.
pub(super) fn bytes(x: &Element, bit: usize) -> usize {
    x.word(0, x.b) + 8 * x.i + bit
}

/// Four bits: even blocks low, odd ones high.
pub(super) fn nibbles(x: &Element, bit: usize) -> usize {
    x.word(0, x.b / 2) + 8 * x.i + 4 * (x.b % 2) + bit
}

/// Four bits: even blocks in the lower half of a word, odd ones in the upper.
pub(super) fn selectors(x: &Element, bit: usize) -> usize {
    x.word(0, x.b / 2) + 4 * (4 * (x.b % 2) + x.i) + bit
}

/// Five bits: four of them as nibbles, the highest of an even block or the lowest of an odd one in a plane of its own.
pub(super) fn fives(x: &Element, bit: usize) -> usize {
    let odd = x.b % 2;
    match (odd, bit) {
        (0, 4) => x.word(2048, 0) + (8 * x.i + 4 + x.b) % 32,
        (1, 0) => x.word(2048, 0) + (8 * x.i + 2 + x.b) % 32,
        _ => nibbles(x, bit - odd),
    }
}

/// Six bits: as five, with two of them in a plane of their own.
pub(super) fn sixes(x: &Element, bit: usize) -> usize {
    let odd = x.b % 2;
    let rest = x.word(2048, x.b / 4) + (8 * x.i + [4, 2, 8, 6][x.b % 4]) % 32;
    match (odd, bit) {
        (0, 4..) => rest + bit - 4,
        (1, 0..2) => rest + bit,
        _ => nibbles(x, bit - 2 * odd),
    }
}

/// Two bits: four blocks in a byte.
pub(super) fn pairs(x: &Element, bit: usize) -> usize {
    x.word(0, x.b / 4) + 8 * x.i + 2 * (x.b % 4) + bit
}

/// Three bits: two of them as pairs, the highest of blocks 0 and 1 of four or the lowest of blocks 2 and 3 in a plane of its own.
pub(super) fn threes(x: &Element, bit: usize) -> usize {
    let s = x.b % 4;
    match (s, bit) {
        (0..2, 2) | (2.., 0) => x.word(1024, 0) + (8 * x.i + 4 * (x.b / 4) + [2, 4, 3, 5][s]) % 32,
        (0..2, _) => pairs(x, bit),
        _ => pairs(x, bit - 1),
    }
}

/// The scales of row g + 8 half of a tile. Native places count from its 256 elements' first byte, packed ones from the tile's scales.
pub(super) struct Scales<'a> {
    pub g: usize,
    pub half: usize,
    section: usize,
    pairs: &'a mut Vec<(usize, usize)>,
}

impl Scales<'_> {
    pub fn lane(&self, t: usize) -> usize {
        4 * self.g + t
    }

    /// One bit.
    pub fn bit(&mut self, native: usize, packed: usize) {
        self.pairs.push((native, at(self.section, 0) + packed));
    }

    /// `count` bits from one byte on, on both sides.
    pub fn run(&mut self, native: usize, packed: usize, count: usize) {
        (0..count).for_each(|bit| self.bit(at(native, bit), at(packed, bit)));
    }

    /// An f16 at the start of each 32-element block.
    pub fn halves(&mut self, step: usize) {
        for b in 0..8 {
            self.run(b * step, self.lane(b / 2) * 8 + self.half * 4 + b % 2 * 2, 16);
        }
    }

    /// Two of them.
    pub fn pairs_of_halves(&mut self, step: usize) {
        for b in 0..8 {
            self.run(b * step, self.lane(b / 2) * 16 + self.half * 8 + b % 2 * 4, 32);
        }
    }

    /// Bit `bit` of 6-bit number `i` of lane t: all of row g and two bits of row g + 8 in a word, the other four in a nibble.
    pub fn six_bits(&mut self, native: usize, t: usize, i: usize, bit: usize) {
        let lane = self.lane(t);
        let packed = match (self.half, bit) {
            (0, _) => at(lane * 4 + i, bit),
            (_, 0..2) => at(lane * 4 + i, 6 + bit),
            _ => at(128 + lane * 2, 4 * i + bit - 2),
        };
        self.bit(native, packed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing is lost: every bit of every row goes to one bit of the tile, and none is left over.
    #[test]
    fn a_tile_is_a_permutation_of_its_rows_bits() {
        for format in BlockFormat::ALL {
            let row_bits = 8 * Panels::TILE as usize / format.elements() * format.bytes();
            let mut tile = vec![false; 16 * row_bits];
            for row in 0..16 {
                let mut native = vec![false; row_bits];
                for (from, to) in bits_of_row(format, row) {
                    assert!(
                        !std::mem::replace(&mut native[from], true),
                        "{:?} bit {from} twice",
                        format
                    );
                    assert!(
                        !std::mem::replace(&mut tile[to], true),
                        "{:?} tile bit {to} twice",
                        format
                    );
                }
                assert!(native.iter().all(|&seen| seen), "{:?}: row {row} has bits left", format);
            }
            assert!(tile.iter().all(|&seen| seen), "{:?}: the tile has bits left", format);
        }
    }
}

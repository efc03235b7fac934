//! Weights in panels of rows, as the packed layout has them: docs/packed-weights.md.

use crate::abi::{BlockFormat, View};
use crate::constants::{PANEL_ROWS, PANEL_TILE};

/// The sizes of a `[n, k]` matrix of a block format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panels {
    pub format: BlockFormat,
    n: i64,
    k: i64,
}

impl Panels {
    /// The rows of a panel and of a tile.
    pub(crate) const ROWS: i64 = PANEL_ROWS;
    /// The elements of a row in a tile.
    pub(crate) const TILE: i64 = PANEL_TILE;

    /// The panels of a matrix of blocks of `format`.
    pub fn of(format: BlockFormat, weight: &View) -> Panels {
        Panels {
            format,
            n: weight.dim(0),
            k: weight.dim(1),
        }
    }

    /// The panels of a packed matrix. The result is `None` where the matrix is not packed.
    pub fn of_packed(weight: &View) -> Option<Panels> {
        let format = weight.dtype.block().filter(|_| weight.packed)?;
        Some(Panels::of(format, weight))
    }

    /// The number of complete panels. The rows that are left stay native.
    pub fn count(&self) -> i64 {
        self.n / Self::ROWS
    }

    pub fn rows_left(&self) -> i64 {
        self.n % Self::ROWS
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> i64 {
        self.elements_bytes(self.k)
    }

    /// Bytes of one panel.
    pub fn bytes(&self) -> i64 {
        Self::ROWS * self.row_bytes()
    }

    /// The number of tiles of one panel. The blocks that are left of each row stay native.
    pub fn tiles(&self) -> i64 {
        self.k / Self::TILE
    }

    /// Bytes of one row in one tile.
    pub fn run_bytes(&self) -> i64 {
        self.elements_bytes(Self::TILE)
    }

    /// Bytes of one row after its last tile.
    pub fn tail_bytes(&self) -> i64 {
        self.row_bytes() - self.tiles() * self.run_bytes()
    }

    fn elements_bytes(&self, elements: i64) -> i64 {
        elements / self.format.elements() as i64 * self.format.bytes() as i64
    }
}

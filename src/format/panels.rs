//! Weights in panels of rows, as the packed layout has them: docs/packed-weights.md.

use crate::abi::{BlockFormat, View};

/// Sizes of a `[n, k]` matrix of a block format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panels {
    pub format: BlockFormat,
    n: i64,
    k: i64,
}

impl Panels {
    /// Rows of a panel and of a tile.
    pub(crate) const ROWS: i64 = 16;
    /// Elements of a row in a tile.
    pub(crate) const TILE: i64 = 256;

    /// Of a matrix of blocks of `format`.
    pub fn of(format: BlockFormat, weight: &View) -> Panels {
        Panels {
            format,
            n: weight.dim(0),
            k: weight.dim(1),
        }
    }

    /// `None` where the matrix is not packed.
    pub fn of_packed(weight: &View) -> Option<Panels> {
        let format = weight.dtype.block().filter(|_| weight.packed)?;
        Some(Panels::of(format, weight))
    }

    /// Whole panels; the rows that are left stay native.
    pub fn count(&self) -> i64 {
        self.n / Self::ROWS
    }

    pub fn rows_left(&self) -> i64 {
        self.n % Self::ROWS
    }

    /// Of one row.
    pub fn row_bytes(&self) -> i64 {
        self.elements_bytes(self.k)
    }

    /// Of one panel.
    pub fn bytes(&self) -> i64 {
        Self::ROWS * self.row_bytes()
    }

    /// Tiles of one panel; the blocks that are left of each row stay native.
    pub fn tiles(&self) -> i64 {
        self.k / Self::TILE
    }

    /// Of one row in one tile.
    pub fn run_bytes(&self) -> i64 {
        self.elements_bytes(Self::TILE)
    }

    /// Of one row after its last tile.
    pub fn tail_bytes(&self) -> i64 {
        self.row_bytes() - self.tiles() * self.run_bytes()
    }

    fn elements_bytes(&self, elements: i64) -> i64 {
        elements / self.format.elements() as i64 * self.format.bytes() as i64
    }
}

//! Weights between the native arrangement and the packed one.

use crate::format::packed::{pack_panel, unpack_row};
use crate::format::panels::Panels;
use crate::ops::Reference;
use crate::ops::weights_pack::{Direction, WeightsPackPlan};
use crate::runtime::CpuBackend;
use std::slice::{from_raw_parts, from_raw_parts_mut};

const ROWS: usize = Panels::ROWS as usize;

impl Reference for WeightsPackPlan {
    fn run(&self, cpu: &CpuBackend) {
        match self.direction {
            Direction::Pack => pack(self, cpu),
            Direction::Unpack => unpack(self, cpu),
        }
    }
}

fn pack(p: &WeightsPackPlan, cpu: &CpuBackend) {
    let bytes = p.panels.bytes() as usize;
    cpu.for_each(p.panels.count() as usize, bytes, |panel| {
        // SAFETY: the plan checked shapes and strides; the memory is the caller's contract. Panels are apart.
        unsafe {
            let mut packed = vec![0; bytes];
            let rows = (0..ROWS).map(|r| row(p, panel * ROWS + r));
            pack_panel(&p.panels, rows, &mut packed);
            from_raw_parts_mut(p.packed.data.wrapping_add(panel * bytes), bytes).copy_from_slice(&packed);
        }
    });
    rows_left(p, |native, packed, length| {
        // SAFETY: as above; not in place.
        unsafe { std::ptr::copy_nonoverlapping(native, packed, length) };
    });
}

fn unpack(p: &WeightsPackPlan, cpu: &CpuBackend) {
    let bytes = p.panels.bytes() as usize;
    let length = p.panels.row_bytes() as usize;
    cpu.for_each(p.panels.count() as usize, bytes, |panel| {
        // SAFETY: as in `pack`. In place, a panel's rows lie where the panel lies.
        unsafe {
            let packed = from_raw_parts(p.packed.data.wrapping_add(panel * bytes), bytes).to_vec();
            for r in 0..ROWS {
                let row = p.native.row(&[(panel * ROWS + r) as i64]);
                unpack_row(&p.panels, &packed, r, from_raw_parts_mut(row, length));
            }
        }
    });
    rows_left(p, |native, packed, length| {
        // SAFETY: as above; not in place.
        unsafe { std::ptr::copy_nonoverlapping(packed, native, length) };
    });
}

/// # Safety
/// The native rows may be read, and nothing writes them while the slice lives.
unsafe fn row(p: &WeightsPackPlan, index: usize) -> &[u8] {
    unsafe { from_raw_parts(p.native.row(&[index as i64]), p.panels.row_bytes() as usize) }
}

/// The rows after the last panel are native on both sides, and stay where they are when in place.
fn rows_left(p: &WeightsPackPlan, copy: impl Fn(*mut u8, *mut u8, usize)) {
    if p.in_place {
        return;
    }
    let first = p.panels.count() * Panels::ROWS;
    for index in first..first + p.panels.rows_left() {
        copy(
            p.native.row(&[index]),
            p.packed.row(&[index]),
            p.panels.row_bytes() as usize,
        );
    }
}

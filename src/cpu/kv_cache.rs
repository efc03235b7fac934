//! Where the keys of a sequence are: what nobody has checked is looked up here alone.

use crate::abi::View;
use crate::ops::kv_cache::KvCache;

/// The number of keys of sequence `b`.
pub(super) fn length(c: &KvCache, b: usize) -> usize {
    // SAFETY: the plan checked the shape; the memory is the caller's contract.
    let length = c.lengths.map(|v| unsafe { v.row(&[]).cast::<i32>().add(b).read() });
    length.map_or(c.capacity, |n| i64::from(n).clamp(0, c.capacity)) as usize
}

/// The outer and the inner index, in K and V, of key `j` of sequence `b`, which is below the capacity. `None` where the
/// sequence has no page there.
pub(super) fn place(c: &KvCache, b: usize, j: usize) -> Option<[i64; 2]> {
    let Some(table) = &c.block_table else {
        return Some([b as i64, j as i64]);
    };
    let (entry, inner) = (j / c.page_size() as usize, j as i64 % c.page_size());
    // SAFETY: as above; the capacity is that of all entries.
    let page = i64::from(unsafe { table.row(&[b as i64]).cast::<i32>().add(entry).read() });
    (0..c.k.dim(0)).contains(&page).then_some([page, inner])
}

/// The row of one head of `view`, which is K or V of the cache.
pub(super) fn row(view: &View, [outer, inner]: [i64; 2], head: usize) -> *const u8 {
    view.row(&[outer, inner, head as i64])
}

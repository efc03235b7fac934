//! What the library has allocated and registered: so that freeing twice and registering twice are refused alike on both
//! backends, before anything is done.

use crate::abi::process::Guarded;
use crate::abi::{Error, Result};
use std::collections::BTreeMap;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Allocator {
    Device,
    Host,
}

impl Allocator {
    fn name(self) -> &'static str {
        match self {
            Allocator::Device => "reflex_device_malloc",
            Allocator::Host => "reflex_host_malloc",
        }
    }
}

/// A registered range, which begins at its key.
#[derive(Clone, Copy)]
pub(super) struct Registered {
    bytes: usize,
    /// Number of the context.
    context: u64,
}

pub(super) static CPU: Ranges = Ranges::new();
pub(super) static CUDA: Ranges = Ranges::new();

/// The context is gone, and with it what it registered.
pub(super) fn forget_context(id: u64) {
    CPU.forget_context(id);
    CUDA.forget_context(id);
}

/// Memory of one backend.
pub(super) struct Ranges(Guarded<Known>);

struct Known {
    /// By address.
    allocated: BTreeMap<usize, (Allocator, usize)>,
    registered: BTreeMap<usize, Registered>,
}

impl Ranges {
    pub const fn new() -> Ranges {
        Ranges(Guarded::new(Known {
            allocated: BTreeMap::new(),
            registered: BTreeMap::new(),
        }))
    }

    /// What stood there was freed without the library's knowledge, as by the end of a CUDA context.
    pub fn insert(&self, allocator: Allocator, address: usize, bytes: usize) {
        self.0.with(|known| known.allocated.insert(address, (allocator, bytes)));
    }

    /// Its size. Nothing is removed on an error.
    pub fn remove(&self, allocator: Allocator, address: usize) -> Result<usize> {
        let name = allocator.name();
        let found = self.0.with(|known| match known.allocated.get(&address).copied() {
            Some((by, _)) if by == allocator => known.allocated.remove(&address),
            other => other,
        });
        match found {
            Some((by, bytes)) if by == allocator => Ok(bytes),
            Some((by, _)) => Err(Error::invalid(format!(
                "pointer is {address:#x} of {}, expected one of {name}",
                by.name()
            ))),
            None => Err(Error::invalid(format!(
                "pointer is {address:#x}, which {name} did not give or which was freed already"
            ))),
        }
    }

    pub fn register(&self, context: u64, address: usize, bytes: usize) -> Result<()> {
        /// What shares a byte with the range: neither map has ranges that overlap, so the last to begin before its end.
        fn within<T: Copy>(
            map: &BTreeMap<usize, T>,
            start: usize,
            bytes: usize,
            size: fn(T) -> usize,
        ) -> Option<(usize, usize)> {
            let (&other, &value) = map.range(..start + bytes).next_back()?;
            (other + size(value) > start).then(|| (other, size(value)))
        }
        let overlap = self.0.with(|known| {
            let registered = within(&known.registered, address, bytes, |r| r.bytes).map(|r| (r, "registered already"));
            let allocated =
                || within(&known.allocated, address, bytes, |(_, bytes)| bytes).map(|r| (r, "this library's own"));
            let overlap = registered.or_else(allocated);
            if overlap.is_none() {
                known.registered.insert(address, Registered { bytes, context });
            }
            overlap
        });
        match overlap {
            None => Ok(()),
            Some(((other, size), what)) => Err(Error::invalid(format!(
                "host is {address:#x} and bytes is {bytes}, which overlaps {size} bytes at {other:#x} that are {what}"
            ))),
        }
    }

    pub fn unregister(&self, address: usize) -> Result<Registered> {
        self.0.with(|known| known.registered.remove(&address)).ok_or_else(|| {
            Error::invalid(format!(
                "host is {address:#x}, which reflex_host_register was not given or which was unregistered already"
            ))
        })
    }

    /// Undoes `unregister`.
    pub fn restore(&self, address: usize, range: Registered) {
        self.0.with(|known| known.registered.insert(address, range));
    }

    pub fn forget_context(&self, id: u64) {
        self.0
            .with(|known| known.registered.retain(|_, range| range.context != id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether each of these, registered after the first, is taken, against a look at every byte.
    #[test]
    fn ranges_that_share_a_byte_are_refused() {
        for first in [(100, 8), (100, 1), (1, 20)] {
            for start in 1..130 {
                for bytes in [1, 7, 8, 9, 40] {
                    let ranges = Ranges::new();
                    ranges.register(1, first.0, first.1).unwrap();
                    ranges.insert(Allocator::Host, 60, 10);
                    let touches =
                        |(a, n): (usize, usize)| (start..start + bytes).any(|byte| (a..a + n).contains(&byte));
                    let taken = ranges.register(1, start, bytes).is_ok();
                    assert_eq!(
                        taken,
                        !touches(first) && !touches((60, 10)),
                        "{first:?} {start} {bytes}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_refused_range_leaves_all_as_it_was() {
        let ranges = Ranges::new();
        ranges.register(1, 1000, 100).unwrap();
        assert!(ranges.register(2, 1000, 100).is_err());
        assert!(ranges.unregister(1001).is_err());
        assert_eq!(ranges.unregister(1000).unwrap().context, 1);
        assert!(ranges.unregister(1000).is_err());
        ranges.register(2, 1050, 100).unwrap();
        ranges.forget_context(1);
        assert!(ranges.register(1, 1149, 1).is_err());
        ranges.forget_context(2);
        ranges.register(1, 1149, 1).unwrap();
        ranges.insert(Allocator::Device, 2000, 10);
        assert!(ranges.remove(Allocator::Host, 2000).is_err());
        assert_eq!(ranges.remove(Allocator::Device, 2000).unwrap(), 10);
        assert!(ranges.remove(Allocator::Device, 2000).is_err());
    }
}

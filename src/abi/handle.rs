//! What C holds pointers to. Each begins with a magic number of its kind, which goes when the object is destroyed, so that a
//! pointer of another kind, or to what was destroyed, is noticed wherever the memory was not reused.

use super::error::{Error, Result};
use super::process::Guarded;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// A kind of objects.
pub(crate) struct Kind {
    magic: u64,
    /// The type's name in the header.
    name: &'static str,
}

pub(crate) const CONTEXT: Kind = Kind::new(*b"rflx-ctx", "reflex_context");
pub(crate) const EVENT: Kind = Kind::new(*b"rflx-evt", "reflex_event");
pub(crate) const GRAPH: Kind = Kind::new(*b"rflx-gph", "reflex_graph");
pub(crate) const SAMPLER: Kind = Kind::new(*b"rflx-smp", "reflex_telemetry_sampler");

const KINDS: [&Kind; 4] = [&CONTEXT, &EVENT, &GRAPH, &SAMPLER];

impl Kind {
    const fn new(magic: [u8; 8], name: &'static str) -> Kind {
        Kind {
            magic: u64::from_le_bytes(magic),
            name,
        }
    }
}

/// The contents of a handle, the magic first.
#[repr(C)]
pub(crate) struct Object<T> {
    magic: AtomicU64,
    pub body: T,
}

/// An opaque type of the header. There are none but pointers to it, which lead to an `Object<Self::Body>`.
pub(crate) trait Handle: Sized + 'static {
    const KIND: Kind;
    type Body;
}

/// Addresses of the objects there are.
static LIVE: Guarded<BTreeMap<usize, &'static str>> = Guarded::new(BTreeMap::new());

/// The type of the object at an address.
pub(crate) fn at(address: usize) -> Option<&'static str> {
    LIVE.with(|live| live.get(&address).copied())
}

/// A pointer for C, given back to `take`.
pub(crate) fn create<H: Handle>(body: H::Body) -> *mut H {
    let magic = AtomicU64::new(H::KIND.magic);
    let pointer = Box::into_raw(Box::new(Object { magic, body }));
    LIVE.with(|live| live.insert(pointer as usize, H::KIND.name));
    pointer.cast()
}

/// The magic of the object that `pointer` claims to lead to.
fn magic<'a, H: Handle>(field: &str, pointer: *const H) -> Result<&'a AtomicU64> {
    if pointer.is_null() {
        return Err(Error::invalid(format!("{field} is NULL")));
    }
    let aligned = (pointer as usize).is_multiple_of(align_of::<Object<H::Body>>());
    // SAFETY: an aligned non-null pointer from the caller, who promises that it leads, or has led, to an object. Eight bytes
    // are read, as many as the smallest has.
    let magic = aligned.then(|| unsafe { &*pointer.cast::<AtomicU64>() });
    match magic.map(|magic| (magic, magic.load(Ordering::Acquire))) {
        Some((magic, seen)) if seen == H::KIND.magic => Ok(magic),
        seen => {
            let seen = seen.and_then(|(_, seen)| KINDS.iter().find(|kind| kind.magic == seen));
            let name = H::KIND.name;
            Err(Error::invalid(match seen {
                Some(other) => format!("{field} is a {}, expected a {name}", other.name),
                None => format!("{field} is not a live {name}"),
            }))
        }
    }
}

/// The object behind C's pointer.
pub(crate) fn get<'a, H: Handle>(field: &str, pointer: *const H) -> Result<&'a H::Body> {
    magic(field, pointer)?;
    // SAFETY: the magic says what it is.
    Ok(unsafe { &(*pointer.cast::<Object<H::Body>>()).body })
}

/// Ends the handle. Of two threads that come at the same time one gets it.
pub(crate) fn take<H: Handle>(field: &str, pointer: *mut H) -> Result<Box<Object<H::Body>>> {
    let gone = magic(field, pointer)?.compare_exchange(H::KIND.magic, 0, Ordering::AcqRel, Ordering::Acquire);
    if gone.is_err() {
        return Err(Error::invalid(format!("{field} is not a live {}", H::KIND.name)));
    }
    LIVE.with(|live| live.remove(&(pointer as usize)));
    // SAFETY: from `create`, and no other call got here with it.
    Ok(unsafe { Box::from_raw(pointer.cast()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing;

    impl Handle for Thing {
        const KIND: Kind = EVENT;
        type Body = u32;
    }

    struct Other;

    impl Handle for Other {
        const KIND: Kind = GRAPH;
        type Body = [u8; 100];
    }

    #[test]
    fn a_handle_is_what_it_was_made_as_until_it_is_taken() {
        let thing = create::<Thing>(7);
        assert_eq!(get("thing", thing).unwrap(), &7);
        assert_eq!(at(thing as usize), Some("reflex_event"));
        let other = get::<Other>("thing", thing.cast()).unwrap_err();
        assert_eq!(other.message, "thing is a reflex_event, expected a reflex_graph");
        // The memory is kept, so that nothing is made in its place meanwhile.
        let taken = take("thing", thing).unwrap();
        assert_eq!(at(thing as usize), None);
        for error in [
            get("thing", thing).unwrap_err(),
            take("thing", thing).map(drop).unwrap_err(),
        ] {
            assert_eq!(error.message, "thing is not a live reflex_event");
        }
        drop(taken);
        let odd = get::<Thing>("thing", std::ptr::without_provenance(9));
        assert!(odd.is_err());
    }

    #[test]
    fn one_of_many_threads_takes_a_handle() {
        for _ in 0..50 {
            let thing = create::<Thing>(1) as usize;
            let taken: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|_| scope.spawn(move || take("thing", thing as *mut Thing).ok()))
                    .collect();
                // Kept until all have tried, as the memory must stay what it was.
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(taken.iter().flatten().count(), 1);
        }
    }
}

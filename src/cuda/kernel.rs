//! Kernels by name, and what of a launch depends on the kernel alone.

use cudarc::driver::sys;
use std::ffi::CStr;
use std::sync::atomic::{AtomicU32, Ordering};

/// A kernel by name: `extern "C" __global__` function `symbol` of `kernels/<file>.cu`. Make these `static`:
/// the number is the key under which its handle is cached.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub file: &'static str,
    pub symbol: &'static CStr,
    /// See `dependent`.
    pub dependent: bool,
    /// See `large_shared`.
    pub large_shared: bool,
    /// See `clusters`.
    pub clusters: bool,
    /// See `number`.
    number: AtomicU32,
}

impl Kernel {
    /// The kernel is there: where the build has kernels, a name that no image of the file has stops it here, as every `static` is made while
    /// the library is compiled.
    pub const fn new(file: &'static str, symbol: &'static CStr) -> Kernel {
        if let Some(missing) = missing(file, symbol) {
            panic!("{}", missing);
        }
        Kernel::unchecked(file, symbol)
    }

    /// A place in a table of kernels that is yet to be filled.
    pub const fn none() -> Kernel {
        Kernel::unchecked("", c"")
    }

    const fn unchecked(file: &'static str, symbol: &'static CStr) -> Kernel {
        Kernel {
            file,
            symbol,
            dependent: false,
            large_shared: false,
            clusters: false,
            number: AtomicU32::new(0),
        }
    }

    /// The kernel waits for earlier launches by itself (`pdl_wait` of `common/launch.cuh`), so that it may become
    /// resident before they end.
    pub const fn dependent(self) -> Kernel {
        Kernel {
            dependent: true,
            ..self
        }
    }

    /// Launches may ask for all the shared memory that the device gives a block.
    pub const fn large_shared(self) -> Kernel {
        Kernel {
            large_shared: true,
            ..self
        }
    }

    /// Launches may ask for clusters, also for more blocks in one than every device has room for.
    pub const fn clusters(self) -> Kernel {
        Kernel { clusters: true, ..self }
    }

    /// From 0 on, in the order in which kernels are asked for: a process has each kernel under one number.
    pub(super) fn number(&'static self) -> usize {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let known = self.number.load(Ordering::Relaxed);
        if known != 0 {
            return known as usize - 1;
        }
        // Of two threads that come at the same time one leaves a number unused.
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let result = self
            .number
            .compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed);
        result.map_or_else(|other| other, |_| next) as usize - 1
    }

    pub fn name(&self) -> &'static str {
        self.symbol.to_str().unwrap_or("?")
    }
}

/// The name of the file or the kernel that the images do not have; `None` where they have both, or where there are no images.
const fn missing(file: &'static str, symbol: &'static CStr) -> Option<&'static str> {
    let Ok(name) = symbol.to_str() else {
        return Some("a kernel's name that is no text");
    };
    let mut i = 0;
    while i < ENTRIES.len() {
        let (of, names) = ENTRIES[i];
        if same(of, file) {
            let mut k = 0;
            while k < names.len() {
                if same(names[k], name) {
                    return None;
                }
                k += 1;
            }
            return Some(name);
        }
        i += 1;
    }
    if ENTRIES.is_empty() { None } else { Some(file) }
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

// Each kernel file with the entry points that all of its images have; empty where the build has no kernels. For constants alone: the library
// keeps no names that nothing asks for, which tests/abi/kernels.rs relies on.
include!(concat!(env!("OUT_DIR"), "/kernel_entries.rs"));

/// A kernel's name, put together by `concat!` with a zero byte at its end.
pub(crate) const fn symbol(bytes: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(bytes.as_bytes()) {
        Ok(name) => name,
        Err(_) => panic!("a kernel's name ends in its only zero byte"),
    }
}

pub(super) fn cluster_attribute(blocks: u32) -> sys::CUlaunchAttribute {
    // SAFETY: plain data, valid when zero.
    let mut attribute: sys::CUlaunchAttribute = unsafe { std::mem::zeroed() };
    attribute.id = sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
    attribute.value.clusterDim.x = blocks;
    attribute.value.clusterDim.y = 1;
    attribute.value.clusterDim.z = 1;
    attribute
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(not(reflex_kernels), ignore = "this build has no kernels")]
    fn a_kernel_that_no_image_has_is_refused() {
        assert_eq!(missing("add", c"reflex_add_vec8"), None);
        assert_eq!(missing("add", c"reflex_add_vec"), Some("reflex_add_vec"));
        assert_eq!(missing("add", c"reflex_norm_warp"), Some("reflex_norm_warp"));
        assert_eq!(missing("ad", c"reflex_add_vec8"), Some("ad"));
        let panic = std::panic::catch_unwind(|| Kernel::new("add", c"reflex_add_vec"));
        assert_eq!(panic.unwrap_err().downcast_ref::<String>().unwrap(), "reflex_add_vec");
    }
}

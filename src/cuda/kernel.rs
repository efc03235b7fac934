//! Kernels by name, and what of a launch depends on the kernel alone.

use cudarc::driver::sys;
use std::ffi::CStr;

/// A kernel by name: `extern "C" __global__` function `symbol` of `kernels/<file>.cu`. Make these `static`:
/// the address is the key under which its handle is cached.
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
}

impl Kernel {
    pub const fn new(file: &'static str, symbol: &'static CStr) -> Kernel {
        Kernel {
            file,
            symbol,
            dependent: false,
            large_shared: false,
            clusters: false,
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

    pub fn name(&self) -> &'static str {
        self.symbol.to_str().unwrap_or("?")
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

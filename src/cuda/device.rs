//! What a call is planned for.

use super::backend::CudaBackend;
use super::kernel::Kernel;
use super::limits::DeviceLimits;
use crate::abi::Result;

/// A device as plans see it. Without a backend it is one that is only described, and no kernel is loaded for it.
#[derive(Clone, Copy)]
pub(crate) struct Device<'a> {
    pub limits: &'a DeviceLimits,
    backend: Option<&'a CudaBackend>,
}

impl<'a> Device<'a> {
    /// One that is only described: for questions about a call, and tests.
    pub fn described(limits: &'a DeviceLimits) -> Device<'a> {
        Device { limits, backend: None }
    }

    /// One on which kernels are about to be launched, and are loaded to see what they can do there.
    pub fn of(backend: &'a CudaBackend) -> Device<'a> {
        Device {
            limits: &backend.limits,
            backend: Some(backend),
        }
    }

    /// The SM that the kernel's code was compiled for: that of an older one where the device runs PTX.
    pub fn code_sm(&self, kernel: &'static Kernel) -> Result<u32> {
        match self.backend {
            Some(backend) => Ok(backend.kernel(kernel)?.sm),
            None => Ok(self.limits.sm),
        }
    }

    /// Most blocks of a cluster, 1 where there are none.
    pub fn most_cluster(&self, kernel: &'static Kernel) -> Result<i64> {
        match self.backend {
            Some(backend) => Ok(backend.kernel(kernel)?.most_cluster.into()),
            None => Ok(1),
        }
    }
}

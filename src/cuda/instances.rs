//! Kernels that differ in a few numbers: the build writes a table of each family from `kernels/instances.def`, or a macro with a row for each
//! where they are candidates, as it does their files.

use super::kernel::Kernel;
use std::ffi::CStr;

/// One kernel by name.
#[derive(Clone, Copy)]
pub(crate) struct Instance {
    pub file: &'static str,
    pub symbol: &'static CStr,
}

/// What `src/ops` asks for by the name of its family.
pub(crate) mod families {
    use super::Instance;

    include!(concat!(env!("OUT_DIR"), "/instances.rs"));
}

impl Instance {
    pub const fn kernel(self) -> Kernel {
        Kernel::new(self.file, self.symbol)
    }
}

//! The schedule of a call on a device: the candidate that was chosen for it, its launches and its scratch memory.

use super::workspace::Workspace;
use crate::abi::{Error, REFLEX_MISALIGNED, REFLEX_WORKSPACE_TOO_SMALL, Result, reflex_stream};
use crate::cuda::{CudaBackend, Device, DeviceLimits, Grid, Kernel, KernelArgs, Launches};
use crate::runtime::Forced;
use smallvec::SmallVec;
use std::ffi::CStr;
use std::fmt::Write;

/// Whether a candidate takes a call. If it does not, the words say what it takes; messages put "it is for" in front of
/// them.
pub(crate) type Takes = std::result::Result<(), &'static str>;

/// Declines a call for which a condition does not hold: `only(p.dim <= 512, "rows of at most 512 elements")`.
pub(crate) fn only(holds: bool, what_it_is_for: &'static str) -> Takes {
    match holds {
        true => Ok(()),
        false => Err(what_it_is_for),
    }
}

/// One way to compute an op on a GPU.
pub(crate) struct Candidate<P: 'static> {
    /// What `REFLEX_IMPL` calls it.
    pub name: &'static str,
    /// Whether it can compute the plan on such a device.
    pub takes: fn(&P, &DeviceLimits) -> Takes,
    /// Whether it is faster there than the candidates behind it in the list.
    pub pays: fn(&P, &DeviceLimits) -> Takes,
    /// Adds its launches.
    pub schedule: fn(&P, &mut Schedule) -> Result<()>,
}

impl<P> Clone for Candidate<P> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<P> Copy for Candidate<P> {}

impl<P> Candidate<P> {
    pub const fn new(
        name: &'static str,
        takes: fn(&P, &DeviceLimits) -> Takes,
        schedule: fn(&P, &mut Schedule) -> Result<()>,
    ) -> Candidate<P> {
        Candidate {
            name,
            takes,
            pays: |_, _| Ok(()),
            schedule,
        }
    }

    pub const fn where_it_pays(self, pays: fn(&P, &DeviceLimits) -> Takes) -> Candidate<P> {
        Candidate { pays, ..self }
    }
}

/// One call, planned for one device.
pub(crate) struct Schedule<'a> {
    pub device: Device<'a>,
    pub forced: &'a Forced,
    workspace: Workspace,
    /// The name and the bytes of each part of the workspace.
    booked: SmallVec<[(&'static str, usize); 4]>,
    workspace_bytes: usize,
    /// See `main`.
    name: Option<&'static CStr>,
    launches: Launches,
}

impl<'a> Schedule<'a> {
    /// A schedule without launches, whose scratch memory comes from `workspace`. Only `check_workspace` looks at that.
    #[inline(always)]
    pub fn new(device: Device<'a>, forced: &'a Forced, workspace: Workspace) -> Schedule<'a> {
        Schedule {
            device,
            forced,
            workspace,
            booked: SmallVec::new(),
            workspace_bytes: 0,
            name: None,
            launches: Launches::default(),
        }
    }

    pub fn limits(&self) -> &'a DeviceLimits {
        self.device.limits
    }

    /// Reserves a part of the workspace, 256-byte aligned, for as long as the call runs.
    pub fn book(&mut self, name: &'static str, bytes: usize) -> *mut u8 {
        let start = self.workspace_bytes.checked_next_multiple_of(Workspace::ALIGNMENT);
        let start = start.unwrap_or(usize::MAX);
        if bytes > 0 {
            // A saturated size is one for which no buffer is large enough.
            self.workspace_bytes = start.saturating_add(bytes);
            self.booked.push((name, bytes));
        }
        self.workspace.data.cast::<u8>().wrapping_add(start)
    }

    pub fn workspace_bytes(&self) -> usize {
        self.workspace_bytes
    }

    /// Names the call after a kernel.
    pub fn names(&mut self, kernel: &'static Kernel) {
        self.name = Some(kernel.symbol);
    }

    pub fn launch<A: KernelArgs>(&mut self, kernel: &'static Kernel, grid: Grid, args: &A) {
        self.launches.push(kernel, grid, args);
    }

    /// Adds a launch of the kernel that the call is named after.
    pub fn main<A: KernelArgs>(&mut self, kernel: &'static Kernel, grid: Grid, args: &A) {
        self.names(kernel);
        self.launch(kernel, grid, args);
    }

    pub fn name(&self) -> &'static CStr {
        self.name.unwrap_or(c"none")
    }

    pub fn check_workspace(&self, op: &str) -> Result<()> {
        let (need, given) = (self.workspace_bytes, &self.workspace);
        if need == 0 {
            return Ok(());
        }
        if given.data.is_null() || given.bytes < need {
            let mut parts = String::new();
            for (name, bytes) in &self.booked {
                let _ = write!(parts, ", {bytes} for {name}");
            }
            return Err(Error::new(
                REFLEX_WORKSPACE_TOO_SMALL,
                format!(
                    "workspace is {:p} with {} bytes, expected {need} bytes (reflex_{op}_workspace_size{parts})",
                    given.data, given.bytes
                ),
            ));
        }
        if !(given.data as usize).is_multiple_of(Workspace::ALIGNMENT) {
            return Err(Error::new(
                REFLEX_MISALIGNED,
                format!(
                    "workspace is {:p}, expected a multiple of {}",
                    given.data,
                    Workspace::ALIGNMENT
                ),
            ));
        }
        Ok(())
    }

    pub fn run(&self, backend: &CudaBackend, stream: reflex_stream) -> Result<()> {
        backend.run(&self.launches, stream)
    }

    #[cfg(test)]
    pub fn launches(&self) -> &Launches {
        &self.launches
    }
}

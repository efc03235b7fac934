//! Launches of kernels.

use super::backend::CudaBackend;
use super::driver::{Current, check};
use super::kernel::{Kernel, cluster_attribute};
use super::limits::DeviceLimits;
use crate::abi::{Error, Result, reflex_stream};
use cudarc::driver::sys;
use std::ffi::c_void;

/// The one parameter of a kernel: a `#[repr(C)]` struct that the kernel takes as `__grid_constant__`.
///
/// # Safety
/// The layout equals the struct of the same name in the kernel file.
pub(crate) unsafe trait KernelArgs: Copy {}

/// Declares a kernel's parameter struct and pins its size and its last field's offset, as the kernel file does
/// with `REFLEX_ARGS_LAYOUT`.
macro_rules! kernel_args {
    ($(#[$meta:meta])* struct $name:ident { $($field:ident : $type:ty),* $(,)? } size $size:literal, $last:ident at $offset:literal) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy)]
        struct $name { $($field: $type),* }
        const _: () = assert!(size_of::<$name>() == $size && std::mem::offset_of!($name, $last) == $offset);
        // SAFETY: the kernel file asserts the same numbers.
        unsafe impl $crate::cuda::KernelArgs for $name {}
    };
}
pub(crate) use kernel_args;

/// Launch geometry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    pub blocks: [u32; 3],
    pub threads: u32,
    /// Dynamic shared memory in bytes.
    pub shared: u32,
    /// Neighbouring blocks of a cluster; 1: no clusters.
    pub cluster: u32,
}

impl Grid {
    pub fn new(blocks: [i64; 3], threads: u32) -> Result<Grid> {
        // Limits of every CUDA device.
        let limits = [i64::from(i32::MAX), 65535, 65535];
        for (i, (&n, limit)) in blocks.iter().zip(limits).enumerate() {
            if !(1..=limit).contains(&n) {
                return Err(Error::unsupported(format!(
                    "the launch needs {n} blocks in grid dimension {i}, a device takes 1 to {limit}"
                )));
            }
        }
        Ok(Grid {
            blocks: blocks.map(|n| n as u32),
            threads,
            shared: 0,
            cluster: 1,
        })
    }

    pub fn shared(self, bytes: u32) -> Grid {
        Grid { shared: bytes, ..self }
    }

    /// Such a kernel was declared to take `clusters`.
    pub fn cluster(self, blocks: u32) -> Grid {
        Grid {
            cluster: blocks,
            ..self
        }
    }
}

/// A device and the stream of one call.
pub(crate) struct Cuda<'a> {
    pub backend: &'a CudaBackend,
    pub stream: reflex_stream,
    /// Everything is done but the launches and the loading of kernels: whether a call would be taken.
    pub rehearses: bool,
}

impl Cuda<'_> {
    pub fn limits(&self) -> &DeviceLimits {
        &self.backend.limits
    }

    /// The SM that the kernel's code was compiled for: that of an older one where the device runs PTX.
    pub fn code_sm(&self, kernel: &'static Kernel) -> Result<u32> {
        if self.rehearses {
            return Ok(self.limits().sm);
        }
        Ok(self.backend.kernel(kernel)?.sm)
    }

    /// Most blocks of a cluster, 1 where there are none.
    pub fn most_cluster(&self, kernel: &'static Kernel) -> Result<i64> {
        if self.rehearses {
            return Ok(1);
        }
        Ok(self.backend.kernel(kernel)?.most_cluster.into())
    }

    pub fn launch<A: KernelArgs>(&self, kernel: &'static Kernel, grid: Grid, args: &A) -> Result<()> {
        if self.rehearses {
            return Ok(());
        }
        let loaded = self.backend.kernel(kernel)?;
        let _current = Current::if_default(self.stream, self.backend.primary)?;
        let mut parameters = [std::ptr::from_ref(args).cast_mut().cast::<c_void>()];
        let [x, y, z] = grid.blocks;
        let stream = self.stream.cast();
        if !loaded.dependent && grid.cluster == 1 {
            return check(kernel.name(), unsafe {
                sys::cuLaunchKernel(
                    loaded.function,
                    x,
                    y,
                    z,
                    grid.threads,
                    1,
                    1,
                    grid.shared,
                    stream,
                    parameters.as_mut_ptr(),
                    std::ptr::null_mut(),
                )
            });
        }
        // SAFETY: plain data, valid when zero.
        let mut attributes: [sys::CUlaunchAttribute; 2] = unsafe { std::mem::zeroed() };
        let mut count = 0;
        if loaded.dependent {
            attributes[count].id = sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
            attributes[count].value.programmaticStreamSerializationAllowed = 1;
            count += 1;
        }
        if grid.cluster > 1 {
            attributes[count] = cluster_attribute(grid.cluster);
            count += 1;
        }
        let config = sys::CUlaunchConfig {
            gridDimX: x,
            gridDimY: y,
            gridDimZ: z,
            blockDimX: grid.threads,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: grid.shared,
            hStream: stream,
            attrs: attributes.as_mut_ptr(),
            numAttrs: count as u32,
        };
        check(kernel.name(), unsafe {
            sys::cuLaunchKernelEx(&config, loaded.function, parameters.as_mut_ptr(), std::ptr::null_mut())
        })
    }
}

/// Blocks of `size` that cover `count`.
pub(crate) fn ceil_div(count: i64, size: i64) -> i64 {
    count / size + i64::from(count % size != 0)
}

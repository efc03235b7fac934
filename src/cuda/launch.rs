//! Launches of kernels.

use super::backend::CudaBackend;
use super::driver::{Current, failed};
use super::kernel::{Kernel, cluster_attribute};
use crate::abi::{Error, Result, reflex_stream};
use cudarc::driver::sys;
use smallvec::SmallVec;
use std::ffi::c_void;
use std::mem::MaybeUninit;

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

/// A launch and where its arguments lie.
struct Launch {
    kernel: &'static Kernel,
    grid: Grid,
    first_word: usize,
}

/// Launches in the order in which they go on a stream, each with a copy of its arguments.
#[derive(Default)]
pub(crate) struct Launches {
    all: SmallVec<[Launch; 4]>,
    /// Arguments of all of them. Their padding stays what it was.
    words: SmallVec<[MaybeUninit<u64>; 128]>,
}

impl Launches {
    pub fn push<A: KernelArgs>(&mut self, kernel: &'static Kernel, grid: Grid, args: &A) {
        const { assert!(size_of::<A>().is_multiple_of(size_of::<u64>()) && align_of::<A>() <= align_of::<u64>()) };
        let (first_word, words) = (self.words.len(), size_of::<A>() / size_of::<u64>());
        self.words.reserve(words);
        // SAFETY: there is room for `words` more, whose values need not be initialised.
        unsafe {
            let to = self.words.as_mut_ptr().add(first_word);
            std::ptr::copy_nonoverlapping(std::ptr::from_ref(args).cast::<MaybeUninit<u64>>(), to, words);
            self.words.set_len(first_word + words);
        }
        self.all.push(Launch {
            kernel,
            grid,
            first_word,
        });
    }

    #[cfg(test)]
    pub fn kernels(&self) -> impl Iterator<Item = (&'static str, Grid)> {
        self.all.iter().map(|launch| (launch.kernel.name(), launch.grid))
    }
}

impl CudaBackend {
    /// Puts the launches on the stream.
    pub fn run(&self, launches: &Launches, stream: reflex_stream) -> Result<()> {
        let _current = Current::if_default(stream, self.primary)?;
        launches.all.iter().try_for_each(|launch| {
            let args = launches.words[launch.first_word..].as_ptr();
            self.launch(launch.kernel, launch.grid, args.cast_mut().cast(), stream)
        })
    }

    fn launch(&self, kernel: &'static Kernel, grid: Grid, args: *mut c_void, stream: reflex_stream) -> Result<()> {
        let loaded = self.kernel(kernel)?;
        let shared = match &loaded.emulated {
            None => grid.shared,
            Some(emulated) => emulated.padded(grid.threads, grid.shared, &self.device_limits),
        };
        let mut parameters = [args];
        let [x, y, z] = grid.blocks;
        let stream = stream.cast();
        let code = if !loaded.dependent && grid.cluster == 1 {
            // SAFETY: the arguments are those that the kernel was pushed with.
            unsafe {
                sys::cuLaunchKernel(
                    loaded.function,
                    x,
                    y,
                    z,
                    grid.threads,
                    1,
                    1,
                    shared,
                    stream,
                    parameters.as_mut_ptr(),
                    std::ptr::null_mut(),
                )
            }
        } else {
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
                sharedMemBytes: shared,
                hStream: stream,
                attrs: attributes.as_mut_ptr(),
                numAttrs: count as u32,
            };
            // SAFETY: as above.
            unsafe { sys::cuLaunchKernelEx(&config, loaded.function, parameters.as_mut_ptr(), std::ptr::null_mut()) }
        };
        match code {
            sys::CUresult::CUDA_SUCCESS => Ok(()),
            _ => Err(failed(kernel.name(), code)),
        }
    }
}

/// Blocks of `size` that cover `count`.
pub(crate) fn ceil_div(count: i64, size: i64) -> i64 {
    count / size + i64::from(count % size != 0)
}

//! The CUDA driver: opening it, loading kernels, launching, memory, streams and graphs.
//! Every unsafe CUDA call of the crate is in this folder.

mod backend;
mod board;
mod device;
mod driver;
mod graph;
mod images;
mod instances;
mod kernel;
mod launch;
mod limits;
mod memory;
mod stream;

pub(crate) use backend::{CudaBackend, device_count};
pub(crate) use board::Board;
pub(crate) use device::Device;
pub(crate) use driver::{driver_version, has_dynamic_loader};
pub(crate) use graph::CudaGraph;
pub(crate) use instances::{Instance, families};
pub(crate) use kernel::{Kernel, symbol};
pub(crate) use launch::{Grid, KernelArgs, Launches, ceil_div, kernel_args};
pub(crate) use limits::DeviceLimits;
pub(crate) use stream::CudaEvent;

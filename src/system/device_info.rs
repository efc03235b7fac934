//! What the device of a context is.

use super::reading::set_text;
use crate::abi::{Params, guard, out_struct, reflex_status};
use crate::cuda::DeviceLimits;
use crate::runtime::{Backend, REFLEX_BACKEND_CPU, REFLEX_BACKEND_CUDA, reflex_backend, reflex_context};
use std::ffi::c_char;

/// The device of a context. Set `struct_size` to `sizeof(reflex_device_info)` before the call. Fields that do not apply
/// to the device, such as the compute capability of a CPU, are 0.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reflex_device_info {
    pub struct_size: u32,
    /// `REFLEX_BACKEND_CUDA` or `REFLEX_BACKEND_CPU`.
    pub backend: reflex_backend,
    /// Name of the device as the driver or the system tells it, zero-terminated UTF-8.
    pub name: [c_char; 128],
    /// Compute capability as major * 10 + minor: 87 on Orin.
    pub sm: u32,
    /// Number of streaming multiprocessors; on the CPU backend, of threads.
    pub sm_count: u32,
    /// 1 when the GPU shares the host's memory, as on Jetson.
    pub integrated: u32,
    /// The most shared memory that a block can have, in bytes.
    pub shared_memory_per_block: u32,
    /// Size of the L2 cache in bytes.
    pub l2_bytes: u64,
    /// Memory of the device in bytes.
    pub total_memory: u64,
    /// Top clock of the SMs in kHz, as the driver reports it; 0 when unknown.
    pub core_clock_khz: u32,
    /// Top clock of the memory in kHz, as the driver reports it; 0 when unknown.
    pub memory_clock_khz: u32,
    /// Width of the memory bus in bits; 0 when unknown.
    pub memory_bus_bits: u32,
    pub reserved: u32,
}

// SAFETY: repr(C), starts with struct_size, no padding, zero is valid.
unsafe impl Params for reflex_device_info {
    const MIN_SIZE: usize = 184;
}

/// Fills `*out` with what the context's device is. The caller sets `out->struct_size`; no more than that is written.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_get_device_info(
    context: *const reflex_context,
    out: *mut reflex_device_info,
) -> reflex_status {
    guard("reflex_get_device_info", || {
        let out = out_struct("out", out)?;
        let context = reflex_context::get(context)?;
        let info = match &context.backend {
            Backend::Cpu(cpu) => {
                let limits = DeviceLimits {
                    sm_count: cpu.threads() as u32,
                    integrated: true,
                    ..DeviceLimits::default()
                };
                let total = crate::runtime::host_memory()?.1;
                describe(REFLEX_BACKEND_CPU, &crate::runtime::cpu_name(), &limits, total)
            }
            Backend::Cuda(cuda) => describe(REFLEX_BACKEND_CUDA, &cuda.name, &cuda.device_limits, cuda.total_memory),
        };
        out.write(info);
        Ok(())
    })
}

fn describe(backend: reflex_backend, name: &str, limits: &DeviceLimits, total_memory: u64) -> reflex_device_info {
    let mut text = [0; 128];
    set_text(&mut text, name);
    reflex_device_info {
        struct_size: 0,
        backend,
        name: text,
        sm: limits.sm,
        sm_count: limits.sm_count,
        integrated: u32::from(limits.integrated),
        shared_memory_per_block: limits.shared_per_block,
        l2_bytes: u64::from(limits.l2_bytes),
        total_memory,
        core_clock_khz: limits.core_clock_khz,
        memory_clock_khz: limits.memory_clock_khz,
        memory_bus_bits: limits.memory_bus_bits,
        reserved: 0,
    }
}

/// Returns the number of CUDA devices that this process can see, 0 without a driver. It never fails.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_device_count() -> i32 {
    let mut count = 0;
    guard("reflex_device_count", || {
        count = crate::cuda::device_count();
        Ok(())
    });
    count
}

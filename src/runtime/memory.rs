//! Memory functions, so that an engine needs no CUDA toolkit. On the CPU backend they work on host memory.

use super::context::{Backend, Context, reflex_context};
use super::host::host_memory;
use super::ranges::{self, Allocator, Ranges};
use crate::abi::{Error, Result, guard, out_pointer, reflex_status, reflex_stream};
use crate::cuda::CudaBackend;
use std::ffi::c_void;

fn check_size(bytes: usize) -> Result<()> {
    if bytes == 0 || bytes > isize::MAX as usize {
        return Err(Error::invalid(format!(
            "bytes is {bytes}, expected 1 to {}",
            isize::MAX
        )));
    }
    Ok(())
}

fn check_pointer(field: &str, pointer: *const c_void) -> Result<()> {
    if pointer.is_null() {
        return Err(Error::invalid(format!("{field} is NULL")));
    }
    Ok(())
}

/// The byte after the last, for ranges that end within the address space.
fn end_of(field: &str, pointer: *const c_void, bytes: usize) -> Result<usize> {
    (pointer as usize).checked_add(bytes).ok_or_else(|| {
        Error::invalid(format!(
            "{field} is {pointer:p} and bytes is {bytes}, which is beyond the end of memory"
        ))
    })
}

impl Context {
    /// What the library knows of the backend's memory. Devices of CUDA share one range of addresses.
    fn ranges(&self) -> &'static Ranges {
        match &self.backend {
            Backend::Cpu(_) => &ranges::CPU,
            Backend::Cuda(_) => &ranges::CUDA,
        }
    }

    /// Frees what `allocator` of a context of the same backend gave, once.
    fn free(&self, allocator: Allocator, pointer: *mut c_void, free: impl FnOnce() -> Result<()>) -> Result<()> {
        // It goes before the address can come back.
        let bytes = self.ranges().remove(allocator, pointer as usize)?;
        free().inspect_err(|_| self.ranges().insert(allocator, pointer as usize, bytes))
    }
}

/// Body of the two functions that allocate.
fn allocate(
    context: *const reflex_context,
    allocator: Allocator,
    bytes: usize,
    out: *mut *mut c_void,
    on_cuda: impl FnOnce(&CudaBackend) -> Result<*mut c_void>,
) -> Result<()> {
    out_pointer("out", out)?;
    check_size(bytes)?;
    let context = reflex_context::get(context)?;
    let pointer = match &context.backend {
        Backend::Cpu(cpu) => cpu.allocate(bytes)?,
        Backend::Cuda(cuda) => on_cuda(cuda)?,
    };
    context.ranges().insert(allocator, pointer as usize, bytes);
    // SAFETY: checked above.
    unsafe { out.write(pointer) };
    Ok(())
}

/// Body of the two functions that free.
fn free(
    context: *const reflex_context,
    allocator: Allocator,
    pointer: *mut c_void,
    on_cuda: impl FnOnce(&CudaBackend) -> Result<()>,
) -> Result<()> {
    let context = reflex_context::get(context)?;
    if pointer.is_null() {
        return Ok(());
    }
    context.free(allocator, pointer, || match &context.backend {
        Backend::Cpu(cpu) => cpu.free(pointer),
        Backend::Cuda(cuda) => on_cuda(cuda),
    })
}

/// Allocates device memory, which is aligned to 256 bytes and not initialised. Free it with `reflex_device_free`.
/// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_OUT_OF_MEMORY`, `REFLEX_CUDA_ERROR`.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_device_malloc(
    context: *const reflex_context,
    bytes: usize,
    out: *mut *mut c_void,
) -> reflex_status {
    guard("reflex_device_malloc", || {
        allocate(context, Allocator::Device, bytes, out, |cuda| cuda.allocate(bytes))
    })
}

/// Frees memory of `reflex_device_malloc`. NULL is allowed. The call waits for the device as cudaFree does.
/// Any other pointer, also one that was freed before, gives `REFLEX_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_device_free(context: *const reflex_context, pointer: *mut c_void) -> reflex_status {
    guard("reflex_device_free", || {
        free(context, Allocator::Device, pointer, |cuda| cuda.free(pointer))
    })
}

/// Allocates page-locked host memory that the device can read and write at the same address.
/// Free it with `reflex_host_free`.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_host_malloc(
    context: *const reflex_context,
    bytes: usize,
    out: *mut *mut c_void,
) -> reflex_status {
    guard("reflex_host_malloc", || {
        allocate(context, Allocator::Host, bytes, out, |cuda| cuda.allocate_host(bytes))
    })
}

/// Frees memory of `reflex_host_malloc`. NULL is allowed.
/// Any other pointer, also one that was freed before, gives `REFLEX_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_host_free(context: *const reflex_context, pointer: *mut c_void) -> reflex_status {
    guard("reflex_host_free", || {
        free(context, Allocator::Host, pointer, |cuda| cuda.free_host(pointer))
    })
}

/// Page-locks host memory that the caller owns (a file mapped with mmap, for example) and gives the address under which
/// kernels read it. That is the way to read it on integrated GPUs, where host and device share the memory; on a
/// discrete GPU every read crosses the bus.
///
/// The driver rounds the range out to pages. On some systems it refuses read-only mappings (`REFLEX_CUDA_ERROR`): copy
/// the data instead. `*device_pointer` is valid until `reflex_host_unregister`, which must be called before the memory
/// is freed.
///
/// A range gives `REFLEX_INVALID_ARGUMENT` when it has unmapped pages, and when it shares a byte with a registered
/// range or with memory that this library allocated. Ranges may share a page.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_host_register(
    context: *const reflex_context,
    host: *mut c_void,
    bytes: usize,
    device_pointer: *mut *mut c_void,
) -> reflex_status {
    guard("reflex_host_register", || {
        out_pointer("device_pointer", device_pointer)?;
        check_pointer("host", host)?;
        check_size(bytes)?;
        let end = end_of("host", host, bytes)?;
        let context = reflex_context::get(context)?;
        check_mapped(host as usize, end)?;
        context.ranges().register(context.id, host as usize, bytes)?;
        let pointer = match &context.backend {
            Backend::Cpu(_) => host,
            Backend::Cuda(cuda) => cuda
                .register_host(host, bytes)
                .inspect_err(|_| drop(context.ranges().unregister(host as usize)))?,
        };
        // SAFETY: checked above.
        unsafe { device_pointer.write(pointer) };
        Ok(())
    })
}

fn check_mapped(start: usize, end: usize) -> Result<()> {
    // SAFETY: asks for a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(1) as usize;
    let first = start / page * page;
    // With MS_ASYNC it writes nothing, on Linux, and only finds out whether there are holes.
    let mapped = unsafe { libc::msync(first as *mut c_void, end - first, libc::MS_ASYNC) } == 0;
    match mapped {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "host is {start:#x} and bytes is {}, expected memory that is mapped",
            end - start
        ))),
    }
}

/// Undoes `reflex_host_register`; `host` is the address that was given there.
/// Any other address, also one that was unregistered before, gives `REFLEX_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_host_unregister(context: *const reflex_context, host: *mut c_void) -> reflex_status {
    guard("reflex_host_unregister", || {
        check_pointer("host", host)?;
        let context = reflex_context::get(context)?;
        let range = context.ranges().unregister(host as usize)?;
        match &context.backend {
            Backend::Cpu(_) => Ok(()),
            Backend::Cuda(cuda) => cuda
                .unregister_host(host)
                .inspect_err(|_| context.ranges().restore(host as usize, range)),
        }
    })
}

/// Copies `bytes` between host and device in any direction, in the order of `stream`. Pageable host memory may make the
/// call wait; memory of `reflex_host_malloc` does not. Ranges that overlap give `REFLEX_INVALID_ARGUMENT`. The copy can
/// be captured.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_memcpy(
    context: *const reflex_context,
    destination: *mut c_void,
    source: *const c_void,
    bytes: usize,
    stream: reflex_stream,
) -> reflex_status {
    guard("reflex_memcpy", || {
        check_pointer("destination", destination)?;
        check_pointer("source", source)?;
        check_size(bytes)?;
        let to_end = end_of("destination", destination, bytes)?;
        let from_end = end_of("source", source, bytes)?;
        if (destination as usize) < from_end && (source as usize) < to_end {
            return Err(Error::invalid(format!(
                "destination is {destination:p} and source is {source:p}, expected ranges of {bytes} bytes that do not overlap"
            )));
        }
        let context = reflex_context::get(context)?;
        context.check_stream(stream)?;
        match &context.backend {
            Backend::Cpu(cpu) => cpu.copy(destination, source, bytes, stream),
            Backend::Cuda(cuda) => cuda.copy(destination, source, bytes, stream),
        }
    })
}

/// Sets `bytes` bytes to `value` in the order of `stream`. The call can be captured.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_memset(
    context: *const reflex_context,
    destination: *mut c_void,
    value: u8,
    bytes: usize,
    stream: reflex_stream,
) -> reflex_status {
    guard("reflex_memset", || {
        check_pointer("destination", destination)?;
        check_size(bytes)?;
        end_of("destination", destination, bytes)?;
        let context = reflex_context::get(context)?;
        context.check_stream(stream)?;
        match &context.backend {
            Backend::Cpu(cpu) => cpu.set(destination, value, bytes, stream),
            Backend::Cuda(cuda) => cuda.set(destination, value, bytes, stream),
        }
    })
}

/// Tells the free and the total memory of the device in bytes: that of the GPU, or that of the system on the CPU
/// backend and on integrated GPUs, where host and device share it. Either pointer may be NULL.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_memory_info(
    context: *const reflex_context,
    free_bytes: *mut u64,
    total_bytes: *mut u64,
) -> reflex_status {
    guard("reflex_memory_info", || {
        let (free, total) = match &reflex_context::get(context)?.backend {
            Backend::Cpu(_) => host_memory()?,
            Backend::Cuda(cuda) => cuda.memory_info()?,
        };
        for (field, pointer, value) in [("free_bytes", free_bytes, free), ("total_bytes", total_bytes, total)] {
            if !pointer.is_null() {
                out_pointer(field, pointer)?;
                // SAFETY: checked above.
                unsafe { pointer.write(value) };
            }
        }
        Ok(())
    })
}

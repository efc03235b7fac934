//! Memory of a CUDA device.

use super::backend::CudaBackend;
use super::driver::{Current, Relaxed, check};
use crate::abi::{Result, reflex_stream};
use cudarc::driver::sys;
use std::ffi::c_void;

impl CudaBackend {
    /// What calls that use no stream need.
    pub(super) fn current(&self) -> Result<(Relaxed, Current)> {
        Ok((Relaxed::enter()?, Current::push(self.primary)?))
    }

    pub fn allocate(&self, bytes: usize) -> Result<*mut c_void> {
        let _current = self.current()?;
        let mut pointer = 0;
        check(&format!("cuMemAlloc({bytes} bytes)"), unsafe {
            sys::cuMemAlloc_v2(&mut pointer, bytes)
        })?;
        Ok(pointer as *mut c_void)
    }

    pub fn free(&self, pointer: *mut c_void) -> Result<()> {
        let _current = self.current()?;
        check("cuMemFree", unsafe { sys::cuMemFree_v2(pointer as u64) })
    }

    pub fn allocate_host(&self, bytes: usize) -> Result<*mut c_void> {
        let _current = self.current()?;
        let mut pointer = std::ptr::null_mut();
        let flags = sys::CU_MEMHOSTALLOC_PORTABLE | sys::CU_MEMHOSTALLOC_DEVICEMAP;
        check(&format!("cuMemHostAlloc({bytes} bytes)"), unsafe {
            sys::cuMemHostAlloc(&mut pointer, bytes, flags)
        })?;
        Ok(pointer)
    }

    pub fn free_host(&self, pointer: *mut c_void) -> Result<()> {
        let _current = self.current()?;
        check("cuMemFreeHost", unsafe { sys::cuMemFreeHost(pointer) })
    }

    /// Tries read-only first, which a file mapping without write permission needs; not every system has it.
    pub fn register_host(&self, host: *mut c_void, bytes: usize) -> Result<*mut c_void> {
        const READ_ONLY: u32 = 0x08;
        let _current = self.current()?;
        let base = sys::CU_MEMHOSTREGISTER_PORTABLE | sys::CU_MEMHOSTREGISTER_DEVICEMAP;
        let register = |flags| {
            check(&format!("cuMemHostRegister({bytes} bytes)"), unsafe {
                sys::cuMemHostRegister_v2(host, bytes, flags)
            })
        };
        register(base).or_else(|_| register(base | READ_ONLY))?;
        let mut pointer = 0;
        check("cuMemHostGetDevicePointer", unsafe {
            sys::cuMemHostGetDevicePointer_v2(&mut pointer, host, 0)
        })
        .inspect_err(|_| {
            unsafe { sys::cuMemHostUnregister(host) };
        })?;
        Ok(pointer as *mut c_void)
    }

    pub fn unregister_host(&self, host: *mut c_void) -> Result<()> {
        let _current = self.current()?;
        check("cuMemHostUnregister", unsafe { sys::cuMemHostUnregister(host) })
    }

    pub fn copy(&self, to: *mut c_void, from: *const c_void, bytes: usize, stream: reflex_stream) -> Result<()> {
        let _current = Current::of_stream(stream, self.primary)?;
        check("cuMemcpyAsync", unsafe {
            sys::cuMemcpyAsync(to as u64, from as u64, bytes, stream.cast())
        })
    }

    pub fn set(&self, to: *mut c_void, value: u8, bytes: usize, stream: reflex_stream) -> Result<()> {
        let _current = Current::of_stream(stream, self.primary)?;
        check("cuMemsetD8Async", unsafe {
            sys::cuMemsetD8Async(to as u64, value, bytes, stream.cast())
        })
    }

    pub fn memory_info(&self) -> Result<(u64, u64)> {
        let _current = self.current()?;
        let (mut free, mut total) = (0, 0);
        check("cuMemGetInfo", unsafe { sys::cuMemGetInfo_v2(&mut free, &mut total) })?;
        Ok((free as u64, total as u64))
    }
}

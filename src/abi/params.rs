//! Reads versioned structs from C.

use super::error::{Error, Result};
use super::status::*;
use std::mem::{align_of, size_of};

/// A `#[repr(C)]` struct that C hands in: it starts with `uint32_t struct_size`, has no implicit padding,
/// and all-zero is a valid value of it.
///
/// # Safety
/// The three conditions above.
pub(crate) unsafe trait Params: Copy {
    /// Size in the first release that had it: the least a caller may pass.
    const MIN_SIZE: usize;
}

/// Nothing sensible is larger, and reading on would leave the caller's memory.
const MAX_SIZE: usize = 1 << 16;

/// `name`: of the op or function, for messages.
pub(crate) fn read_params<T: Params>(name: &str, pointer: *const T) -> Result<T> {
    if pointer.is_null() {
        return Err(Error::invalid(format!("{name}: params is NULL")));
    }
    if !(pointer as usize).is_multiple_of(align_of::<T>()) {
        let align = align_of::<T>();
        return Err(Error::new(
            REFLEX_MISALIGNED,
            format!("{name}: params is {pointer:p}, expected a multiple of {align}"),
        ));
    }
    let bytes = pointer.cast::<u8>();
    // SAFETY: the caller hands a params struct, whose first field is its own size.
    let size = unsafe { bytes.cast::<u32>().read() } as usize;
    if size < T::MIN_SIZE || size > MAX_SIZE {
        return Err(Error::new(
            REFLEX_ABI_MISMATCH,
            format!(
                "{name}: struct_size is {size}, expected {} to {MAX_SIZE} (this library's struct has {} bytes)",
                T::MIN_SIZE,
                size_of::<T>()
            ),
        ));
    }
    let known = size.min(size_of::<T>());
    // SAFETY: the caller's struct has `size` bytes; `T` is plain data valid for any tail of zeros.
    unsafe {
        if let Some(offset) = (known..size).find(|&i| bytes.add(i).read() != 0) {
            return Err(Error::new(
                REFLEX_ABI_MISMATCH,
                format!(
                    "{name}: struct_size is {size} and byte {offset} is not zero, but this library knows {known} bytes: it is older than the caller's header"
                ),
            ));
        }
        let mut params: T = std::mem::zeroed();
        std::ptr::copy_nonoverlapping(bytes, (&raw mut params).cast::<u8>(), known);
        Ok(params)
    }
}

/// Checks an out pointer before anything is done.
pub(crate) fn out_pointer<T>(function: &str, field: &str, pointer: *mut T) -> Result<()> {
    if pointer.is_null() {
        return Err(Error::invalid(format!("{function}: {field} is NULL")));
    }
    if !(pointer as usize).is_multiple_of(align_of::<T>()) {
        return Err(Error::new(
            REFLEX_MISALIGNED,
            format!(
                "{function}: {field} is {pointer:p}, expected a multiple of {}",
                align_of::<T>()
            ),
        ));
    }
    Ok(())
}

/// A struct of the caller that the library fills: as much of it as the caller has room for.
#[derive(Debug)]
pub(crate) struct OutStruct<T> {
    pointer: *mut T,
    size: usize,
}

/// Checks the struct that `pointer` leads to, whose first field the caller has set to its size.
pub(crate) fn out_struct<T: Params>(function: &str, field: &str, pointer: *mut T) -> Result<OutStruct<T>> {
    out_pointer(function, field, pointer)?;
    // SAFETY: the caller's struct starts with its own size.
    let size = unsafe { pointer.cast::<u32>().read() } as usize;
    if !(T::MIN_SIZE..=MAX_SIZE).contains(&size) {
        return Err(Error::new(
            REFLEX_ABI_MISMATCH,
            format!(
                "{function}: {field}->struct_size is {size}, expected {} to {MAX_SIZE}",
                T::MIN_SIZE
            ),
        ));
    }
    Ok(OutStruct { pointer, size })
}

impl<T: Params> OutStruct<T> {
    /// `value` but for its struct_size, which stays the caller's.
    pub fn write(self, value: T) {
        let head = size_of::<u32>();
        let bytes = self.size.min(size_of::<T>()) - head;
        // SAFETY: the caller's struct has `size` bytes, of which the first four are its size.
        unsafe {
            let from = (&raw const value).cast::<u8>().add(head);
            std::ptr::copy_nonoverlapping(from, self.pointer.cast::<u8>().add(head), bytes);
        }
    }
}

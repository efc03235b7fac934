//! Reads versioned structs, and arrays of them, from C.

use super::error::{Error, Result};
use super::status::*;
use std::fmt::Display;
use std::mem::{MaybeUninit, align_of, size_of};

/// A `#[repr(C)]` struct that C hands in: it starts with `uint32_t struct_size`, has no implicit padding,
/// and all-zero is a valid value of it.
///
/// # Safety
/// The three conditions above.
pub(crate) unsafe trait Params: Copy {
    /// Size in the first release that had it: the least a caller may pass.
    const MIN_SIZE: usize;
}

/// An element of an array that C hands in, with the number of its elements and the bytes of one, which are the caller's `sizeof`:
/// `#[repr(C)]`, no implicit padding, and all-zero is a valid value of it.
///
/// # Safety
/// The three conditions above.
pub(crate) unsafe trait Element: Copy {
    /// Size in the first release that had it: the least that the caller's elements may have.
    const MIN_SIZE: usize;
}

/// Nothing sensible is larger, and reading on would leave the caller's memory.
const MAX_SIZE: usize = 1 << 16;

/// The params of a call: the caller's own, or, where the caller's header knows less of them than this library, a copy in
/// `room` whose other fields are zero.
pub(crate) fn read_params<T: Params>(pointer: *const T, room: &mut MaybeUninit<T>) -> Result<&T> {
    read_sized("params", "struct_size", pointer, room)
}

/// The same of a struct that params point to by `field`.
pub(crate) fn read_struct<'a, T: Params>(
    field: &str,
    pointer: *const T,
    room: &'a mut MaybeUninit<T>,
) -> Result<&'a T> {
    read_sized(field, format_args!("{field}.struct_size"), pointer, room)
}

fn read_sized<'a, T: Params>(
    field: &str,
    size_field: impl Display + Copy,
    pointer: *const T,
    room: &'a mut MaybeUninit<T>,
) -> Result<&'a T> {
    in_pointer(field, pointer)?;
    let bytes = pointer.cast::<u8>();
    // SAFETY: the caller hands a struct whose first field is its own size.
    let size = unsafe { bytes.cast::<u32>().read() } as usize;
    check_size::<T>(size_field, size, T::MIN_SIZE)?;
    // SAFETY: the caller's struct has `size` bytes; `T` is plain data valid for any tail of zeros.
    unsafe {
        check_tail::<T>(size_field, bytes, size, &"")?;
        Ok(known(bytes, size, room))
    }
}

/// An array of the caller, whose elements may be of an older or a newer header than this library.
#[derive(Debug)]
pub(crate) struct Array<T> {
    first: *const T,
    count: usize,
    size: usize,
}

/// Checks the array of `count` structs of `size` bytes at `pointer`, and reads nothing behind them. With a `field` of
/// `"product"` messages name `products`, `product_count` and `product_size`.
pub(crate) fn read_array<T: Element>(field: &str, pointer: *const T, count: u32, size: u32) -> Result<Array<T>> {
    let (count, size) = (count as usize, size as usize);
    if count == 0 {
        return Err(Error::invalid(format!("{field}_count is 0, expected 1 or more")));
    }
    in_pointer(format_args!("{field}s"), pointer)?;
    let size_field = format_args!("{field}_size");
    check_size::<T>(size_field, size, T::MIN_SIZE)?;
    if !size.is_multiple_of(align_of::<T>()) {
        return Err(Error::new(
            REFLEX_ABI_MISMATCH,
            format!(
                "{field}_size is {size}, expected a multiple of {} (this library's struct has {} bytes)",
                align_of::<T>(),
                size_of::<T>()
            ),
        ));
    }
    let array = Array {
        first: pointer,
        count,
        size,
    };
    for i in 0..count {
        // SAFETY: the caller's array has `count` elements of `size` bytes.
        unsafe { check_tail::<T>(size_field, array.bytes(i), size, &format_args!(" of {field}s[{i}]"))? };
    }
    Ok(array)
}

impl<T: Element> Array<T> {
    pub fn len(&self) -> usize {
        self.count
    }

    fn bytes(&self, i: usize) -> *const u8 {
        assert!(i < self.count);
        self.first.cast::<u8>().wrapping_add(i * self.size)
    }

    /// Element `i`: the caller's own, or, where the caller's header knows less of it than this library, a copy in `room`
    /// whose other fields are zero.
    pub fn get<'a>(&'a self, i: usize, room: &'a mut MaybeUninit<T>) -> &'a T {
        let bytes = self.bytes(i);
        // SAFETY: the caller's element has `size` bytes and is aligned; `T` is plain data valid for any tail of zeros.
        unsafe { known(bytes, self.size, room) }
    }
}

/// Checks a pointer to what the library reads.
fn in_pointer<T>(field: impl Display, pointer: *const T) -> Result<()> {
    if pointer.is_null() {
        return Err(Error::invalid(format!("{field} is NULL")));
    }
    if !(pointer as usize).is_multiple_of(align_of::<T>()) {
        let align = align_of::<T>();
        return Err(Error::new(
            REFLEX_MISALIGNED,
            format!("{field} is {pointer:p}, expected a multiple of {align}"),
        ));
    }
    Ok(())
}

/// `field` is what the caller says the bytes of a `T` are.
fn check_size<T>(field: impl Display, size: usize, least: usize) -> Result<()> {
    if (least..=MAX_SIZE).contains(&size) {
        return Ok(());
    }
    Err(Error::new(
        REFLEX_ABI_MISMATCH,
        format!(
            "{field} is {size}, expected {least} to {MAX_SIZE} (this library's struct has {} bytes)",
            size_of::<T>()
        ),
    ))
}

/// What this library does not know of a struct has to be zero. `place` says for messages where the struct is.
///
/// # Safety
/// There are `size` bytes.
unsafe fn check_tail<T>(field: impl Display, bytes: *const u8, size: usize, place: &dyn Display) -> Result<()> {
    let known = size_of::<T>();
    // SAFETY: the caller of this function says so.
    match (known..size).find(|&i| unsafe { bytes.add(i).read() } != 0) {
        None => Ok(()),
        Some(offset) => Err(Error::new(
            REFLEX_ABI_MISMATCH,
            format!(
                "{field} is {size} and byte {offset}{place} is not zero, but this library knows {known} bytes: it is older than the caller's header"
            ),
        )),
    }
}

/// As much of a struct as both sides know; the rest is zero.
///
/// # Safety
/// There are `size` bytes, aligned as a `T`, and a `T` may begin with them and end in zeros.
unsafe fn known<T: Copy>(bytes: *const u8, size: usize, room: &mut MaybeUninit<T>) -> &T {
    // SAFETY: the caller of this function says so.
    unsafe {
        if size >= size_of::<T>() {
            return &*bytes.cast::<T>();
        }
        *room = MaybeUninit::zeroed();
        std::ptr::copy_nonoverlapping(bytes, room.as_mut_ptr().cast::<u8>(), size);
        room.assume_init_ref()
    }
}

/// Checks an out pointer before anything is done.
pub(crate) fn out_pointer<T>(field: &str, pointer: *mut T) -> Result<()> {
    if pointer.is_null() {
        return Err(Error::invalid(format!("{field} is NULL")));
    }
    if !(pointer as usize).is_multiple_of(align_of::<T>()) {
        return Err(Error::new(
            REFLEX_MISALIGNED,
            format!("{field} is {pointer:p}, expected a multiple of {}", align_of::<T>()),
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
pub(crate) fn out_struct<T: Params>(field: &str, pointer: *mut T) -> Result<OutStruct<T>> {
    out_pointer(field, pointer)?;
    // SAFETY: the caller's struct starts with its own size.
    let size = unsafe { pointer.cast::<u32>().read() } as usize;
    if !(T::MIN_SIZE..=MAX_SIZE).contains(&size) {
        return Err(Error::new(
            REFLEX_ABI_MISMATCH,
            format!("{field}->struct_size is {size}, expected {} to {MAX_SIZE}", T::MIN_SIZE),
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

#[cfg(test)]
mod tests;

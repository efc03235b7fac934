//! Statuses: their numbers in C, which never change, and their names.

use std::ffi::{CStr, c_char};

/// What a call returned. Numbers are fixed for ever; new ones are appended.
/// `reflex_last_error_message` tells more about anything but `REFLEX_SUCCESS`.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct reflex_status(pub i32);

/// The call did what it says; a launch was put on the stream.
pub const REFLEX_SUCCESS: reflex_status = reflex_status(0);
/// An argument is null, out of range, of the wrong shape or inconsistent with another.
pub const REFLEX_INVALID_ARGUMENT: reflex_status = reflex_status(1);
/// The call is valid, but this library has no kernel for it on this device: the engine may fall back to its own.
pub const REFLEX_UNSUPPORTED: reflex_status = reflex_status(2);
/// The device is older than the oldest supported one, or no kernel image was built for it.
pub const REFLEX_UNSUPPORTED_DEVICE: reflex_status = reflex_status(3);
/// The workspace in the params is smaller than `reflex_<op>_workspace_size` says.
pub const REFLEX_WORKSPACE_TOO_SMALL: reflex_status = reflex_status(4);
/// A pointer or stride is not a multiple of what the element type needs.
pub const REFLEX_MISALIGNED: reflex_status = reflex_status(5);
/// `struct_size` does not fit this library: too small, or larger with a tail that is not zero.
pub const REFLEX_ABI_MISMATCH: reflex_status = reflex_status(6);
/// CUDA was asked for and there is no usable driver or device.
pub const REFLEX_NO_DRIVER: reflex_status = reflex_status(7);
/// CUDA was asked for and this library was built without kernels.
pub const REFLEX_NOT_BUILT: reflex_status = reflex_status(8);
/// The CUDA driver returned an error, whose name the message holds, or the object was made before `fork`.
pub const REFLEX_CUDA_ERROR: reflex_status = reflex_status(9);
/// Host or device memory is exhausted.
pub const REFLEX_OUT_OF_MEMORY: reflex_status = reflex_status(10);
/// The library has a defect. Please report it with the message.
pub const REFLEX_INTERNAL: reflex_status = reflex_status(11);

/// Returns the constant's name for a status, `"REFLEX_UNKNOWN_STATUS"` for any other number. The string is never null
/// and lives as long as the program.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_status_string(status: reflex_status) -> *const c_char {
    name(status).as_ptr()
}

pub(crate) fn name(status: reflex_status) -> &'static CStr {
    match status {
        REFLEX_SUCCESS => c"REFLEX_SUCCESS",
        REFLEX_INVALID_ARGUMENT => c"REFLEX_INVALID_ARGUMENT",
        REFLEX_UNSUPPORTED => c"REFLEX_UNSUPPORTED",
        REFLEX_UNSUPPORTED_DEVICE => c"REFLEX_UNSUPPORTED_DEVICE",
        REFLEX_WORKSPACE_TOO_SMALL => c"REFLEX_WORKSPACE_TOO_SMALL",
        REFLEX_MISALIGNED => c"REFLEX_MISALIGNED",
        REFLEX_ABI_MISMATCH => c"REFLEX_ABI_MISMATCH",
        REFLEX_NO_DRIVER => c"REFLEX_NO_DRIVER",
        REFLEX_NOT_BUILT => c"REFLEX_NOT_BUILT",
        REFLEX_CUDA_ERROR => c"REFLEX_CUDA_ERROR",
        REFLEX_OUT_OF_MEMORY => c"REFLEX_OUT_OF_MEMORY",
        REFLEX_INTERNAL => c"REFLEX_INTERNAL",
        _ => c"REFLEX_UNKNOWN_STATUS",
    }
}

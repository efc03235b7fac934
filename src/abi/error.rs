//! Errors: a status with a message, and the last message of each thread.

use super::status::*;
use std::cell::RefCell;
use std::ffi::{CString, c_char};

/// A status and the sentence that names field, value and requirement. `guard` puts the name of the op or function in front of it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Error {
    pub status: reflex_status,
    pub message: String,
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(status: reflex_status, message: impl Into<String>) -> Error {
        Error {
            status,
            message: message.into(),
        }
    }

    pub fn invalid(message: impl Into<String>) -> Error {
        Error::new(REFLEX_INVALID_ARGUMENT, message)
    }

    /// An object of the CUDA backend in a child of the process that made it.
    pub fn inherited(field: &str) -> Error {
        Error::new(
            REFLEX_CUDA_ERROR,
            format!(
                "{field} was made before fork, and CUDA does not live on in a child process \
                 (CUDA_ERROR_NOT_INITIALIZED): use CUDA in the process that made it, or fork before anything uses CUDA"
            ),
        )
    }

    /// A capture that another thread began.
    pub fn wrong_thread() -> Error {
        Error::invalid("the capture was begun by another thread, expected the same one; it goes on")
    }

    /// A capture that another thread began with a function of CUDA: the driver has ended it.
    pub fn foreign_thread() -> Error {
        Error::invalid(
            "the capture was begun by another thread, expected the same one; it is over \
             (CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD)",
        )
    }

    /// Puts the name of the called function in front of the message, unless it stands there already.
    pub fn of(self, function: &str) -> Error {
        let named = self.message.strip_prefix(function);
        match named.is_some_and(|rest| rest.starts_with(": ")) {
            true => self,
            false => Error::new(self.status, format!("{function}: {}", self.message)),
        }
    }

    pub fn unsupported(message: impl Into<String>) -> Error {
        Error::new(REFLEX_UNSUPPORTED, message)
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

pub(crate) fn set_last_error(message: &str) {
    let bytes: Vec<u8> = message.bytes().filter(|&b| b != 0).collect();
    LAST.with(|last| *last.borrow_mut() = CString::new(bytes).unwrap_or_default());
}

/// The message of the last call on this thread that did not return `REFLEX_SUCCESS`; empty when there was none. It
/// names op, field, value and requirement. The pointer is never null, and valid until the next failing call on this
/// thread.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_last_error_message() -> *const c_char {
    LAST.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

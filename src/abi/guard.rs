//! Every export runs inside `guard`: errors become a status and a message that names the function, panics become `REFLEX_INTERNAL`.

use super::error::{Result, set_last_error};
use super::process;
use super::status::*;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::OnceLock;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

pub(crate) fn guard(function: &str, body: impl FnOnce() -> Result<()>) -> reflex_status {
    silence_panics();
    let outer = INSIDE.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(body));
    INSIDE.set(outer);
    match outcome {
        Ok(Ok(())) => REFLEX_SUCCESS,
        Ok(Err(error)) => {
            let error = error.of(function);
            set_last_error(&error.message);
            error.status
        }
        Err(payload) => {
            let text = payload
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("unknown cause");
            set_last_error(&format!("{function}: internal error: {text}"));
            REFLEX_INTERNAL
        }
    }
}

/// The default hook prints to stderr, which a library must not. Panics outside a guard keep the hook they had.
fn silence_panics() {
    static ONCE: OnceLock<()> = OnceLock::new();
    process::once(&ONCE, || {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !INSIDE.try_with(Cell::get).unwrap_or(false) {
                previous(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::error::{Error, reflex_last_error_message};
    use std::ffi::CStr;

    #[test]
    fn a_panic_becomes_internal() {
        let status = guard("reflex_norm", || panic!("index {} out of range", 7));
        assert_eq!(status, REFLEX_INTERNAL);
        assert_eq!(last_error(), "reflex_norm: internal error: index 7 out of range");
    }

    #[test]
    fn a_message_names_the_function_once() {
        let message = |text: &str| {
            guard("norm", || Err(Error::new(REFLEX_CUDA_ERROR, text)));
            last_error()
        };
        assert_eq!(message("norm: y.data is NULL"), "norm: y.data is NULL");
        assert_eq!(
            message("cuMemGetInfo failed with CUDA_ERROR_INVALID_CONTEXT"),
            "norm: cuMemGetInfo failed with CUDA_ERROR_INVALID_CONTEXT"
        );
        assert_eq!(message("norms are odd"), "norm: norms are odd");
        assert_eq!(message("norm.data is NULL"), "norm: norm.data is NULL");
    }

    fn last_error() -> String {
        // SAFETY: the library's own text, valid until the next error of this thread.
        unsafe { CStr::from_ptr(reflex_last_error_message()) }
            .to_str()
            .unwrap()
            .to_owned()
    }
}

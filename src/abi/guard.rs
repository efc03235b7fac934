//! Every export runs inside `guard`: errors become a status, panics become `REFLEX_INTERNAL`.

use super::error::{Result, set_last_error};
use super::process;
use super::status::*;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::OnceLock;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

pub(crate) fn guard(body: impl FnOnce() -> Result<()>) -> reflex_status {
    silence_panics();
    let outer = INSIDE.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(body));
    INSIDE.set(outer);
    match outcome {
        Ok(Ok(())) => REFLEX_SUCCESS,
        Ok(Err(error)) => {
            set_last_error(&error.message);
            error.status
        }
        Err(payload) => {
            let text = payload
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("unknown cause");
            set_last_error(&format!("internal error: {text}"));
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

    #[test]
    fn a_panic_becomes_internal() {
        let status = guard(|| panic!("index {} out of range", 7));
        assert_eq!(status, REFLEX_INTERNAL);
    }
}

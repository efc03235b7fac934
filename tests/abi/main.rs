//! The C ABI: header, exports, layouts, bad input, run-time helpers on the CPU backend.

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod exports;
mod header;
mod layout;
mod names;
mod paths;
mod runtime;
mod size;

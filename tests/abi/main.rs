//! The C ABI: header, exports, layouts, bad input, run-time helpers on the CPU backend.

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod exports;
mod fork;
mod header;
mod layout;
mod lifetime;
mod names;
mod paths;
mod runtime;
mod sharing;
mod size;

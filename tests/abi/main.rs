//! The C ABI: header, exports, layouts, bad input, run-time helpers on the CPU backend.

#[path = "../support/mod.rs"]
mod support;

// The build script's, which has no tests of its own.
#[path = "../../build/archs.rs"]
#[allow(dead_code)]
mod archs;
#[path = "../../build/constants.rs"]
#[allow(dead_code)]
mod constants;
#[path = "../../build/entries.rs"]
#[allow(dead_code)]
mod entries;
#[path = "../../build/formats.rs"]
#[allow(dead_code)]
mod formats;
#[path = "../../build/instances.rs"]
#[allow(dead_code)]
mod instances;
#[path = "../../build/resources.rs"]
#[allow(dead_code)]
mod resources;
#[path = "../../build/xmacro.rs"]
#[allow(dead_code)]
mod xmacro;

mod api;
mod arrows;
mod bad_input;
mod budget;
mod build;
mod compiler;
mod exports;
mod fork;
mod header;
mod kernels;
mod lifetime;
mod names;
mod paths;
mod runtime;
mod sharing;
mod size;
mod strides;

//! The C ABI: header, exports, layouts, bad input.

mod header;

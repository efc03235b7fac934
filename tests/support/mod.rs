//! What the test suites share: contexts, guarded buffers, and the parity run that every op goes through.
#![allow(dead_code, unused_imports)]

mod act_i8;
mod alone;
mod blocks;
mod buffer;
mod calls;
mod cases;
mod empty_sums;
mod env;
mod fork;
mod kv_cache;
mod lifetime;
mod matmul;
mod packed;
mod parity;
mod random;
mod rope_golden;
mod sample_rows;
mod suite;

pub use act_i8::*;
pub use alone::*;
pub use blocks::*;
pub use buffer::*;
pub use calls::*;
pub use cases::*;
pub use empty_sums::*;
pub use env::*;
pub use fork::*;
pub use kv_cache::*;
pub use lifetime::*;
pub use matmul::*;
pub use packed::*;
pub use parity::*;
pub use random::*;
pub use rope_golden::*;
pub use sample_rows::*;
pub use suite::*;

//! What the test suites share: contexts, guarded buffers, and the parity run that every op goes through.
#![allow(dead_code, unused_imports)]

mod blocks;
mod buffer;
mod env;
mod fork;
mod lifetime;
mod packed;
mod parity;
mod q8_1;
mod random;
mod suite;

pub use blocks::*;
pub use buffer::*;
pub use env::*;
pub use fork::*;
pub use lifetime::*;
pub use packed::*;
pub use parity::*;
pub use q8_1::*;
pub use random::*;
pub use suite::*;

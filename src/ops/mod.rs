//! The ops: one module each, with params, validation and plan, candidates and C exports.

#[macro_use]
mod registry;

mod call;
#[cfg(test)]
mod choices;
mod choose;
mod entries;
mod fields;
pub(crate) mod kv_cache;
mod op;
mod operands;
mod rows;
mod schedule;
mod workspace;

pub(crate) use op::Reference;

pub use entries::{OPS, OpEntry};

macro_rules! modules {
    ($($module:ident { $($op:tt)+ })+) => {
        $(
            pub(crate) mod $module;
            pub use $module::*;
        )+
    };
}
for_each_op!(modules);

//! The CPU backend against independent oracles.

#[path = "../support/mod.rs"]
mod support;

mod calls;
mod cases;
mod decode_step;
mod infinities;
mod kv_cache;
mod limits;

macro_rules! modules {
    ($($module:ident { $($op:tt)+ })+) => {
        $(mod $module;)+
    };
}
reflex_infer::for_each_op!(modules);

//! The CPU backend: one plain file per op, which is also the reference that the CUDA kernels are tested against.

pub(crate) mod act_i8;
pub(crate) mod element;
pub(crate) mod kv_cache;

macro_rules! modules {
    ($($module:ident { $($op:tt)+ })+) => {
        $(pub(crate) mod $module;)+
    };
}
crate::for_each_op!(modules);

//! Numbers that the launch code shares with the kernels: the build writes them from `kernels/constants.def`.

include!(concat!(env!("OUT_DIR"), "/constants.rs"));

//! Where things lie.

use std::path::PathBuf;

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn header() -> PathBuf {
    root().join("include/reflex/infer.h")
}

pub fn api() -> PathBuf {
    root().join("include/reflex/api.json")
}

/// The shared library that cargo built for this test: in the folder of the test itself.
pub fn shared_library() -> PathBuf {
    let test = std::env::current_exe().expect("the test's path");
    test.parent().expect("a folder").join("libreflex_infer.so")
}

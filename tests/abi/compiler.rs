//! The C and C++ compilers of this machine.

use crate::paths;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Compiles a text as a user of the headers would, at the strictest warnings, as errors.
pub fn compile_text(language: &str, standard: &str, options: &[&str], text: &str) {
    // Tests run at the same time, some with the same standard.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("reflex-abi-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    let file = dir.join(if language == "c" { "layout.c" } else { "layout.cpp" });
    std::fs::write(&file, text).expect("write");
    let output = Command::new(if language == "c" { "cc" } else { "c++" })
        .args([
            &format!("-std={standard}"),
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-fsyntax-only",
            "-I",
        ])
        .arg(paths::root().join("include"))
        .args(options)
        .arg(&file)
        .output()
        .expect("a C compiler");
    let _ = std::fs::remove_dir_all(&dir);
    assert!(
        output.status.success(),
        "{standard}:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

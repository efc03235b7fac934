//! Tests that use what they have destroyed: in a process with others, one of those may hold that address by then.

use std::env;
use std::process::Command;

/// Name of the test that a process was started for.
const ALONE: &str = "REFLEX_TEST_ALONE";

/// Runs `body`, which is all of the test of this name, in a process of its own.
#[track_caller]
pub fn alone(test: &str, body: impl FnOnce()) {
    if env::var_os(ALONE).is_some_and(|name| name == test) {
        return body();
    }
    let program = env::current_exe().expect("the path of this program");
    let output = Command::new(program)
        .args(["--exact", test])
        .env(ALONE, test)
        .output()
        .expect("this program once more");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{test} in a process of its own: {}\n{said}{complained}",
        output.status
    );
}

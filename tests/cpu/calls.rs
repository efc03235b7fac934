//! Calls of every op, right and wrong ones, at random.

use crate::support::*;

#[test]
fn the_launch_does_what_supported_says() {
    random_calls(&Env::cpu(), 1, 4_000);
}

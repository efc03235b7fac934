//! Calls of every op, right and wrong ones, at random.

use crate::support::*;

pub fn tests(suite: &mut Suite) {
    for seed in 1..=4 {
        suite.test(
            format!("calls::the_launch_does_what_supported_says_{seed}"),
            move |env| random_calls(env, seed, 3_000),
        );
    }
}

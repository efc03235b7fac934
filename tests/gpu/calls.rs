//! Calls of every op, right and wrong ones, at random.

use crate::support::*;

pub fn tests(suite: &mut Suite) {
    for seed in 1..=4 {
        suite.test(
            format!("calls::the_launch_does_what_supported_says_{seed}"),
            move |_| {
                // A stream of its own: the runner starts tests in parallel.
                random_calls(&Env::cuda().expect("a GPU"), seed, 3_000);
            },
        );
    }
}

mod infinities;
mod invariant;

use crate::support::*;

pub fn tests(suite: &mut Suite) {
    suite.test("matmul::empty_sums_in_every_mode", |_| {
        // A stream of its own: the runner starts tests in parallel.
        check_empty_sums(&Env::cuda().expect("a GPU"));
    });
    infinities::tests(suite);
    invariant::tests(suite);
}

mod infinities;
mod invariant;

use crate::support::*;

pub fn tests(suite: &mut Suite) {
    suite.test("matmul::empty_sums_in_every_mode", check_empty_sums);
    infinities::tests(suite);
    invariant::tests(suite);
}

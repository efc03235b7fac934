use crate::support::*;

pub fn tests(suite: &mut Suite) {
    suite.cases("norm");
}

use crate::support::*;

pub fn tests(_suite: &mut Suite) {}

use crate::support::*;
use reflex_infer::*;

pub fn tests(suite: &mut Suite) {
    // Against numbers of 600 bits, by every kernel: aligned short heads, longer ones, and odd ones.
    for (mode, name) in [(REFLEX_ROPE_NEOX, "neox"), (REFLEX_ROPE_INTERLEAVED, "interleaved")] {
        for (kind, extra_dim, offset) in [("heads", 0, 0), ("wide", 256, 0), ("odd", 3, 1)] {
            suite.smoke_test(
                format!("rope::{name}_{kind}_keeps_its_bound_at_every_angle"),
                move |env| {
                    let worst = worst_of_rope_golden(env, mode, extra_dim, offset);
                    println!("{name} {kind}: at most {worst:.2} of the bound");
                },
            );
        }
    }
}

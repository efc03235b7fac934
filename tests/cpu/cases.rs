//! The problems of `cases/` on the CPU backend, with the operands that the GPU tests have: a descriptor that is wrong, an operand that
//! an op writes beside, or a launch that differs when it is recorded fails here too. The tests that are long take
//! the smoke tier, or with REFLEX_TIER=full all; REFLEX_CASE is a problem to take alone.

use crate::support::*;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The tier that the environment asks for.
pub fn wanted_tier() -> Tier {
    let tier = std::env::var("REFLEX_TIER").map(|text| text.parse());
    tier.map_or(Tier::Smoke, |tier| tier.unwrap_or_else(|what| panic!("{what}")))
}

/// Those of an op up to a tier, or what the environment describes.
fn wanted_cases(op: &str, tier: Tier) -> Vec<Descriptor> {
    if let Ok(text) = std::env::var("REFLEX_CASE") {
        let cases = read_case(&text).unwrap_or_else(|what| panic!("{what}"));
        return cases.into_iter().filter(|case| case.op == op).collect();
    }
    let all = cases(op).cases.iter().filter(|case| case.tier <= tier);
    all.cloned().collect()
}

/// Runs `check` on each of them, and says how one that fails is run alone.
pub fn each_case(op: &str, tier: Tier, test: &str, check: impl Fn(&Descriptor)) {
    for case in wanted_cases(op, tier) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&case))) {
            panic!(
                "{}\nit alone: REFLEX_CASE='{case}' cargo test --test cpu {test}",
                message_of(panic)
            );
        }
    }
}

#[test]
fn run_and_repeat() {
    for op in case_ops() {
        let env = Env::cpu();
        each_case(op, wanted_tier(), "cases::run_and_repeat", |case| {
            problem_repeats(&env, &*problem(case))
        });
    }
}

/// Both tiers can be read, whatever is run.
#[test]
fn every_line_is_a_problem() {
    let modules: HashSet<&str> = reflex_infer::OPS.iter().map(|op| op.module).collect();
    assert_eq!(
        case_ops().collect::<HashSet<_>>(),
        modules,
        "ops with problems, and all ops"
    );
    for op in case_ops() {
        let list = cases(op);
        for case in &list.cases {
            problem(case).size("cpu");
        }
        assert!(
            list.cases.iter().any(|case| case.tier == Tier::Smoke),
            "{op} has no smoke tier"
        );
    }
}

//! Every candidate of every op computes what the CPU backend does, also where another one would be chosen.

use crate::support::*;
use reflex_infer::*;
use std::collections::BTreeSet;

/// Problems that each candidate is given.
const ENOUGH: usize = 3;

pub fn tests(suite: &mut Suite) {
    for op in OPS {
        for candidate in (op.candidates)() {
            let name = format!("{}:{candidate}", op.name);
            suite.smoke_test(format!("candidates::{name}"), move |_| takes_problems(op, &name));
        }
    }
}

fn takes_problems(op: &OpEntry, name: &str) {
    let (cpu, cuda) = (Env::cpu(), Env::with_candidate(name));
    let mut taken = 0;
    let mut reasons = BTreeSet::new();
    // Those of the smoke tier first, which are the quick ones.
    let tiers = [Tier::Smoke, Tier::Full];
    let problems = tiers
        .iter()
        .flat_map(|tier| cases(op.module).cases.iter().filter(move |case| case.tier == *tier));
    for case in problems {
        if taken == ENOUGH {
            return;
        }
        let before = forced_choices(cuda.context);
        let run = || problem_parity(&cpu, &cuda, &*problem(case));
        match catch_quietly(run) {
            // Of two ops in one list a problem may be the other's.
            Ok(()) => taken += usize::from(forced_choices(cuda.context) > before),
            Err(what) => {
                assert!(
                    is_declined(&what),
                    "{what}\nit alone: REFLEX_IMPL={name} reflex-gpu-tests --case '{case}'"
                );
                reasons.extend(what.split_once("it is for ").map(|(_, reason)| reason.to_string()));
            }
        }
    }
    let for_other_devices = reasons
        .iter()
        .any(|reason| reason.contains("SM 8.0") || reason.contains("devices with"));
    assert!(
        taken > 0 || for_other_devices,
        "no problem of cases/{}.txt is for it: {reasons:?}",
        op.module
    );
}

//! Every candidate of every op computes what the CPU backend does, also where another one would be chosen.

use crate::support::*;
use reflex_infer::*;
use std::collections::BTreeSet;

/// Problems that each candidate is given, in the full tier too: the lists' own tests run the candidate that is chosen.
const ENOUGH: usize = 3;

/// Ops whose candidates are given every problem that they take: which one is chosen depends on the device and on more rows than the problems
/// of the list have.
const EVERY_PROBLEM: [&str; 1] = ["attention"];

pub fn tests(suite: &mut Suite) {
    for op in OPS {
        for candidate in (op.candidates)() {
            let name = format!("{}:{candidate}", op.name);
            if EVERY_PROBLEM.contains(&op.name) {
                let name = name.clone();
                suite.test(format!("candidates::every::{name}"), move |_| {
                    takes_problems(op, &name, usize::MAX)
                });
            }
            suite.smoke_test(format!("candidates::{name}"), move |_| {
                takes_problems(op, &name, ENOUGH)
            });
        }
    }
}

fn takes_problems(op: &OpEntry, name: &str, enough: usize) {
    let cuda = Env::with_candidate(name);
    let mut taken = 0;
    let mut reasons = BTreeSet::new();
    // Those of the smoke tier first.
    for tier in [Tier::Smoke, Tier::Full] {
        if taken >= enough {
            return;
        }
        let of_tier = cases(op.module).cases.iter().filter(|case| case.tier == tier);
        let mut problems = Vec::new();
        let mut declined = |case: &Descriptor, what: String| {
            assert!(
                is_declined(&what),
                "{what}\nit alone: REFLEX_IMPL={name} reflex-gpu-tests --case '{case}'"
            );
            reasons.extend(what.split_once("it is for ").map(|(_, reason)| reason.to_string()));
        };
        for case in of_tier {
            match bytes_taken(&cuda, case) {
                Ok(bytes) => problems.extend(bytes.map(|bytes| (bytes, case))),
                Err(what) => declined(case, what),
            }
        }
        // Then the small ones: the lists have shapes that fill a tile, a block and a split in part, and none is better for being large.
        problems.sort_by_key(|(bytes, _)| *bytes);
        for (_, case) in problems {
            if taken >= enough {
                return;
            }
            let before = forced_choices(cuda.context);
            let run = || problem_parity(shared_cpu(), &cuda, &*problem(case));
            match catch_quietly(run) {
                Ok(()) => taken += usize::from(forced_choices(cuda.context) > before),
                Err(what) => declined(case, what),
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

/// Bytes of a problem's operands, where the candidate that the context asks for has something to launch for it: of two ops in one list a
/// problem may be the other's. An error says why the candidate does not take it. Nothing is launched.
fn bytes_taken(cuda: &Env, case: &Descriptor) -> Result<Option<usize>, String> {
    let before = forced_choices(cuda.context);
    let io = Io::without_memory(cuda);
    let kernel = catch_quietly(|| (problem(case).call(&io).kernel)(cuda))?;
    let is_its_own = forced_choices(cuda.context) > before && kernel != "none";
    Ok(is_its_own.then(|| io.bytes_without_memory()))
}

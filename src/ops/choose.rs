//! Chooses the candidate that computes a plan, and makes its schedule.

use super::op::Op;
use super::registry::NAMES;
use super::schedule::{Candidate, Schedule};
use crate::abi::{Error, Result};
use crate::cuda::DeviceLimits;
use crate::runtime::Forced;

impl Schedule<'_> {
    /// Adds the launches of an op, which may be a part of another.
    pub fn add<O: Op>(&mut self, plan: &O::Plan) -> Result<()> {
        if O::is_empty(plan) {
            return Ok(());
        }
        let candidate = choose::<O>(plan, self.device.limits, self.forced)?;
        (candidate.schedule)(plan, self)
    }
}

/// The first candidate that takes the plan and pays, or the one that was asked for.
fn choose<O: Op>(plan: &O::Plan, limits: &DeviceLimits, forced: &Forced) -> Result<&'static Candidate<O::Plan>> {
    let all = O::candidates();
    if !forced.is_empty() {
        expect_ops(forced)?;
        if let Some(wanted) = forced.candidate(O::NAME) {
            return choose_forced::<O>(plan, limits, wanted).inspect(|_| forced.count());
        }
    }
    let fits = |c: &&Candidate<O::Plan>| (c.takes)(plan, limits).is_ok() && (c.pays)(plan, limits).is_ok();
    all.iter().find(fits).ok_or_else(|| declined::<O>(plan, limits))
}

#[cold]
fn expect_ops(forced: &Forced) -> Result<()> {
    match forced.ops().find(|&op| !NAMES.contains(&op)) {
        None => Ok(()),
        Some(op) => Err(Error::invalid(format!(
            "REFLEX_IMPL names the op {op}, expected one of {}",
            NAMES.join(", ")
        ))),
    }
}

#[cold]
fn choose_forced<O: Op>(plan: &O::Plan, limits: &DeviceLimits, wanted: &str) -> Result<&'static Candidate<O::Plan>> {
    let (op, all) = (O::NAME, O::candidates());
    let Some(candidate) = all.iter().find(|c| c.name == wanted) else {
        let names: Vec<&str> = all.iter().map(|c| c.name).collect();
        return Err(Error::invalid(format!(
            "REFLEX_IMPL asks for {op}:{wanted}, expected one of {}",
            names.join(", ")
        )));
    };
    match (candidate.takes)(plan, limits) {
        Ok(()) => Ok(candidate),
        Err(what) => Err(Error::unsupported(format!(
            "REFLEX_IMPL asks for {op}:{wanted}, which does not take this call: it is for {what}"
        ))),
    }
}

#[cold]
fn declined<O: Op>(plan: &O::Plan, limits: &DeviceLimits) -> Error {
    let reasons: Vec<String> = O::candidates()
        .iter()
        .filter_map(|c| {
            let takes = (c.takes)(plan, limits).and_then(|()| (c.pays)(plan, limits));
            takes.err().map(|what| format!("{} is for {what}", c.name))
        })
        .collect();
    Error::unsupported(format!(
        "valid, but no kernel of this library covers it on sm_{}: {}",
        limits.sm,
        reasons.join("; ")
    ))
}

#[cfg(test)]
mod tests {
    use super::super::workspace::Workspace;
    use super::*;
    use crate::abi::{REFLEX_DTYPE_F32, REFLEX_INVALID_ARGUMENT, REFLEX_UNSUPPORTED, reflex_tensor};
    use crate::cuda::Device;
    use crate::ops::norm::{Norm, reflex_norm_params};

    /// What a norm of a row of `dim` elements is scheduled as.
    fn scheduled(dim: i64, forced: &str) -> Result<String> {
        let tensor = |at: usize| reflex_tensor {
            data: std::ptr::without_provenance_mut(at << 32),
            dtype: REFLEX_DTYPE_F32,
            rank: 2,
            shape: [3, dim, 0, 0],
            stride: [0; 4],
        };
        let params = reflex_norm_params {
            x: tensor(1),
            y: tensor(2),
            ..Default::default()
        };
        let limits = DeviceLimits {
            sm: 87,
            sm_count: 8,
            ..Default::default()
        };
        let forced = Forced::parse(forced)?;
        let plan = Norm::plan(&params)?;
        let mut schedule = Schedule::new(Device::described(&limits), &forced, Workspace::NONE);
        schedule.add::<Norm>(&plan)?;
        let names: Vec<&str> = schedule.launches().kernels().map(|(name, _)| name).collect();
        assert_eq!(names, [schedule.name().to_str().unwrap()]);
        Ok(names[0].to_string())
    }

    #[test]
    fn the_first_that_takes_a_plan_is_chosen_unless_another_is_asked_for() {
        assert_eq!(scheduled(512, "").unwrap(), "reflex_norm_warp_vec8");
        assert_eq!(scheduled(511, "").unwrap(), "reflex_norm_warp");
        assert_eq!(scheduled(4096, "").unwrap(), "reflex_norm_block_vec8");
        assert_eq!(scheduled(512, "norm:block").unwrap(), "reflex_norm_block");
        assert_eq!(
            scheduled(512, "add:scalar,norm:block_vec8").unwrap(),
            "reflex_norm_block_vec8"
        );
        assert_eq!(scheduled(512, "add:scalar").unwrap(), "reflex_norm_warp_vec8");
    }

    #[test]
    fn a_candidate_that_cannot_run_says_why() {
        for (dim, forced, status, words) in [
            (
                4096,
                "norm:warp",
                REFLEX_UNSUPPORTED,
                "it is for rows of at most 3056 elements",
            ),
            (
                511,
                "norm:block_vec8",
                REFLEX_UNSUPPORTED,
                "it is for rows of a multiple of 8",
            ),
            (
                512,
                "norm:blok",
                REFLEX_INVALID_ARGUMENT,
                "expected one of warp_vec8, warp, block_vec8, block",
            ),
            (
                512,
                "nrom:block",
                REFLEX_INVALID_ARGUMENT,
                "names the op nrom, expected one of activation",
            ),
        ] {
            let error = scheduled(dim, forced).unwrap_err();
            assert!(
                error.status == status && error.message.contains(words),
                "{}",
                error.message
            );
        }
    }
}

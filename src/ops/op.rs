//! What every op is made of.

use super::operands::Operands;
use super::schedule::Candidate;
use super::workspace::Workspace;
use crate::abi::{Params, Result};
use crate::runtime::CpuBackend;

/// One op: it validates and plans a call without side effects, and then a kernel or the CPU reference computes it.
pub(crate) trait Op {
    /// The name, such as `"norm"`. `guard` puts it in front of messages, and `kernels/`, `src/cpu/`, `tests/` and
    /// `benches/` use it as file name.
    const NAME: &'static str;
    type Params: Params;
    /// Everything that a launch needs, checked. It owns its data, because a captured CPU call keeps it.
    type Plan: Reference + Copy + Send + Sync + 'static;

    /// Validates the params. Runs without a GPU and reads no operand.
    fn plan(params: &Self::Params) -> Result<Self::Plan>;

    /// Lists what the launch reads and writes, for the rule on memory that operands share.
    fn operands<'a>(plan: &'a Self::Plan, to: &mut Operands<'a>);

    /// Whether there is nothing to do, because a dimension is 0.
    fn is_empty(plan: &Self::Plan) -> bool;

    /// The candidates in order of preference.
    fn candidates() -> &'static [Candidate<Self::Plan>];

    /// The address and size of the scratch in the params, for ops that need some.
    fn workspace(_params: &Self::Params) -> Workspace {
        Workspace::NONE
    }

    fn set_workspace(_params: &mut Self::Params, _workspace: Workspace) {}
}

/// What the CPU backend computes for a plan, in `src/cpu/`: the reference of the op's kernels.
pub(crate) trait Reference {
    fn run(&self, cpu: &CpuBackend);
}

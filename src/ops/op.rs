//! What every op is made of, and the one path a call takes.

use super::operands::Operands;
pub(crate) use super::workspace::Workspace;
use crate::abi::{Error, Params, REFLEX_UNSUPPORTED_DEVICE, REFLEX_WORKSPACE_TOO_SMALL, Result, out_pointer};
use crate::abi::{guard, read_params, reflex_status, reflex_stream};
use crate::cuda::DeviceLimits;
use crate::cuda::{Cuda, CudaBackend, Kernel};
use crate::runtime::Backend;
use crate::runtime::CpuBackend;
use crate::runtime::reflex_context;
use std::ffi::c_char;

/// One op: pure validation and planning, then a kernel or the CPU reference.
pub(crate) trait Op {
    /// `"norm"`; messages begin with it, and `kernels/`, `src/cpu/`, `tests/` and `benches/` use it as file name.
    const NAME: &'static str;
    type Params: Params;
    /// Everything a launch needs, checked. Owned data only: a captured CPU call keeps it.
    type Plan: Reference + Copy + Send + Sync + 'static;

    /// Validates the params. Runs without a GPU and reads no operand.
    fn plan(params: &Self::Params) -> Result<Self::Plan>;

    /// What the launch reads and writes, for the rule on memory that operands share.
    fn operands<'a>(plan: &'a Self::Plan, to: &mut Operands<'a>);

    /// Nothing to do (a dimension is 0).
    fn is_empty(plan: &Self::Plan) -> bool;

    /// In order of preference; the first that matches is launched.
    fn variants() -> &'static [Variant<Self::Plan>];

    /// A call that gives no scratch gets a variant that needs none.
    const WORKSPACE_OPTIONAL: bool = false;

    /// Scratch of the variant that a CUDA device would run. The CPU backend needs none.
    fn workspace_bytes(_plan: &Self::Plan, _limits: &DeviceLimits) -> usize {
        0
    }

    /// Address and size of the scratch in the params, for ops that need some.
    fn workspace(_params: &Self::Params) -> Workspace {
        Workspace::NONE
    }
}

/// What the CPU backend computes for a plan, in `src/cpu/`: the reference of the op's kernels.
pub(crate) trait Reference {
    fn run(&self, cpu: &CpuBackend);
}

/// A kernel (or a short sequence of them) and when it applies.
pub(crate) struct Variant<P: 'static> {
    pub kernel: &'static Kernel,
    pub min_sm: u32,
    /// Inclusive.
    pub max_sm: u32,
    pub matches: fn(&P, &DeviceLimits) -> bool,
    pub launch: fn(&P, &Cuda, &Workspace) -> Result<()>,
}

impl<P> Variant<P> {
    /// For every GPU that the library supports.
    pub const fn new(
        kernel: &'static Kernel,
        matches: fn(&P, &DeviceLimits) -> bool,
        launch: fn(&P, &Cuda, &Workspace) -> Result<()>,
    ) -> Variant<P> {
        Variant {
            kernel,
            min_sm: 75,
            max_sm: ANY_SM,
            matches,
            launch,
        }
    }
}

impl<P> Clone for Variant<P> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<P> Copy for Variant<P> {}

/// No upper bound on the SM.
pub(crate) const ANY_SM: u32 = u32::MAX;

fn select<O: Op>(plan: &O::Plan, limits: &DeviceLimits) -> Result<&'static Variant<O::Plan>> {
    let mut for_this_device = O::variants()
        .iter()
        .filter(|v| (v.min_sm..=v.max_sm).contains(&limits.sm))
        .peekable();
    if for_this_device.peek().is_none() {
        return Err(Error::new(
            REFLEX_UNSUPPORTED_DEVICE,
            format!("{}: no kernel for sm_{}", O::NAME, limits.sm),
        ));
    }
    for_this_device
        .find(|v| (v.matches)(plan, limits))
        .ok_or_else(|| Error::unsupported(format!("{}: valid, but no kernel of this library covers it", O::NAME)))
}

pub(super) fn check_workspace<O: Op>(params: &O::Params, plan: &O::Plan, limits: &DeviceLimits) -> Result<Workspace> {
    let workspace = O::workspace(params);
    let need = O::workspace_bytes(plan, limits);
    let absent = workspace.data.is_null() && workspace.bytes == 0;
    if need == 0 || (O::WORKSPACE_OPTIONAL && absent) {
        return Ok(workspace);
    }
    let op = O::NAME;
    if workspace.data.is_null() || workspace.bytes < need {
        return Err(Error::new(
            REFLEX_WORKSPACE_TOO_SMALL,
            format!(
                "{op}: workspace is {:p} with {} bytes, expected {need} bytes (reflex_{op}_workspace_size)",
                workspace.data, workspace.bytes
            ),
        ));
    }
    if !(workspace.data as usize).is_multiple_of(Workspace::ALIGNMENT) {
        return Err(Error::new(
            crate::abi::REFLEX_MISALIGNED,
            format!(
                "{op}: workspace is {:p}, expected a multiple of {}",
                workspace.data,
                Workspace::ALIGNMENT
            ),
        ));
    }
    Ok(workspace)
}

/// A plan whose operands share no memory that they may not share.
fn planned<O: Op>(params: &O::Params) -> Result<O::Plan> {
    let plan = O::plan(params)?;
    operands::<O>(&plan).check()?;
    Ok(plan)
}

fn operands<O: Op>(plan: &O::Plan) -> Operands<'_> {
    let mut operands = Operands::new();
    O::operands(plan, &mut operands);
    operands
}

/// Body of `reflex_<op>`.
pub(crate) fn launch<O: Op>(
    context: *const reflex_context,
    params: *const O::Params,
    stream: reflex_stream,
) -> reflex_status {
    guard(O::NAME, || {
        let context = reflex_context::get(O::NAME, context)?;
        let params = read_params(O::NAME, params)?;
        let plan = O::plan(&params)?;
        let operands = operands::<O>(&plan);
        operands.check()?;
        context.check_stream(O::NAME, stream)?;
        if O::is_empty(&plan) {
            return Ok(());
        }
        operands.check_workspace(O::NAME, &O::workspace(&params))?;
        match &context.backend {
            Backend::Cpu(cpu) => cpu.submit(stream, move |cpu| plan.run(cpu)),
            Backend::Cuda(backend) => {
                let workspace = check_workspace::<O>(&params, &plan, &backend.limits)?;
                let variant = select::<O>(&plan, &backend.limits)?;
                let cuda = Cuda {
                    backend,
                    stream,
                    rehearses: false,
                };
                (variant.launch)(&plan, &cuda, &workspace)
            }
        }
    })
}

/// A launch that is part of another op's, which has looked at what its operands share.
pub(crate) fn run<O: Op>(plan: &O::Plan, cuda: &Cuda, workspace: &Workspace) -> Result<()> {
    match O::is_empty(plan) {
        true => Ok(()),
        false => (select::<O>(plan, cuda.limits())?.launch)(plan, cuda, workspace),
    }
}

/// The variant that would be launched, once all that it does before that has gone well.
fn rehearsed<O: Op>(plan: &O::Plan, backend: &CudaBackend) -> Result<&'static Variant<O::Plan>> {
    let variant = select::<O>(plan, &backend.limits)?;
    let cuda = Cuda {
        backend,
        stream: std::ptr::null_mut(),
        rehearses: true,
    };
    (variant.launch)(plan, &cuda, &Workspace::ANY)?;
    Ok(variant)
}

/// Body of `reflex_<op>_supported`: the launch's own validation and selection, without the launch. The workspace is
/// not looked at, so that it can be asked before one is allocated.
pub(crate) fn supported<O: Op>(context: *const reflex_context, params: *const O::Params) -> reflex_status {
    guard(O::NAME, || {
        let context = reflex_context::get(O::NAME, context)?;
        let plan = planned::<O>(&read_params(O::NAME, params)?)?;
        match &context.backend {
            Backend::Cuda(backend) if !O::is_empty(&plan) => rehearsed::<O>(&plan, backend).map(drop),
            _ => Ok(()),
        }
    })
}

/// Body of `reflex_<op>_selected_kernel`.
pub(crate) fn selected_kernel<O: Op>(
    context: *const reflex_context,
    params: *const O::Params,
    out: *mut *const c_char,
) -> reflex_status {
    guard(O::NAME, || {
        out_pointer(O::NAME, "name", out)?;
        let context = reflex_context::get(O::NAME, context)?;
        let plan = planned::<O>(&read_params(O::NAME, params)?)?;
        let name = match &context.backend {
            _ if O::is_empty(&plan) => c"none",
            Backend::Cpu(_) => c"cpu",
            Backend::Cuda(backend) => rehearsed::<O>(&plan, backend)?.kernel.symbol,
        };
        // SAFETY: checked above.
        unsafe { out.write(name.as_ptr()) };
        Ok(())
    })
}

/// Body of `reflex_<op>_workspace_size`.
pub(crate) fn workspace_size<O: Op>(
    context: *const reflex_context,
    params: *const O::Params,
    out: *mut usize,
) -> reflex_status {
    guard(O::NAME, || {
        out_pointer(O::NAME, "bytes", out)?;
        let context = reflex_context::get(O::NAME, context)?;
        let plan = planned::<O>(&read_params(O::NAME, params)?)?;
        let bytes = match &context.backend {
            Backend::Cuda(backend) if !O::is_empty(&plan) => O::workspace_bytes(&plan, &backend.limits),
            _ => 0,
        };
        // SAFETY: checked above.
        unsafe { out.write(bytes) };
        Ok(())
    })
}

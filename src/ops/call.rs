//! The path of every call, and of the questions about a call, which take the same one.

use super::op::{Op, Reference};
use super::operands::Operands;
use super::schedule::Schedule;
use super::workspace::Workspace;
use crate::abi::{Result, guard, out_pointer, read_params, reflex_status, reflex_stream};
use crate::cuda::{CudaBackend, Device};
use crate::runtime::{Backend, Context, reflex_context};
use std::ffi::c_char;

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
        let context = reflex_context::get(context)?;
        let params = read_params(params)?;
        let plan = O::plan(&params)?;
        let operands = operands::<O>(&plan);
        operands.check()?;
        context.check_stream(stream)?;
        if O::is_empty(&plan) {
            return Ok(());
        }
        operands.check_workspace(&O::workspace(&params))?;
        match &context.backend {
            Backend::Cpu(cpu) => cpu.submit(stream, move |cpu| plan.run(cpu)),
            Backend::Cuda(backend) => {
                let device = Device::of(backend);
                let schedule = Schedule::of::<O>(&plan, device, &context.forced, O::workspace(&params))?;
                schedule.check_workspace(O::NAME)?;
                schedule.run(backend, stream)
            }
        }
    })
}

/// The schedule of a call that is asked about.
fn asked<'a, O: Op>(
    plan: &O::Plan,
    backend: &'a CudaBackend,
    context: &'a Context,
    workspace: Workspace,
) -> Result<Schedule<'a>> {
    let device = Device::described(&backend.limits);
    Schedule::of::<O>(plan, device, &context.forced, workspace)
}

/// Body of `reflex_<op>_supported`: the validation and selection of the launch, without the launch. It does not look at
/// the workspace, so that it can be called before one is allocated.
pub(crate) fn supported<O: Op>(context: *const reflex_context, params: *const O::Params) -> reflex_status {
    guard(O::NAME, || {
        let context = reflex_context::get(context)?;
        let params = read_params(params)?;
        let plan = O::plan(&params)?;
        operands::<O>(&plan).check()?;
        match &context.backend {
            Backend::Cuda(backend) => asked::<O>(&plan, backend, context, O::workspace(&params)).map(drop),
            Backend::Cpu(_) => Ok(()),
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
        out_pointer("name", out)?;
        let context = reflex_context::get(context)?;
        let params = read_params(params)?;
        let plan = O::plan(&params)?;
        operands::<O>(&plan).check()?;
        let name = match &context.backend {
            _ if O::is_empty(&plan) => c"none",
            Backend::Cpu(_) => c"cpu",
            Backend::Cuda(backend) => asked::<O>(&plan, backend, context, O::workspace(&params))?.name(),
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
        out_pointer("bytes", out)?;
        let context = reflex_context::get(context)?;
        let mut params = read_params(params)?;
        O::set_workspace(&mut params, Workspace::ANY);
        let plan = O::plan(&params)?;
        operands::<O>(&plan).check()?;
        let bytes = match &context.backend {
            Backend::Cuda(backend) => asked::<O>(&plan, backend, context, Workspace::ANY)?.workspace_bytes(),
            Backend::Cpu(_) => 0,
        };
        // SAFETY: checked above.
        unsafe { out.write(bytes) };
        Ok(())
    })
}

//! The path of every call, and of the questions about a call, which take the same one.

use super::op::{Op, Reference};
use super::operands::Operands;
use super::schedule::Schedule;
use super::workspace::Workspace;
use crate::abi::{Error, Result, guard, out_pointer, read_params, reflex_status, reflex_stream};
use crate::cuda::Device;
use crate::runtime::{Backend, Context, reflex_context};
use std::ffi::c_char;
use std::mem::MaybeUninit;

/// Validates a call and hands it to `body`. Plans and lists of operands are large: they stay where they are made.
#[inline(always)]
fn checked<O: Op>(params: &O::Params, body: impl FnOnce(&O::Plan, &Operands) -> Result<()>) -> Result<()> {
    let plan = O::plan(params);
    let plan = plan.as_ref().map_err(Error::clone)?;
    let mut operands = Operands::new();
    O::operands(plan, &mut operands);
    operands.check()?;
    body(plan, &operands)
}

/// Body of `reflex_<op>`.
pub(crate) fn launch<O: Op>(
    context: *const reflex_context,
    params: *const O::Params,
    stream: reflex_stream,
) -> reflex_status {
    guard(O::NAME, || {
        let (context, mut room) = (reflex_context::get(context)?, MaybeUninit::uninit());
        let params = read_params(params, &mut room)?;
        checked::<O>(params, |plan, operands| {
            context.check_stream(stream)?;
            if O::is_empty(plan) {
                return Ok(());
            }
            let workspace = O::workspace(params);
            operands.check_workspace(&workspace)?;
            match &context.backend {
                Backend::Cpu(cpu) => {
                    let plan = *plan;
                    cpu.submit(stream, move |cpu| plan.run(cpu))
                }
                Backend::Cuda(backend) => {
                    let mut schedule = Schedule::new(Device::of(backend), &context.forced, workspace);
                    schedule.add::<O>(plan)?;
                    schedule.check_workspace(O::NAME)?;
                    schedule.run(backend, stream)
                }
            }
        })
    })
}

/// Validates a question about a call, makes its schedule, and hands both to `answer`; on the CPU backend there is no schedule.
fn asked<O: Op>(context: &Context, params: &O::Params, answer: impl FnOnce(&O::Plan, Option<&Schedule>)) -> Result<()> {
    checked::<O>(params, |plan, _| {
        match &context.backend {
            Backend::Cpu(_) => answer(plan, None),
            Backend::Cuda(backend) => {
                let (device, workspace) = (Device::described(&backend.limits), O::workspace(params));
                let mut schedule = Schedule::new(device, &context.forced, workspace);
                schedule.add::<O>(plan)?;
                answer(plan, Some(&schedule));
            }
        }
        Ok(())
    })
}

/// Body of `reflex_<op>_supported`: the validation and selection of the launch, without the launch. It does not look at
/// the workspace, so that it can be called before one is allocated.
pub(crate) fn supported<O: Op>(context: *const reflex_context, params: *const O::Params) -> reflex_status {
    guard(O::NAME, || {
        let (context, mut room) = (reflex_context::get(context)?, MaybeUninit::uninit());
        asked::<O>(context, read_params(params, &mut room)?, |_, _| ())
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
        let (context, mut room) = (reflex_context::get(context)?, MaybeUninit::uninit());
        asked::<O>(context, read_params(params, &mut room)?, |plan, schedule| {
            let name = match schedule {
                _ if O::is_empty(plan) => c"none",
                Some(schedule) => schedule.name(),
                None => c"cpu",
            };
            // SAFETY: checked above.
            unsafe { out.write(name.as_ptr()) };
        })
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
        let mut params = *read_params(params, &mut MaybeUninit::uninit())?;
        O::set_workspace(&mut params, Workspace::ANY);
        asked::<O>(context, &params, |_, schedule| {
            let bytes = schedule.map_or(0, Schedule::workspace_bytes);
            // SAFETY: checked above.
            unsafe { out.write(bytes) };
        })
    })
}

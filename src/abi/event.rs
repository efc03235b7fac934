use super::context::{Backend, reflex_context};
use super::error::{Error, Result};
use super::guard::guard;
use super::params::out_pointer;
use super::status::*;
use super::stream::reflex_stream;
use crate::cpu::CpuEvent;
use crate::cuda::CudaEvent;

/// A point in a stream, with its time. Opaque.
pub struct reflex_event {
    pub(crate) event: Event,
}

pub(crate) enum Event {
    Cpu(CpuEvent),
    Cuda(CudaEvent),
}

impl reflex_event {
    fn get<'a>(function: &str, field: &str, event: *const reflex_event) -> Result<&'a reflex_event> {
        // SAFETY: made by `reflex_event_create`, by contract.
        unsafe { event.as_ref() }.ok_or_else(|| Error::invalid(format!("{function}: {field} is NULL")))
    }
}

fn foreign(function: &str) -> Error {
    Error::invalid(format!("{function}: the event belongs to a context of another backend"))
}

/// Makes an event. Destroy it with `reflex_event_destroy`, before its context.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_event_create(context: *const reflex_context, out: *mut *mut reflex_event) -> reflex_status {
    const NAME: &str = "reflex_event_create";
    guard(|| {
        out_pointer(NAME, "out", out)?;
        let event = match &reflex_context::get(NAME, context)?.backend {
            Backend::Cpu(_) => Event::Cpu(CpuEvent::default()),
            Backend::Cuda(cuda) => Event::Cuda(cuda.create_event()?),
        };
        // SAFETY: checked above.
        unsafe { out.write(Box::into_raw(Box::new(reflex_event { event }))) };
        Ok(())
    })
}

/// Destroys an event. NULL is ignored.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_event_destroy(event: *mut reflex_event) {
    guard(|| {
        if !event.is_null() {
            // SAFETY: made by `reflex_event_create`, by contract.
            drop(unsafe { Box::from_raw(event) });
        }
        Ok(())
    });
}

/// Records the event after what is on the stream so far.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_event_record(
    context: *const reflex_context,
    event: *mut reflex_event,
    stream: reflex_stream,
) -> reflex_status {
    const NAME: &str = "reflex_event_record";
    guard(|| {
        let event = reflex_event::get(NAME, "event", event)?;
        match (&reflex_context::get(NAME, context)?.backend, &event.event) {
            (Backend::Cpu(_), Event::Cpu(event)) => event.record(),
            (Backend::Cuda(cuda), Event::Cuda(event)) => cuda.record_event(event, stream),
            _ => Err(foreign(NAME)),
        }
    })
}

/// Waits until the event's point has been reached. An event never recorded is reached.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_event_synchronize(event: *mut reflex_event) -> reflex_status {
    const NAME: &str = "reflex_event_synchronize";
    guard(|| match &reflex_event::get(NAME, "event", event)?.event {
        Event::Cpu(_) => Ok(()),
        Event::Cuda(event) => event.synchronize(),
    })
}

/// Milliseconds from `start` to `end`, both recorded and reached.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_event_elapsed(
    start: *mut reflex_event,
    end: *mut reflex_event,
    milliseconds: *mut f32,
) -> reflex_status {
    const NAME: &str = "reflex_event_elapsed";
    guard(|| {
        out_pointer(NAME, "milliseconds", milliseconds)?;
        let start = reflex_event::get(NAME, "start", start)?;
        let end = reflex_event::get(NAME, "end", end)?;
        let elapsed = match (&start.event, &end.event) {
            (Event::Cpu(start), Event::Cpu(end)) => CpuEvent::elapsed(start, end)?,
            (Event::Cuda(start), Event::Cuda(end)) => CudaEvent::elapsed(start, end)?,
            _ => return Err(foreign(NAME)),
        };
        // SAFETY: checked above.
        unsafe { milliseconds.write(elapsed) };
        Ok(())
    })
}

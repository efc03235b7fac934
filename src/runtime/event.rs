//! Events: points of a stream, and the time between them.

use super::context::{Backend, reflex_context};
use crate::abi::handle::{self, Handle};
use crate::abi::process::{Guarded, OnlyHere};
use crate::abi::{Error, Result, guard, out_pointer, reflex_status, reflex_stream};
use crate::cuda::CudaEvent;
use std::time::Instant;

/// A point in a stream, with its time. The type is opaque.
pub struct reflex_event([u8; 0]);

pub(crate) struct Event {
    /// Number of its context.
    owner: u64,
    last: Guarded<Record>,
    /// `None` on the CPU backend.
    cuda: Option<OnlyHere<CudaEvent>>,
}

/// The last record of an event.
#[derive(Clone, Copy)]
enum Record {
    Never,
    /// Within a capture: no point in time.
    Captured,
    At(Instant),
}

impl Handle for reflex_event {
    const KIND: handle::Kind = handle::EVENT;
    type Body = Event;
}

impl Event {
    fn get<'a>(field: &str, event: *const reflex_event) -> Result<&'a Event> {
        let event = handle::get(field, event)?;
        match &event.cuda {
            Some(cuda) if cuda.is_inherited() => Err(Error::inherited(field)),
            _ => Ok(event),
        }
    }

    fn last(&self) -> Record {
        self.last.with(|last| *last)
    }

    /// When it was recorded, as far as it has a time.
    fn time(&self, field: &str) -> Result<Instant> {
        match self.last() {
            Record::At(time) => Ok(time),
            Record::Never => Err(Error::invalid(format!(
                "{field} was never recorded, expected reflex_event_record first"
            ))),
            Record::Captured => Err(captured(field)),
        }
    }
}

fn captured(field: &str) -> Error {
    Error::invalid(format!(
        "{field} was last recorded on a stream that was being captured, expected one recorded outside of a capture"
    ))
}

/// Makes an event. Destroy it with `reflex_event_destroy`, before its context.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_event_create(context: *const reflex_context, out: *mut *mut reflex_event) -> reflex_status {
    guard("reflex_event_create", || {
        out_pointer("out", out)?;
        let context = reflex_context::get(context)?;
        let event = handle::create(Event {
            owner: context.id,
            last: Guarded::new(Record::Never),
            cuda: match &context.backend {
                Backend::Cpu(_) => None,
                Backend::Cuda(cuda) => Some(OnlyHere::new(cuda.create_event()?)),
            },
        });
        // SAFETY: checked above.
        unsafe { out.write(event) };
        Ok(())
    })
}

/// Destroys an event. NULL is ignored.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_event_destroy(event: *mut reflex_event) {
    guard("reflex_event_destroy", || match event.is_null() {
        true => Ok(()),
        false => handle::take("event", event).map(drop),
    });
}

/// Records the event after what is on the stream so far.
///
/// On a stream that is being captured the event does not become a part of the graph and gets no time:
/// `reflex_event_synchronize` and `reflex_event_elapsed` refuse it until it is recorded outside of a capture.
///
/// Statuses: `REFLEX_INVALID_ARGUMENT`, also for an event of another context; `REFLEX_CUDA_ERROR`.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_event_record(
    context: *const reflex_context,
    event: *mut reflex_event,
    stream: reflex_stream,
) -> reflex_status {
    guard("reflex_event_record", || {
        let context = reflex_context::get(context)?;
        let event = Event::get("event", event)?;
        context.must_own("event", event.owner)?;
        let capturing = context.is_capturing(stream)?;
        if let (Backend::Cuda(cuda), Some(event)) = (&context.backend, &event.cuda) {
            cuda.record_event(event, stream)?;
        }
        let record = match capturing {
            true => Record::Captured,
            false => Record::At(Instant::now()),
        };
        event.last.with(|last| *last = record);
        Ok(())
    })
}

/// Waits until the stream has reached the event's point. For an event that was never recorded it does not wait.
/// An event that was last recorded in a capture gives `REFLEX_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_event_synchronize(event: *mut reflex_event) -> reflex_status {
    guard("reflex_event_synchronize", || {
        let event = Event::get("event", event)?;
        match (event.last(), &event.cuda) {
            (Record::Captured, _) => Err(captured("event")),
            (Record::At(_), Some(cuda)) => cuda.synchronize(),
            _ => Ok(()),
        }
    })
}

/// Sets `*milliseconds` to the time from `start` to `end`, which is negative where `end` came before `start`. Both must
/// have been recorded, and the stream must have reached both.
///
/// The call returns `REFLEX_INVALID_ARGUMENT` when one of them was never recorded or was last recorded in a capture,
/// and when they belong to two contexts. It returns `REFLEX_CUDA_ERROR` (CUDA_ERROR_NOT_READY) when one is not reached
/// yet.
#[unsafe(no_mangle)]
pub extern "C" fn reflex_event_elapsed(
    start: *mut reflex_event,
    end: *mut reflex_event,
    milliseconds: *mut f32,
) -> reflex_status {
    guard("reflex_event_elapsed", || {
        out_pointer("milliseconds", milliseconds)?;
        let start = Event::get("start", start)?;
        let end = Event::get("end", end)?;
        if start.owner != end.owner {
            return Err(Error::invalid(
                "start and end were made through two contexts, expected one",
            ));
        }
        let times = (start.time("start")?, end.time("end")?);
        let elapsed = match (&start.cuda, &end.cuda) {
            (Some(start), Some(end)) => CudaEvent::elapsed(start, end)?,
            _ => milliseconds_between(times.0, times.1),
        };
        // SAFETY: checked above.
        unsafe { milliseconds.write(elapsed) };
        Ok(())
    })
}

fn milliseconds_between(start: Instant, end: Instant) -> f32 {
    match end.checked_duration_since(start) {
        Some(elapsed) => elapsed.as_secs_f32() * 1e3,
        None => start.duration_since(end).as_secs_f32() * -1e3,
    }
}

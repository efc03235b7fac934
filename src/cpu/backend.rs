//! Threads, memory, streams, events and graphs of the CPU backend.

use crate::abi::{Error, REFLEX_INTERNAL, REFLEX_OUT_OF_MEMORY, Result, reflex_stream};
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// One recorded call.
type Job = Arc<dyn Fn(&CpuBackend) + Send + Sync>;

pub(crate) struct CpuBackend {
    pool: rayon::ThreadPool,
    /// Captures under way by stream. The stream is never dereferenced.
    captures: Mutex<HashMap<usize, Vec<Job>>>,
    /// Number of captures under way, so that a call outside any takes no lock.
    capturing: AtomicUsize,
}

/// An address that a recorded call keeps.
#[derive(Clone, Copy)]
struct Address(usize);

impl CpuBackend {
    /// `threads` = 0: one per core.
    pub fn new(threads: usize) -> Result<CpuBackend> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("reflex-cpu-{i}"))
            .build()
            .map_err(|e| Error::new(REFLEX_INTERNAL, format!("reflex_context_create: threads: {e}")))?;
        Ok(CpuBackend {
            pool,
            captures: Mutex::default(),
            capturing: AtomicUsize::new(0),
        })
    }

    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs the job now, or records it when the stream is being captured.
    pub fn submit(&self, stream: reflex_stream, job: impl Fn(&CpuBackend) + Send + Sync + 'static) -> Result<()> {
        if self.capturing.load(Ordering::Acquire) > 0
            && let Some(jobs) = self.captures.lock().unwrap().get_mut(&(stream as usize))
        {
            jobs.push(Arc::new(job));
            return Ok(());
        }
        job(self);
        Ok(())
    }

    /// Calls `body(i)` for every `i` below `count`, in parallel where the whole is worth it. `work` is the rough number
    /// of element operations of one call.
    pub fn for_each(&self, count: usize, work: usize, body: impl Fn(usize) + Send + Sync) {
        /// Below this, waking threads costs more than it saves.
        const WORTH: usize = 1 << 15;
        if count <= 1 || self.threads() == 1 || count.saturating_mul(work) < WORTH {
            return (0..count).for_each(body);
        }
        use rayon::prelude::*;
        let chunk = (WORTH / 4 / work.max(1)).clamp(1, count);
        self.pool
            .install(|| (0..count).into_par_iter().with_min_len(chunk).for_each(body));
    }

    pub fn allocate(&self, bytes: usize) -> Result<*mut c_void> {
        let mut pointer = std::ptr::null_mut();
        // SAFETY: 256 is a power of two and a multiple of the pointer size.
        match unsafe { libc::posix_memalign(&mut pointer, 256, bytes) } {
            0 => Ok(pointer),
            _ => Err(Error::new(
                REFLEX_OUT_OF_MEMORY,
                format!("no host memory for {bytes} bytes"),
            )),
        }
    }

    pub fn free(&self, pointer: *mut c_void) -> Result<()> {
        // SAFETY: from `allocate`, by contract.
        unsafe { libc::free(pointer) };
        Ok(())
    }

    pub fn copy(&self, to: *mut c_void, from: *const c_void, bytes: usize, stream: reflex_stream) -> Result<()> {
        let (to, from) = (Address(to as usize), Address(from as usize));
        self.submit(stream, move |_| {
            let (Address(to), Address(from)) = (to, from);
            // SAFETY: the caller's memory and size. `copy` allows the overlap that the contract forbids.
            unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes) };
        })
    }

    pub fn set(&self, to: *mut c_void, value: u8, bytes: usize, stream: reflex_stream) -> Result<()> {
        let to = Address(to as usize);
        self.submit(stream, move |_| {
            let Address(to) = to;
            // SAFETY: the caller's memory and size.
            unsafe { std::ptr::write_bytes(to as *mut u8, value, bytes) };
        })
    }

    /// A stream is an address that nothing else has.
    pub fn create_stream(&self) -> Result<reflex_stream> {
        self.allocate(1).map(|pointer| pointer.cast())
    }

    pub fn destroy_stream(&self, stream: reflex_stream) -> Result<()> {
        self.free(stream.cast())
    }

    /// Calls finish before they return.
    pub fn synchronize(&self, stream: reflex_stream) -> Result<()> {
        match self.captures.lock().unwrap().contains_key(&(stream as usize)) {
            true => Err(Error::invalid(
                "reflex_stream_synchronize: the stream is being captured, expected reflex_graph_capture_end first",
            )),
            false => Ok(()),
        }
    }

    pub fn begin_capture(&self, stream: reflex_stream) -> Result<()> {
        let mut captures = self.captures.lock().unwrap();
        if captures.contains_key(&(stream as usize)) {
            return Err(Error::invalid(
                "reflex_graph_capture_begin: the stream is being captured already",
            ));
        }
        captures.insert(stream as usize, Vec::new());
        self.capturing.store(captures.len(), Ordering::Release);
        Ok(())
    }

    pub fn end_capture(&self, stream: reflex_stream) -> Result<CpuGraph> {
        let mut captures = self.captures.lock().unwrap();
        let jobs = captures.remove(&(stream as usize));
        self.capturing.store(captures.len(), Ordering::Release);
        jobs.map(|jobs| CpuGraph { jobs })
            .ok_or_else(|| Error::invalid("reflex_graph_capture_end: the stream is not being captured"))
    }

    pub fn launch_graph(&self, graph: &CpuGraph, stream: reflex_stream) -> Result<()> {
        let jobs = graph.jobs.clone();
        self.submit(stream, move |cpu| jobs.iter().for_each(|job| job(cpu)))
    }
}

pub(crate) struct CpuGraph {
    jobs: Vec<Job>,
}

impl CpuGraph {
    pub fn node_count(&self) -> usize {
        self.jobs.len()
    }
}

/// The moment of the last record.
#[derive(Default)]
pub(crate) struct CpuEvent {
    at: Mutex<Option<Instant>>,
}

impl CpuEvent {
    pub fn record(&self) -> Result<()> {
        *self.at.lock().unwrap() = Some(Instant::now());
        Ok(())
    }

    pub fn elapsed(start: &CpuEvent, end: &CpuEvent) -> Result<f32> {
        let (start, end) = (*start.at.lock().unwrap(), *end.at.lock().unwrap());
        match (start, end) {
            (Some(start), Some(end)) => Ok((end - start).as_secs_f32() * 1e3),
            _ => Err(Error::invalid("reflex_event_elapsed: an event was never recorded")),
        }
    }
}

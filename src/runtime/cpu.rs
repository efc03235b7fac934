//! Threads, memory, streams and graphs of the CPU backend.

use crate::abi::process::{self, Guarded, PerProcess};
use crate::abi::thread::Thread;
use crate::abi::{Error, REFLEX_INTERNAL, REFLEX_OUT_OF_MEMORY, Result, reflex_stream};
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ThreadId};

/// One recorded call.
type Job = Arc<dyn Fn(&CpuBackend) + Send + Sync>;

pub(crate) struct CpuBackend {
    threads: usize,
    /// A child process has no thread of its parent's pool.
    pool: PerProcess<rayon::ThreadPool>,
}

/// Captures under way by stream, of all contexts, as a capture is the stream's. The stream is never dereferenced.
static CAPTURES: Guarded<BTreeMap<usize, Capture>> = Guarded::new(BTreeMap::new());

/// Number of captures under way, so that a call outside any takes no lock.
static CAPTURING: AtomicUsize = AtomicUsize::new(0);

struct Capture {
    /// Who began it, and alone can end it, as on CUDA.
    thread: ThreadId,
    jobs: Vec<Job>,
}

fn captures<R>(body: impl FnOnce(&mut BTreeMap<usize, Capture>) -> R) -> R {
    CAPTURES.with(|captures| {
        let result = body(captures);
        CAPTURING.store(captures.len(), Ordering::Release);
        result
    })
}

/// An address that a recorded call keeps.
#[derive(Clone, Copy)]
struct Address(usize);

impl CpuBackend {
    /// `threads` = 0: one per core.
    pub fn new(threads: usize) -> Result<CpuBackend> {
        let pool = new_pool(threads).map_err(|e| Error::new(REFLEX_INTERNAL, format!("threads: {e}")))?;
        Ok(CpuBackend {
            threads: pool.current_num_threads(),
            pool: PerProcess::new(pool),
        })
    }

    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs the job now, or records it when the stream is being captured.
    pub fn submit(&self, stream: reflex_stream, job: impl Fn(&CpuBackend) + Send + Sync + 'static) -> Result<()> {
        if CAPTURING.load(Ordering::Acquire) == 0 {
            job(self);
            return Ok(());
        }
        let job: Job = Arc::new(job);
        let recorded = captures(|captures| match captures.get_mut(&(stream as usize)) {
            Some(capture) => {
                capture.jobs.push(job.clone());
                true
            }
            None => false,
        });
        if !recorded {
            job(self);
        }
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
        // Only a child process makes threads here. Where it may not have any it does the work by itself.
        let Ok(pool) = self.pool.get_or_try_make(|| new_pool(self.threads)) else {
            return (0..count).for_each(body);
        };
        use rayon::prelude::*;
        let chunk = (WORTH / 4 / work.max(1)).clamp(1, count);
        pool.install(|| (0..count).into_par_iter().with_min_len(chunk).for_each(body));
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

    /// A stream is a number that no address of a program has and no other stream ever had: it is told from CUDA's, and one
    /// that was destroyed does not come back.
    pub fn create_stream() -> reflex_stream {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed) << 8;
        std::ptr::without_provenance_mut(STREAMS | (number & !STREAMS))
    }

    /// Whether `create_stream` gave it.
    pub fn is_stream(stream: reflex_stream) -> bool {
        let value = stream as usize;
        value & STREAMS == STREAMS && value & 0xff == 0
    }

    pub fn is_capturing(stream: reflex_stream) -> bool {
        CAPTURING.load(Ordering::Acquire) > 0 && captures(|captures| captures.contains_key(&(stream as usize)))
    }

    pub fn begin_capture(&self, stream: reflex_stream) -> Result<()> {
        let capture = Capture {
            thread: thread::current().id(),
            jobs: Vec::new(),
        };
        let before = captures(|captures| match captures.contains_key(&(stream as usize)) {
            true => Some(capture),
            false => captures.insert(stream as usize, capture),
        });
        match before {
            None => Ok(()),
            Some(_) => Err(Error::invalid("another thread began to capture the stream meanwhile")),
        }
    }

    pub fn end_capture(&self, stream: reflex_stream) -> Result<CpuGraph> {
        let key = stream as usize;
        let here = thread::current().id();
        let ended = captures(
            |captures| match captures.get(&key).map(|capture| capture.thread == here) {
                Some(true) => Ok(captures.remove(&key)),
                Some(false) => Err(()),
                None => Ok(None),
            },
        );
        match ended {
            Ok(Some(capture)) => Ok(CpuGraph { jobs: capture.jobs }),
            Ok(None) => Err(Error::invalid("the stream is not being captured")),
            Err(()) => Err(Error::wrong_thread()),
        }
    }

    /// The stream is no more.
    pub fn drop_capture(stream: usize) {
        let capture = captures(|captures| captures.remove(&stream));
        drop(capture);
    }
}

/// Bits 48 to 63, set in no address of a program on x86-64 and AArch64.
const STREAMS: usize = 0xffff << 48;

fn new_pool(threads: usize) -> std::result::Result<rayon::ThreadPool, rayon::ThreadPoolBuildError> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .spawn_handler(|thread| Thread::spawn(c"reflex-cpu", move || thread.run()).map(drop));
    // The first job of the first pool also sets up what all pools share: no child may inherit the half of it.
    process::without_fork(|| pool.build().inspect(|pool| pool.install(|| ())))
}

pub(crate) struct CpuGraph {
    jobs: Vec<Job>,
}

impl CpuGraph {
    pub fn launch(&self, cpu: &CpuBackend) {
        self.jobs.iter().for_each(|job| job(cpu));
    }

    pub fn node_count(&self) -> usize {
        self.jobs.len()
    }
}

//! Which process this is. After `fork` the child has the parent's memory and one thread alone: a lock that another thread
//! held stays locked for ever, and the threads of a pool are gone. Here is what the library keeps such things in.

use std::cell::UnsafeCell;
use std::ops::Deref;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// How many forks lie between the process that loaded the library and this one.
static FORKS: AtomicU64 = AtomicU64::new(0);

/// The one lock of the crate that a child may need: `fork` takes it, so that no other thread holds it at that moment.
static GATE: Mutex<()> = Mutex::new(());

/// The gate's guard while `fork` is under way.
static HELD: Held = Held(UnsafeCell::new(None));

struct Held(UnsafeCell<Option<MutexGuard<'static, ()>>>);

// SAFETY: only the thread that holds the gate touches it.
unsafe impl Sync for Held {}

fn lock() -> MutexGuard<'static, ()> {
    // What is done under the gate is one step on a map: a panic leaves nothing half done.
    GATE.lock().unwrap_or_else(PoisonError::into_inner)
}

unsafe extern "C" fn before_fork() {
    let guard = lock();
    // SAFETY: this thread holds the gate.
    unsafe { *HELD.0.get() = Some(guard) };
}

unsafe extern "C" fn after_fork_in_parent() {
    // SAFETY: this thread holds the gate. The guard is out of its place before it opens the gate.
    drop(unsafe { (*HELD.0.get()).take() });
}

unsafe extern "C" fn after_fork_in_child() {
    FORKS.fetch_add(1, Ordering::AcqRel);
    // The thread that was about to say so may not live here.
    REGISTRAR.store(REGISTERED, Ordering::Release);
    // SAFETY: the thread is the one that forked, which holds the gate.
    unsafe { after_fork_in_parent() };
}

/// The process whose thread is registering the handlers, 0 for none yet, or `REGISTERED`.
static REGISTRAR: AtomicI32 = AtomicI32::new(0);
const REGISTERED: i32 = -1;

fn register() {
    while REGISTRAR.load(Ordering::Acquire) != REGISTERED {
        // SAFETY: has no preconditions.
        let me = unsafe { libc::getpid() };
        let seen = REGISTRAR.load(Ordering::Acquire);
        if seen == REGISTERED || seen == me {
            std::thread::yield_now();
            continue;
        }
        // Nobody, or a thread of the parent that does not live here. Had its handlers been in place, they would have told.
        if REGISTRAR
            .compare_exchange(seen, me, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
        {
            // SAFETY: the handlers take and open a lock. An error (no memory) leaves forks unseen, as before.
            unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork_in_parent), Some(after_fork_in_child)) };
            REGISTRAR.store(REGISTERED, Ordering::Release);
        }
    }
}

/// Tells this process from its parents: what was made under another number was inherited.
pub(crate) fn number() -> u64 {
    register();
    FORKS.load(Ordering::Acquire)
}

/// Runs `body` while no thread can fork. It must not fork, wait for a thread that may, or use a `Guarded`.
pub(crate) fn without_fork<R>(body: impl FnOnce() -> R) -> R {
    register();
    let _gate = lock();
    body()
}

/// `cell.get_or_init(make)`, of which no child inherits the half: it would wait for a thread that it does not have.
/// The rules for `make` are those of `without_fork`.
pub(crate) fn once<T>(cell: &'static OnceLock<T>, make: impl FnOnce() -> T) -> &'static T {
    match cell.get() {
        Some(value) => value,
        None => without_fork(|| cell.get_or_init(make)),
    }
}

/// A value behind the gate. Use it for a step or two at a time, as all such values share one lock.
#[derive(Default)]
pub(crate) struct Guarded<T>(UnsafeCell<T>);

// SAFETY: the gate lets one thread at a time to the value.
unsafe impl<T: Send> Sync for Guarded<T> {}

impl<T> Guarded<T> {
    pub const fn new(value: T) -> Guarded<T> {
        Guarded(UnsafeCell::new(value))
    }

    /// The rules for `body` are those of `without_fork`.
    pub fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the gate is held, and a `body` that came here again would wait for ever instead of getting the value twice.
        without_fork(|| body(unsafe { &mut *self.0.get() }))
    }
}

/// A value that each process makes for itself: one with threads of its own, for example. What a child inherits is left
/// alone, as a lock in it may be held for ever.
pub(crate) struct PerProcess<T>(AtomicPtr<Made<T>>);

struct Made<T> {
    process: u64,
    value: T,
}

// SAFETY: the values go from thread to thread and are shared by them.
unsafe impl<T: Send + Sync> Send for PerProcess<T> {}
unsafe impl<T: Send + Sync> Sync for PerProcess<T> {}

impl<T> PerProcess<T> {
    pub fn new(value: T) -> PerProcess<T> {
        PerProcess(AtomicPtr::new(Self::boxed(value)))
    }

    fn boxed(value: T) -> *mut Made<T> {
        Box::into_raw(Box::new(Made {
            process: number(),
            value,
        }))
    }

    /// `None` in a child that has not made its own.
    pub fn get(&self) -> Option<&T> {
        // SAFETY: from `boxed`; a value that was replaced is never freed.
        let made = unsafe { &*self.0.load(Ordering::Acquire) };
        (made.process == number()).then_some(&made.value)
    }

    /// Of two threads that come at the same time both may `make`, and one value is dropped again.
    pub fn get_or_try_make<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        let inherited = self.0.load(Ordering::Acquire);
        if let Some(value) = self.get() {
            return Ok(value);
        }
        let own = Self::boxed(make()?);
        let first = match self
            .0
            .compare_exchange(inherited, own, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => own,
            Err(other) => {
                // SAFETY: nobody else has seen it.
                drop(unsafe { Box::from_raw(own) });
                other
            }
        };
        // SAFETY: from `boxed` of a thread of this process, and kept until `drop`.
        Ok(unsafe { &(*first).value })
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        if self.get().is_some() {
            // SAFETY: from `boxed`, and nobody has it any more.
            drop(unsafe { Box::from_raw(*self.0.get_mut()) });
        }
    }
}

/// Something that is only there in the process that made it: a child drops it by forgetting it.
pub(crate) struct OnlyHere<T> {
    process: u64,
    value: std::mem::ManuallyDrop<T>,
}

impl<T> OnlyHere<T> {
    pub fn new(value: T) -> OnlyHere<T> {
        OnlyHere {
            process: number(),
            value: std::mem::ManuallyDrop::new(value),
        }
    }

    pub fn is_inherited(&self) -> bool {
        self.process != number()
    }
}

impl<T> Deref for OnlyHere<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Drop for OnlyHere<T> {
    fn drop(&mut self) {
        if !self.is_inherited() {
            // SAFETY: dropped once, here.
            unsafe { std::mem::ManuallyDrop::drop(&mut self.value) };
        }
    }
}

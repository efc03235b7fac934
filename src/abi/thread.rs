//! Threads of the library. The standard library takes a lock of its own at the beginning and the end of each of its
//! threads, which a child process may find held for ever; the system's call takes none that `fork` does not open again.

use std::io;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// As much as the standard library gives.
const STACK: usize = 2 << 20;

/// A thread, which goes on by itself when this is dropped.
pub(crate) struct Thread(libc::pthread_t);

type Body = Box<dyn FnOnce() + Send>;

extern "C" fn run(body: *mut libc::c_void) -> *mut libc::c_void {
    // SAFETY: from `spawn`, which gave it away.
    let body = unsafe { Box::from_raw(body.cast::<Body>()) };
    // Nobody asks how it ended.
    let _ = catch_unwind(AssertUnwindSafe(body));
    std::ptr::null_mut()
}

impl Thread {
    /// `name` has at most 15 bytes, as the system allows, and no zero.
    pub fn spawn(name: &'static std::ffi::CStr, body: impl FnOnce() + Send + 'static) -> io::Result<Thread> {
        let named = move || {
            // SAFETY: this thread and a zero-terminated name. Without it the thread works as well.
            unsafe { libc::pthread_setname_np(libc::pthread_self(), name.as_ptr()) };
            body();
        };
        let body: *mut Body = Box::into_raw(Box::new(Box::new(named)));
        let mut attributes = MaybeUninit::uninit();
        let mut thread = MaybeUninit::uninit();
        // SAFETY: the attributes are initialised before they are used, and `run` takes what it is given.
        let code = unsafe {
            match libc::pthread_attr_init(attributes.as_mut_ptr()) {
                0 => {
                    libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), STACK);
                    let code = libc::pthread_create(thread.as_mut_ptr(), attributes.as_ptr(), run, body.cast());
                    libc::pthread_attr_destroy(attributes.as_mut_ptr());
                    code
                }
                code => code,
            }
        };
        if code != 0 {
            // SAFETY: no thread has it.
            drop(unsafe { Box::from_raw(body) });
            return Err(io::Error::from_raw_os_error(code));
        }
        // SAFETY: written by `pthread_create`.
        Ok(Thread(unsafe { thread.assume_init() }))
    }

    pub fn join(self) {
        let thread = std::mem::ManuallyDrop::new(self);
        // SAFETY: neither joined nor detached before.
        unsafe { libc::pthread_join(thread.0, std::ptr::null_mut()) };
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // SAFETY: neither joined nor detached before.
        unsafe { libc::pthread_detach(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_thread_runs_and_is_waited_for() {
        let (send, receive) = channel();
        let thread = Thread::spawn(c"reflex-test", move || {
            let name = std::fs::read_to_string("/proc/thread-self/comm").unwrap();
            send.send(name).unwrap();
        });
        thread.unwrap().join();
        assert_eq!(receive.recv().unwrap(), "reflex-test\n");
    }

    #[test]
    fn a_panic_ends_the_thread_alone() {
        let (send, receive) = channel::<()>();
        drop(Thread::spawn(c"reflex-test", move || {
            let _send = send;
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(receive.recv().is_err());
    }
}

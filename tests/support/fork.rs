//! Child processes that go on with what their parent made.

use super::suite::message_of;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A call that hangs ends the child, and with it the test.
const SECONDS: u32 = 120;

/// Runs `body` in a child of this thread; what it panics with, the caller panics with.
#[track_caller]
pub fn in_a_child(body: impl FnOnce()) {
    let mut ends = [0; 2];
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    let [read, write] = ends;
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        unsafe { libc::alarm(SECONDS) };
        let code = match catch_unwind(AssertUnwindSafe(body)) {
            Ok(()) => 0,
            Err(payload) => {
                let mut file = unsafe { std::fs::File::from_raw_fd(write) };
                let _ = file.write_all(message_of(payload).as_bytes());
                1
            }
        };
        // Nothing of the parent's is run or flushed at the end.
        unsafe { libc::_exit(code) };
    }
    unsafe { libc::close(write) };
    let mut said = String::new();
    let mut file = unsafe { std::fs::File::from_raw_fd(read) };
    file.read_to_string(&mut said).expect("what the child says");
    let mut status = 0;
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    let hung = libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGALRM;
    assert!(!hung, "the child hung for {SECONDS} s");
    assert!(status == 0, "the child ended with status {status:#x}: {said}");
}

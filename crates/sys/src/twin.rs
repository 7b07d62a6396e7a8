//! This process in, a second one that goes on with a copy of its memory and files out.
//!
//! Source: fork(2), prctl(2) `PR_SET_PDEATHSIG`. Invariant: only a process with one thread is copied, since what another one has
//! locked would stay locked in the copy for ever; and the copy ends when its maker does.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::process::ExitStatus;

/// A copy that has not been waited for.
#[derive(Debug)]
#[must_use = "it is left behind as a zombie unless it is waited for"]
pub struct Twin {
    pid: libc::pid_t,
}

/// As a Rust program ends that panics.
const PANICKED: u8 = 101;

/// Does `work` in a copy of this process, which ends with it; the exit code is what it returns. Here `work` is dropped.
pub fn twin(work: impl FnOnce() -> u8) -> io::Result<Twin> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other(format!("a process with {threads} threads cannot be copied")));
    }
    // SAFETY: takes nothing and answers with a number.
    let maker = unsafe { libc::getpid() };
    // SAFETY: no other thread holds a lock that its absence in the copy would leave closed.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: takes numbers only.
            let is_bound =
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0 && libc::getppid() == maker };
            // Unwinding would end in what the maker does after this.
            let work = || if is_bound { work() } else { PANICKED };
            std::process::exit(catch_unwind(AssertUnwindSafe(work)).unwrap_or(PANICKED).into())
        }
        pid => Ok(Twin { pid }),
    }
}

impl Twin {
    /// Its number, seen from here.
    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Waits for its end.
    pub fn wait(self) -> io::Result<ExitStatus> {
        let mut status = 0;
        loop {
            // SAFETY: `status` is a valid place; the pid is our own child that nobody has waited for: `self` is taken by value.
            match unsafe { libc::waitpid(self.pid, &raw mut status, 0) } {
                pid if pid == self.pid => return Ok(ExitStatus::from_raw(status)),
                _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                _ => return Err(io::Error::last_os_error()),
            }
        }
    }
}

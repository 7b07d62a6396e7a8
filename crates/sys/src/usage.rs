//! A child process in, what it took of processor and memory out, once it has ended.
//!
//! Invariant: the figures are those of that child and the children it waited for, never of others. Source: wait4(2), getrusage(2).

#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::Duration;

/// What a process took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// On all processors, in the program and in the kernel.
    pub cpu: Duration,
    /// The most that was in memory at once. A child starts with what its parent has, so small parents measure well.
    pub peak_bytes: u64,
}

/// Waits for the end of `child`, whose output nobody reads any more.
pub fn wait(child: Child) -> io::Result<(ExitStatus, Usage)> {
    let pid = libc::pid_t::try_from(child.id()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: it is a plain structure of numbers, for which zeros are valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let mut status = 0;
    loop {
        // SAFETY: both pointers are to live variables of the types that the call writes. The child is ours and nobody has
        // waited for it: `Child` is taken by value, and dropping it does not wait.
        if unsafe { libc::wait4(pid, &mut status, 0, &mut usage) } == pid {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    let cpu = time(usage.ru_utime) + time(usage.ru_stime);
    let peak_bytes = u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024;
    Ok((ExitStatus::from_raw(status), Usage { cpu, peak_bytes }))
}

fn time(value: libc::timeval) -> Duration {
    let number = |value: i64| u64::try_from(value).unwrap_or(0);
    Duration::from_secs(number(value.tv_sec)) + Duration::from_micros(number(value.tv_usec))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn usage(script: &str) -> (ExitStatus, Usage) {
        wait(Command::new("sh").args(["-c", script]).spawn().expect("started")).expect("waited")
    }

    #[test]
    fn a_child_is_told_from_another_that_takes_more() {
        let (status, idle) = usage("exit 3");
        assert_eq!(status.code(), Some(3));
        let (status, busy) =
            usage("i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done; x=$(head -c 64000000 /dev/zero | tr '\\0' x)");
        assert!(status.success());
        assert!(busy.cpu > idle.cpu, "{busy:?} {idle:?}");
        assert!(busy.peak_bytes > idle.peak_bytes + (32 << 20), "{busy:?} {idle:?}");
    }
}

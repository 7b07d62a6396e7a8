//! Starts a process as another user, in a session and control group of its own, without a way to new privileges.
//!
//! Invariant: between fork and exec only system calls are made: no allocation, no lock.
#![allow(unsafe_code)]

use crate::answer::check;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// What a started process may be.
pub struct Credentials {
    pub uid: u32,
    pub gid: u32,
}

/// Where its input comes from.
pub enum Input {
    Null,
    /// This device becomes all three standard descriptors and the controlling terminal.
    Terminal(String),
}

/// Sets the rest of `command` up and starts it; `group` is the `cgroup.procs` file it enters first.
pub fn spawn(mut command: Command, credentials: &Credentials, input: Input, group: Option<&File>) -> io::Result<Child> {
    let terminal = match input {
        Input::Null => {
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            None
        }
        Input::Terminal(path) => {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            Some(CString::new(path)?)
        }
    };
    let (uid, gid) = (credentials.uid, credentials.gid);
    let group = group.map(|file| file.as_raw_fd());
    // SAFETY: the closure makes system calls only, on values made before the fork.
    unsafe {
        command.pre_exec(move || prepare(uid, gid, terminal.as_deref(), group));
    }
    command.spawn()
}

fn prepare(uid: u32, gid: u32, terminal: Option<&std::ffi::CStr>, group: Option<RawFd>) -> io::Result<()> {
    // SAFETY: system calls on plain numbers and on a C string and a signal set that outlive the call.
    unsafe {
        // The caller reads its signals from a descriptor; a service must not inherit that they are blocked.
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        check(libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut()))?;
        if let Some(group) = group {
            // "0" names the writer itself.
            check_size(libc::write(group, c"0".as_ptr().cast(), 1))?;
        }
        check(libc::setsid())?;
        if let Some(path) = terminal {
            let descriptor = libc::open(path.as_ptr(), libc::O_RDWR);
            check(descriptor)?;
            // Takes the terminal over from a session that has died without giving it back.
            check(libc::ioctl(descriptor, libc::TIOCSCTTY, 1))?;
            for standard in 0..3 {
                check(libc::dup2(descriptor, standard))?;
            }
            if descriptor > 2 {
                libc::close(descriptor);
            }
        }
        // The user owns the terminal it sits at, or its programs could not open /dev/tty again.
        if terminal.is_some() && uid != 0 {
            check(libc::fchown(0, uid, gid))?;
        }
        libc::umask(0o022);
        check(libc::setgroups(0, std::ptr::null()))?;
        check(libc::setresgid(gid, gid, gid))?;
        check(libc::setresuid(uid, uid, uid))?;
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    }
}

fn check_size(answer: libc::ssize_t) -> io::Result<()> {
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

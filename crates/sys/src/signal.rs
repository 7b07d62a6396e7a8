//! Signals as something to read: blocked for every thread, taken from a descriptor.
//!
//! Invariant: who blocks signals here unblocks them in its children, as `service::spawn` does.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

pub const CHILD: i32 = libc::SIGCHLD;
pub const TERMINATE: i32 = libc::SIGTERM;
pub const INTERRUPT: i32 = libc::SIGINT;
/// What busybox and others send to PID 1 to have the machine switched off.
pub const POWER_OFF: i32 = libc::SIGUSR2;

/// A descriptor that is readable while one of its signals waits.
pub struct Signals {
    descriptor: OwnedFd,
}

impl Signals {
    /// Blocks `signals` for this thread and those it starts from now on: call it before any other starts.
    pub fn block(signals: &[i32]) -> io::Result<Self> {
        // SAFETY: an all-zero sigset_t is valid memory for sigemptyset to fill; the calls get valid pointers
        // only, and the descriptor is new and owned by nobody else.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            for signal in signals {
                libc::sigaddset(&mut set, *signal);
            }
            let error = libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            if error != 0 {
                return Err(io::Error::from_raw_os_error(error));
            }
            let descriptor = libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if descriptor < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Signals { descriptor: OwnedFd::from_raw_fd(descriptor) })
        }
    }

    /// The next waiting signal, if any.
    pub fn take(&self) -> io::Result<Option<i32>> {
        let mut record = [0u8; size_of::<libc::signalfd_siginfo>()];
        match rustix::io::read(&self.descriptor, &mut record) {
            Ok(_) => Ok(Some(i32::from_ne_bytes([record[0], record[1], record[2], record[3]]))),
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_signal_is_read_instead_of_delivered() {
        let signals = Signals::block(&[POWER_OFF]).expect("any process may");
        assert_eq!(signals.take().expect("readable"), None);
        // SAFETY: raises a blocked signal in this thread.
        unsafe { libc::pthread_kill(libc::pthread_self(), POWER_OFF) };
        assert_eq!(signals.take().expect("readable"), Some(POWER_OFF));
        assert_eq!(signals.take().expect("readable"), None);
    }
}

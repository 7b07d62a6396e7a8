//! The hardware watchdog: opened, given its patience, fed, and handed over an exec.
//!
//! Invariant: it is never disarmed: whatever happens after this, the machine is reset or fed. So a descriptor that
//! was once open stays open, whatever the device refuses.
#![allow(unsafe_code)]

use crate::answer::check;
use rustix::fs::fstat;
use std::fs::File;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// `_IOWR('W', 6, int)`.
const WDIOC_SETTIMEOUT: u64 = 0xc004_5706;
/// `_IOR('W', 7, int)`.
const WDIOC_GETTIMEOUT: u64 = 0x8004_5707;

/// Two feedings may fail or be late before it resets the machine.
const FEEDINGS_PER_TIMEOUT: u32 = 3;
const LONGEST_INTERVAL: Duration = Duration::from_secs(5);
/// For a device that does not tell its patience: few have less than three times this.
const CAUTIOUS_INTERVAL: Duration = Duration::from_secs(1);

pub struct Watchdog {
    /// Never closed: some drivers take that for a wish to be disarmed.
    device: ManuallyDrop<File>,
    /// Seconds without food after which it resets the machine, as the device has it; none: it does not tell.
    pub timeout_seconds: Option<u32>,
}

impl Watchdog {
    /// Opening arms it; that alone can fail. A device that keeps a patience of its own is fed by that.
    pub fn arm(path: &str, timeout_seconds: u32) -> io::Result<Self> {
        let device = File::options().write(true).open(path)?;
        let timeout_seconds = patience(ask_for(&device, timeout_seconds), || current(&device));
        Ok(Watchdog::new(device, timeout_seconds))
    }

    fn new(device: File, timeout_seconds: Option<u32>) -> Self {
        Watchdog { device: ManuallyDrop::new(device), timeout_seconds }
    }

    /// Takes over what [`Watchdog::hand_over`] left open before the exec; an error when `number` is not open, or
    /// is another device than `path`.
    pub fn inherit(number: RawFd, path: &str) -> io::Result<Self> {
        let device = File::from(duplicate(number)?);
        if fstat(&device)?.st_rdev != std::fs::metadata(path)?.rdev() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the descriptor {number} is another file"),
            ));
        }
        // Services must not have it: the original stays open, and ends with the next exec.
        close_on_exec(number, true)?;
        let timeout_seconds = patience(current(&device), || Err(io::ErrorKind::Unsupported.into()));
        Ok(Watchdog::new(device, timeout_seconds))
    }

    /// Leaves the descriptor open for the program that is executed next, which must [`Watchdog::inherit`] it.
    pub fn hand_over(self) -> io::Result<RawFd> {
        let number = self.device.as_raw_fd();
        close_on_exec(number, false)?;
        Ok(number)
    }

    pub fn feed(&mut self) -> io::Result<()> {
        self.device.write_all(b"\0")
    }

    /// How long to wait between two feedings.
    pub fn interval(&self) -> Duration {
        match self.timeout_seconds {
            Some(seconds) => (Duration::from_secs(seconds.into()) / FEEDINGS_PER_TIMEOUT).min(LONGEST_INTERVAL),
            None => CAUTIOUS_INTERVAL,
        }
    }
}

/// What the device answered to a wish, or else what it says it has. A timeout of 0 is how drivers say "unknown".
fn patience(answer: io::Result<libc::c_int>, current: impl FnOnce() -> io::Result<libc::c_int>) -> Option<u32> {
    let seconds = answer.or_else(|_| current()).ok()?;
    u32::try_from(seconds).ok().filter(|seconds| *seconds > 0)
}

fn ask_for(device: &File, timeout_seconds: u32) -> io::Result<libc::c_int> {
    let seconds = libc::c_int::try_from(timeout_seconds).map_err(|_| io::ErrorKind::InvalidInput)?;
    exchange(device, WDIOC_SETTIMEOUT, seconds)
}

fn current(device: &File) -> io::Result<libc::c_int> {
    exchange(device, WDIOC_GETTIMEOUT, 0)
}

fn exchange(device: &File, request: u64, mut value: libc::c_int) -> io::Result<libc::c_int> {
    // SAFETY: the kernel reads or writes one int where the pointer shows.
    check(unsafe { libc::ioctl(device.as_raw_fd(), request, &mut value) })?;
    Ok(value)
}

/// A descriptor of our own for what `number` is; whoever owns `number` keeps it.
fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: a system call on plain numbers; what it gives back is new and owned by nobody else.
    unsafe {
        let copy = libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3);
        check(copy)?;
        Ok(OwnedFd::from_raw_fd(copy))
    }
}

fn close_on_exec(number: RawFd, close: bool) -> io::Result<()> {
    let flags = if close { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: a system call on plain numbers that changes no memory.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, flags) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// A device that can be written and refuses every request, as drivers may that have one fixed patience.
    const REFUSES: &str = "/dev/null";

    #[test]
    fn a_device_that_refuses_its_timeout_stays_open_and_is_fed() {
        let mut watchdog = Watchdog::arm(REFUSES, 30).expect("it could be opened, so it may be armed");
        assert_eq!((watchdog.timeout_seconds, watchdog.interval()), (None, Duration::from_secs(1)));
        watchdog.feed().expect("it takes what is written");
    }

    #[test]
    fn nobody_closes_it_by_letting_go_of_it() {
        let let_go = |watchdog: Watchdog| watchdog.device.as_raw_fd();
        let number = Watchdog::arm(REFUSES, 30).map(let_go).expect("opened");
        assert!(Watchdog::inherit(number, REFUSES).is_ok());
    }

    #[test]
    fn the_patience_is_the_one_that_the_device_has() {
        let refused = || Err(io::ErrorKind::Unsupported.into());
        assert_eq!(patience(Ok(31), || panic!("it was told")), Some(31));
        assert_eq!(patience(refused(), || Ok(16)), Some(16));
        for unknown in [0, -1] {
            assert_eq!(patience(refused(), || Ok(unknown)), None);
        }
        assert_eq!(patience(refused(), refused), None);
    }

    #[test]
    fn it_is_fed_three_times_within_its_patience() {
        for (timeout_seconds, milliseconds) in [(60, 5000), (30, 5000), (9, 3000), (2, 666)] {
            let device = File::options().write(true).open(REFUSES).expect("it is always there");
            let watchdog = Watchdog::new(device, Some(timeout_seconds));
            assert_eq!(watchdog.interval().as_millis(), milliseconds);
        }
    }

    /// Whether a program that is started now has the descriptor.
    #[allow(clippy::disallowed_methods)]
    fn survives_exec(number: RawFd) -> bool {
        let probe = format!("test -e /proc/self/fd/{number}");
        Command::new("/bin/sh").args(["-c", &probe]).status().expect("a shell").success()
    }

    #[test]
    fn it_is_handed_over_one_exec_and_no_further() {
        let watchdog = Watchdog::arm(REFUSES, 30).expect("opened");
        assert!(!survives_exec(watchdog.device.as_raw_fd()));
        let number = watchdog.hand_over().expect("an open descriptor");
        assert!(survives_exec(number));
        let mut inherited = Watchdog::inherit(number, REFUSES).expect("it is that device");
        inherited.feed().expect("it is open");
        assert!(!survives_exec(number) && !survives_exec(inherited.device.as_raw_fd()));
    }

    #[test]
    fn only_the_device_itself_is_taken_over() {
        let other = File::options().write(true).open("/dev/full").expect("it is always there");
        assert!(Watchdog::inherit(other.as_raw_fd(), REFUSES).is_err());
        assert!(Watchdog::inherit(RawFd::MAX, REFUSES).is_err());
    }
}

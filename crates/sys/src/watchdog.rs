//! The hardware watchdog: set its patience, feed it.
//!
//! Invariant: it is never disarmed: whatever happens after this, the machine is reset or fed.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;

/// `_IOWR('W', 6, int)`.
const WDIOC_SETTIMEOUT: u64 = 0xc004_5706;

pub struct Watchdog {
    device: File,
    /// Seconds without food after which it resets the machine, as the driver rounded them.
    pub timeout_seconds: u32,
}

impl Watchdog {
    /// Opening arms it.
    pub fn arm(path: &str, timeout_seconds: u32) -> io::Result<Self> {
        let device = File::options().write(true).open(path)?;
        let mut seconds = libc::c_int::try_from(timeout_seconds).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: the kernel reads and writes one int where the pointer shows.
        if unsafe { libc::ioctl(device.as_raw_fd(), WDIOC_SETTIMEOUT, &mut seconds) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let timeout_seconds = u32::try_from(seconds).map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(Watchdog { device, timeout_seconds })
    }

    pub fn feed(&mut self) -> io::Result<()> {
        self.device.write_all(b"\0")
    }
}

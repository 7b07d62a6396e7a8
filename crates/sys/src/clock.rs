//! The time of day: slewed gently, and known to the kernel as right.
//!
//! Invariant: nothing here makes the clock jump.
#![allow(unsafe_code)]

use std::io;

/// Lets the clock run a little faster or slower until it has moved this far, and tells the kernel that it is right,
/// so that it keeps the battery-backed clock right too.
pub fn slew(microseconds: i64) -> io::Result<()> {
    // SAFETY: all-zero is a valid timex, and both calls get a valid pointer.
    unsafe {
        let mut request: libc::timex = std::mem::zeroed();
        request.modes = libc::ADJ_OFFSET_SINGLESHOT;
        request.offset = microseconds;
        if libc::adjtimex(&mut request) < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut request: libc::timex = std::mem::zeroed();
        request.modes = libc::ADJ_STATUS | libc::ADJ_MAXERROR | libc::ADJ_ESTERROR;
        if libc::adjtimex(&mut request) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

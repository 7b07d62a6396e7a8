//! What a system call answered in, a result out.
//!
//! Invariant: `errno` is read before anything else can change it.

use std::io;

pub fn check(answer: libc::c_int) -> io::Result<()> {
    match answer < 0 {
        true => Err(io::Error::last_os_error()),
        false => Ok(()),
    }
}

//! Random numbers from the kernel.
//!
//! Invariant: they come from the kernel's generator alone, once it is ready.

use rustix::rand::{getrandom, GetRandomFlags};
use std::io;

pub fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty())?;
    }
    Ok(bytes)
}

/// For what needs to be unlike others rather than secret; zero if the kernel has none to give.
pub fn number() -> u32 {
    bytes().map(u32::from_ne_bytes).unwrap_or(0)
}

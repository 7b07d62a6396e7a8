//! What an update needs of a device.
//!
//! Invariant: nothing here decides anything; a caller that loses power between two calls finds either the old or the new
//! state of each call, and of unflushed writes any part.

use osbuild_format::command_line::Slot;
use std::io;

/// What can be read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    Esp(Slot),
    Root(Slot),
    Verity(Slot),
    /// Two blocks of 4096 bytes on the data partition, for the two records of the state.
    State,
}

/// Block devices and the file of the state. Offsets and sizes are in bytes.
pub trait Storage {
    fn size_bytes(&self, area: Area) -> io::Result<u64>;
    /// Fills `bytes`, or fails.
    fn read_at(&self, area: Area, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes`, or fails; only [`Storage::flush`] makes it last.
    fn write_at(&mut self, area: Area, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// When it has come back, what was written before is on the medium.
    fn flush(&mut self, area: Area) -> io::Result<()>;
    /// What is read after this comes from the medium.
    fn drop_caches(&mut self, area: Area) -> io::Result<()>;
}

/// The firmware's choice of a slot. UEFI 2.10, section 3.1. Each change is atomic and lasts when it has come back.
pub trait BootManager {
    /// Makes the boot options of both slots, where they are missing or wrong.
    fn provide_options(&mut self) -> io::Result<()>;
    /// The slot that is first in `BootOrder`, when it is one of ours.
    fn committed(&self) -> io::Result<Option<Slot>>;
    /// The slot that `BootNext` names.
    fn next(&self) -> io::Result<Option<Slot>>;
    /// Starts this slot once, at the next start.
    fn set_next(&mut self, slot: Option<Slot>) -> io::Result<()>;
    /// Puts this slot first in `BootOrder`, the other one after it, and leaves the rest.
    fn commit(&mut self, slot: Slot) -> io::Result<()>;
}

/// The security epoch that the device has committed. It never falls.
pub trait Epoch {
    fn read(&self) -> io::Result<u32>;
    /// No effect when it is that high already.
    fn raise(&mut self, to: u32) -> io::Result<()>;
}

/// Where payloads come from: a server, a folder, a stick.
pub trait Payloads {
    /// Exactly `length` bytes of the target's file from `offset` on.
    fn range(&mut self, target: &str, offset: u64, length: u64) -> io::Result<Vec<u8>>;
}

/// The device's time.
pub trait Clock {
    /// Seconds since 1970; never less than what is known to have passed.
    fn now_seconds(&self) -> u64;
    /// Whether a time server has said so, or only a floor.
    fn is_certain(&self) -> bool;
}

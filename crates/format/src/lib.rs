//! What the builder writes and the device reads.
//!
//! Invariant: each format is read with limits, and reading any bytes at all never panics.

pub mod app;
pub mod command_line;
pub mod device;
pub mod dsse;
pub mod gpt;
pub mod hex;
pub mod payload;
pub mod target;
pub mod verity;

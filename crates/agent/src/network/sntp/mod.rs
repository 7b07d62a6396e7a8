//! The clock's part of the network: what an SNTP answer says, and what to do about it.
//!
//! Invariant: pure; `network::clock` owns the socket and the clock.

mod discipline;
mod packet;

pub use discipline::{Correction, Discipline};
pub use packet::{offset_microseconds, question, Exchange, PACKET_BYTES};

pub const PORT: u16 = 123;

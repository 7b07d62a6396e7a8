//! Netlink (RFC 3549): messages to the kernel, and what it answers.
//!
//! Invariant: bytes from the kernel are read with bounds, as any others.

pub mod answer;
pub mod message;
mod socket;

pub use socket::Socket;

//! A small DHCP client: messages and the protocol's states.
//!
//! Invariant: no sockets and no clock in here; `network::interface` brings both.

mod client;
mod packet;

pub use client::{Client, Lease, Output};
pub use packet::{Answer, Mac};

pub const SERVER_PORT: u16 = 67;
pub const CLIENT_PORT: u16 = 68;

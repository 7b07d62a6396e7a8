//! The networks of apps: a namespace for each, and what joins it to the device.
//!
//! Invariant: an app has no power over its network: the namespace belongs to the agent's user namespace.

pub mod link;
pub mod namespace;
pub mod netlink;

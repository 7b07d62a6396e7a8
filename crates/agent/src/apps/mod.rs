//! Apps: what a manifest declares, to what the kernel grants.
//!
//! Invariant: what no manifest names, no app has.

pub mod network;

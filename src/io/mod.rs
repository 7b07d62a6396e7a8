//! The only place that reads or writes the host's files, processes and network.
//!
//! Invariant: every error names the path, URL or argv it happened at, exactly once.

pub mod command;
pub mod file;
pub mod http;
pub mod pace;
pub mod store;

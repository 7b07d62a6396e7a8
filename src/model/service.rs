//! A service that the agent supervises on the device.
//!
//! Invariant: `argv` has at least one item and its first is an absolute path.

use super::Origin;
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub argv: Vec<String>,
    pub user: String,
    pub group: String,
    pub env: BTreeMap<String, String>,
    /// Services that must have started before.
    pub after: Vec<String>,
    pub restart: Restart,
    /// Seconds between SIGTERM and SIGKILL.
    pub stop_timeout_seconds: u32,
    /// Attach to this terminal, such as `/dev/console`.
    pub terminal: Option<String>,
    /// The system is healthy only while this service runs.
    pub critical: bool,
    pub origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    Always,
    OnFailure,
    Never,
}

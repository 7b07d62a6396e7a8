//! What the initramfs found out, handed to the agent in the root through a file in `/run`.
//!
//! Invariant: written once, before the root is entered.

use crate::error::{AgentError, Doing};
use crate::file;
use serde::{Deserialize, Serialize};

const FOLDER: &str = "/run/osagent";
const PATH: &str = "/run/osagent/boot.json";
const LIMIT_BYTES: usize = 4096;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `a` or `b`.
    pub slot: String,
    pub root_hash: String,
    /// Name of the disk that holds the slot, below `/dev`.
    pub disk: String,
    /// From the kernel's start to ours.
    pub kernel_ms: u64,
    /// The descriptor of the armed watchdog, open over the exec; none: there is none yet.
    pub watchdog: Option<i32>,
}

impl Facts {
    pub fn store(&self) -> Result<(), AgentError> {
        let bytes = serde_json::to_vec(self).expect("plain fields have a JSON form");
        let written = std::fs::create_dir_all(FOLDER).and_then(|()| file::replace(PATH, &bytes, 0o600));
        written.doing(|| format!("write `{PATH}`"))
    }

    pub fn load() -> Result<Self, AgentError> {
        let bytes = file::read(PATH, LIMIT_BYTES).doing(|| format!("read `{PATH}`"))?;
        serde_json::from_slice(&bytes).doing(|| format!("read `{PATH}`"))
    }
}

//! A description of a sandbox in, a running process in its own namespaces out.
//!
//! The process sees a root made of read-only layers, the mounts it was given, and nothing else of the
//! host: own user, mount, pid, ipc, uts, cgroup and (unless asked otherwise) network namespace, one uid, no
//! capability, no new privileges. Works for root and for any user who may make user namespaces.
//! Invariant: when the process ends, everything it started ends; when we end, it ends.

// `io` is above this crate: here the error already names the step and the path.
#![allow(clippy::disallowed_methods)]

mod child;
mod probe;
mod program;

pub use child::Child;
pub use probe::{probe, Unavailable};

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::PathBuf;

/// What to run, and what it sees.
#[derive(Debug)]
pub struct Sandbox {
    /// Read-only folders that together are `/`, the topmost first; at least one.
    pub root: Vec<PathBuf>,
    /// An empty folder of ours, for the overlay's own files and the mount points.
    pub scratch: PathBuf,
    /// In the order in which they are made; later ones may lie inside earlier ones.
    pub mounts: Vec<Mount>,
    pub network: Network,
    pub hostname: String,
    pub uid: u32,
    pub gid: u32,
    pub cwd: PathBuf,
    /// At least one word; the first is a path inside the sandbox.
    pub argv: Vec<OsString>,
    pub env: Vec<(OsString, OsString)>,
    pub stdin: Stdio,
    pub stdout: Stdio,
    pub stderr: Stdio,
    /// Make standard input the controlling terminal.
    pub terminal: bool,
}

#[derive(Debug)]
pub enum Mount {
    /// A file or folder of the host, not writable.
    ReadOnly {
        from: PathBuf,
        to: PathBuf,
    },
    /// A file, folder or device of the host, as it is.
    Writable {
        from: PathBuf,
        to: PathBuf,
    },
    /// Folders below, what is written above. `upper` and `work` are empty folders on one file system.
    Overlay {
        lower: Vec<PathBuf>,
        upper: PathBuf,
        work: PathBuf,
        to: PathBuf,
    },
    /// `/proc` of the sandbox's own pid namespace, not writable.
    Proc,
    /// `/dev` with null, zero, full, random, urandom, tty, pts, shm and nothing else.
    Dev,
    Tmpfs {
        to: PathBuf,
        size_bytes: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Only a loopback device of its own.
    None,
    /// The host's.
    Host,
}

#[derive(Debug)]
pub enum Stdio {
    Inherit,
    Null,
    File(File),
}

#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("a path or word of the sandbox contains a NUL byte: `{0}`")]
    Nul(String),
    #[error("cannot prepare `{}` for the sandbox", path.display())]
    Prepare {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot make the sandbox's namespaces")]
    Namespaces(#[source] io::Error),
    #[error("cannot {step} in the sandbox")]
    Setup {
        step: String,
        #[source]
        source: io::Error,
    },
    #[error("the sandbox ended before it had started")]
    Vanished,
}

impl Sandbox {
    /// Starts the process; returns once it has been executed, or with the step that failed.
    pub fn spawn(&self) -> Result<Child, SandboxError> {
        child::spawn(self, program::compile(self)?)
    }
}

#[cfg(test)]
mod tests;

//! A description of a sandbox in, a running process in its own namespaces out.
//!
//! The process sees a read-only root, the mounts it was given, and nothing else of the
//! host: own user, mount, pid, ipc, uts, cgroup and (unless asked otherwise) network namespace, one uid, no
//! capability, no new privileges. Works for root and for any user who may make user namespaces. A task of the builder
//! and an app on a device run in the same sandbox; an app's is confined further.
//! Invariant: when the process ends, everything it started ends; when we end, it ends.

// `io` is above this crate: here the error already names the step and the path.
#![allow(clippy::disallowed_methods)]

mod child;
mod inside;
mod image;
mod probe;
mod program;

pub use crate::confinement::{Confinement, Resource};
pub use crate::landlock::Landlock;
pub use crate::seccomp::Filter;
pub use child::{Child, Started};
pub use probe::{probe, Unavailable};

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// What to run, and what it sees.
#[derive(Debug)]
pub struct Sandbox {
    pub root: Root,
    /// In the order in which they are made; later ones may lie inside earlier ones.
    pub mounts: Vec<Mount>,
    pub network: Network,
    pub hostname: String,
    pub uid: u32,
    pub gid: u32,
    /// Who that is outside, user and group; none: who makes the sandbox. Only root may be somebody else.
    pub outside: Option<(u32, u32)>,
    pub cwd: PathBuf,
    /// At least one word; the first is a path inside the sandbox.
    pub argv: Vec<OsString>,
    pub env: Vec<(OsString, OsString)>,
    pub stdin: Stdio,
    pub stdout: Stdio,
    pub stderr: Stdio,
    /// Make standard input the controlling terminal.
    pub terminal: bool,
    /// The folder of the control group (version 2) that everything in the sandbox belongs to, from its first instruction.
    pub group: Option<File>,
    /// What the program may not do although its user could; taken away before its first instruction.
    pub confinement: Confinement,
}

/// What becomes `/`.
#[derive(Debug)]
pub enum Root {
    /// Folders, the topmost first, at least one, which nothing is written to.
    Layers {
        folders: Vec<PathBuf>,
        /// An empty folder of ours, for the overlay's own files and the mount points.
        scratch: PathBuf,
    },
    /// The folder at which a read-only image is mounted; it has the mount points. What is writable in this sandbox can
    /// neither run nor be a device.
    Image(PathBuf),
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
    /// Like [`Mount::Proc`], with nothing but the processes.
    ProcessesOnly,
    /// `/dev` with null, zero, full, random, urandom, tty, pts, shm and nothing else. In an image without tty and pts.
    Dev,
    /// A device node of the host, below the `/dev` that was mounted before.
    Device {
        from: PathBuf,
        to: PathBuf,
    },
    Tmpfs {
        to: PathBuf,
        size_bytes: u64,
    },
}

#[derive(Debug)]
pub enum Network {
    /// Only a loopback device of its own.
    None,
    /// The host's.
    Host,
    /// This one, which the process gets no power over. Only root can enter it.
    Of(OwnedFd),
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
    /// This thread is now where it must not be: end the process.
    #[error("cannot come back from the network of the sandbox")]
    Lost(#[source] io::Error),
}

impl Sandbox {
    /// Starts the process; returns once it has been executed, or with the step that failed.
    pub fn spawn(&self) -> Result<Child, SandboxError> {
        child::spawn(self, program::compile(self)?)
    }
}

#[cfg(test)]
mod tests;

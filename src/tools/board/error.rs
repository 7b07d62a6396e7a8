//! What can go wrong with a virtual board.
//!
//! Invariant: each message names the program, file, port or line it is about and, where one helps, the remedy.

use super::varstore::VarstoreError;
use crate::io::file::FileError;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot prepare the EFI variables from `{}`", path.display())]
    Variables {
        path: PathBuf,
        #[source]
        source: VarstoreError,
    },
    #[error("cannot start `{program}` of the virtual board")]
    Start {
        program: String,
        #[source]
        source: osbuild_sys::sandbox::SandboxError,
    },
    #[error("`{program}` ended with {exit}: {tail}")]
    Ended { program: String, exit: String, tail: String },
    #[error("`{program}` did not answer within {} s", waited.as_secs())]
    Silent { program: String, waited: Duration },
    #[error("port {0} of this host is in use: stop what listens there, or change the machine's `board: forwards:`")]
    PortInUse(u16),
    #[error("another board runs on `{}`: end it first", .0.display())]
    Busy(PathBuf),
    #[error("no free port on the loopback interface")]
    NoPort(#[source] std::io::Error),
    #[error("there is no image at `{}`: build it with `osbuild image`", .0.display())]
    NoImage(PathBuf),
    #[error("no line of the console matched within {} s; {expected}; the last lines were:\n{tail}", waited.as_secs())]
    NotSeen { expected: String, waited: Duration, tail: String },
    #[error("the board ended before its console showed it; {expected}; the last lines were:\n{tail}")]
    EndedBefore { expected: String, tail: String },
    #[error("cannot talk to `{program}`")]
    Talk {
        program: String,
        #[source]
        source: std::io::Error,
    },
    #[error("interrupted; the board is off")]
    Interrupted,
    #[error("QEMU refused `{command}`: {reason}")]
    Refused { command: String, reason: String },
    #[error("cannot damage the disk copy: {0}")]
    Damage(String),
    #[error("check `{check}` is not valid: {reason}")]
    InvalidCheck { check: String, reason: String },
}

//! What can go wrong with a serial line.
//!
//! Invariant: each message names the line and shows the last that was seen on it; the help says what to do there.

use crate::io::file::FileError;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum SerialError {
    #[error("cannot open the serial line `{}`", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{}` is neither a terminal device nor a socket, so no serial line", .0.display())]
    NoLine(PathBuf),
    #[error("another program holds the serial line `{}`", .0.display())]
    Busy(PathBuf),
    #[error("the serial line `{}` failed", path.display())]
    Talk {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the serial line `{}` was closed at its other end", .0.display())]
    Closed(PathBuf),
    #[error("nothing answers on the serial line `{}`", .0.display())]
    Silent(PathBuf),
    #[error("a login prompt answers on the serial line `{}`, and no shell", .0.display())]
    Login(PathBuf),
    #[error("no shell answers on the serial line `{}`; the last it said:\n{tail}", path.display())]
    NoShell { path: PathBuf, tail: String },
    #[error("the device on the serial line `{}` does not have:{programs}", path.display())]
    Missing { path: PathBuf, programs: String },
    #[error("the shell on the serial line `{}` cannot write to `{folder}`", path.display())]
    Folder { path: PathBuf, folder: String },
    #[error("the shell on the serial line `{}` gave no answer within {} s; the last it said:\n{tail}", path.display(), waited.as_secs())]
    Late { path: PathBuf, waited: Duration, tail: String },
    #[error("what goes over the serial line `{}` arrives damaged, {times} times in a row", path.display())]
    Damaged { path: PathBuf, times: u32 },
    #[error("what the device on the serial line `{}` says is longer than {limit_bytes} bytes", path.display())]
    TooLong { path: PathBuf, limit_bytes: usize },
    #[error("interrupted")]
    Interrupted,
    #[error(transparent)]
    File(#[from] FileError),
}

impl SerialError {
    pub fn help(&self) -> Option<&'static str> {
        Some(match self {
            SerialError::Open { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                "who may use it is decided by its group, often `dialout`"
            }
            SerialError::Open { .. } | SerialError::NoLine(_) => {
                "`--serial` takes the adapter's device, such as /dev/ttyUSB0, or the socket of a virtual machine's port"
            }
            SerialError::Busy(_) => "end it first: two programs would each get half of what the device says",
            SerialError::Silent(_) => {
                "is the device on, its boot at an end, the line crossed and at 115200 baud, and the product one with a \
                 shell on its console, such as gateway-dev?"
            }
            SerialError::Login(_) => "log in there as root with a terminal program, end that one, and try again",
            SerialError::NoShell { .. } => {
                "end what runs there, with a terminal program if need be, so that a shell's prompt is left"
            }
            SerialError::Missing { .. } => "busybox has them all: `kernel-config/busybox.config` says which are built",
            SerialError::Folder { .. } => "the shell must be root's",
            SerialError::Late { .. } => "did the device restart? What it did last is in its log: `osagent log` there",
            SerialError::Damaged { .. } => {
                "a shorter or better cable, or `--ssh`; a device that logs much on its console may be too loud"
            }
            _ => return None,
        })
    }
}

//! An error of the host's disks in, what the user can do about it out.
//!
//! Invariant: the advice follows from the kind of the error and from the path that its message names; it is none
//! where it would be a guess.

use super::project;
use std::error::Error;
use std::io::{self, ErrorKind};

/// Looks along the causes for an error of the host; `message` is the text of all of them.
pub fn of(error: &(dyn Error + 'static), message: &str) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(help) = error.downcast_ref::<io::Error>().and_then(|error| for_kind(error.kind(), message)) {
            return Some(help);
        }
        cause = error.source();
    }
    None
}

fn for_kind(kind: ErrorKind, message: &str) -> Option<String> {
    let is_cache = project::chosen_cache().is_some_and(|cache| message.contains(&*cache.to_string_lossy()));
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(disk_full(is_cache)),
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied | ErrorKind::NotADirectory if is_cache => {
            Some("set OSBUILD_CACHE to a folder that can be written".to_owned())
        }
        ErrorKind::ReadOnlyFilesystem => {
            Some("osbuild writes to `out/` of the project and to its cache: make that disk writable".to_owned())
        }
        _ => None,
    }
}

fn disk_full(is_cache: bool) -> String {
    let means = match is_cache {
        true => "free some space on that disk, run `osbuild cache gc`, or set OSBUILD_CACHE to a folder on another",
        false => "free some space on that disk",
    };
    format!("{means}; nothing finished is lost: run the command again")
}

//! What happens during a run, told as it happens.
//!
//! Invariant: every started task ends in exactly one of finished, failed and stopped.

use crate::model::Digest;
use std::path::Path;
use std::time::Duration;

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// So many tasks take part.
    Planned {
        tasks: usize,
    },
    /// The cache has the task's result.
    Cached {
        task: &'a str,
    },
    Started {
        task: &'a str,
    },
    Finished {
        task: &'a str,
        took: Duration,
    },
    /// Another osbuild process runs the same task.
    Waiting {
        task: &'a str,
    },
    Failed {
        task: &'a str,
    },
    /// Ended by an interruption.
    Stopped {
        task: &'a str,
    },
    FetchStarted {
        name: &'a str,
        digest: &'a Digest,
    },
    Fetching {
        name: &'a str,
        digest: &'a Digest,
        bytes: u64,
    },
    Fetched {
        name: &'a str,
        digest: &'a Digest,
    },
    /// The cache had lost something; it is made again.
    Repairing {
        task: &'a str,
    },
    /// A failed task's sandbox was kept here.
    Kept {
        task: &'a str,
        folder: &'a Path,
    },
}

/// Is told what happens, from several threads.
pub trait Observer: Sync {
    fn event(&self, event: &Event);
}

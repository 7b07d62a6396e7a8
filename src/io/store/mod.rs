//! The content-addressed store: blobs and trees by SHA-256, and the action cache.
//!
//! Layout below the cache folder (`OSBUILD_CACHE`, else `$XDG_CACHE_HOME/osbuild`):
//!
//! ```text
//! blobs/AB/CDEF...      content, mode 0644     blobs/AB/CDEF....x   the same, mode 0755
//! trees/AB/CDEF.../     a tree checked out by hard links, by its root Directory digest
//! actions/AB/CDEF...    ActionResult messages by action digest
//! tmp/                  being written; renamed into place when whole
//! failed/TASK-KEY/      what a failed task left, for `osbuild shell`
//! locks/                held while a file of them is open
//! unsynced/             a mark for each process that wrote what may not be on disk yet
//! ```
//!
//! Invariants: whatever has its final name is whole; a blob is written once and never changed; all
//! of it may be deleted at any time and is then made again. Safe with several processes at once.

mod action_cache;
mod blob;
mod builder;
mod checkout;
mod directory;
mod lock;
mod sweep;
mod unsynced;
mod walk;

pub use builder::TreeBuilder;
pub use directory::{from_message, to_message, Entry, Node, Tree};
pub use lock::StoreLock;
pub use sweep::{Removed, Soundness, Usage};

use crate::io::file::{self, FileError};
use crate::model::Digest;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use unsynced::Unsynced;

/// The modification time of everything that is checked out, in seconds since the epoch: mtime never
/// takes part in a key, and tools that compare mtimes see all inputs as equally old.
pub const INPUT_MTIME_SECONDS: i64 = 1;

/// A store in a folder. Cheap to clone; when the last clone goes, what was written is synced.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    unsynced: Arc<Unsynced>,
    /// Trees that this process has found whole: looking at every file again for each task would cost more than some.
    whole_trees: Arc<Mutex<HashSet<Digest>>>,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the cache has no blob {0}")]
    Missing(Digest),
    #[error("the cached blob {0} is damaged; it has been removed and is made again when it is next needed")]
    Damaged(Digest),
    #[error("the cached blob {digest} is larger than the limit for its use: {limit_bytes} bytes")]
    TooLarge { digest: Digest, limit_bytes: u64 },
    #[error("the input is larger than its limit: {limit_bytes} bytes")]
    InputTooLarge { limit_bytes: u64 },
    #[error("the cached tree {digest} is not valid: {reason}")]
    InvalidTree { digest: Digest, reason: String },
    #[error("`{}` cannot be kept in a tree: {reason}", path.display())]
    Unsupported { path: PathBuf, reason: &'static str },
    #[error("`{path}` is in two inputs with different content")]
    Conflict { path: String },
}

impl Store {
    /// Opens the store at `root`, creating its folders.
    pub fn open(root: &Path) -> Result<Store, StoreError> {
        for folder in ["blobs", "trees", "actions", "tmp"] {
            let path = root.join(folder);
            // A cache that is mounted read-only still serves what it has.
            if !path.is_dir() {
                file::create_dir_all(&path)?;
            }
        }
        Ok(Store { root: root.to_owned(), unsynced: Arc::new(Unsynced::new(root)), whole_trees: Arc::default() })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the content of `digest` is or would be; `executable` picks the copy of mode 0755.
    pub fn blob_path(&self, digest: &Digest, executable: bool) -> PathBuf {
        let hex = digest.hex();
        let suffix = if executable { ".x" } else { "" };
        self.root.join("blobs").join(&hex[..2]).join(format!("{}{suffix}", &hex[2..]))
    }

    /// A new scratch folder on the store's file system, removed when dropped.
    pub fn temporary_folder(&self) -> Result<tempfile::TempDir, StoreError> {
        self.unsynced.note()?;
        let tmp = self.root.join("tmp");
        Ok(tempfile::Builder::new().prefix("work-").tempdir_in(&tmp).map_err(file::at("create a folder in", &tmp))?)
    }

    fn temporary_path(&self) -> Result<tempfile::TempPath, StoreError> {
        self.unsynced.note()?;
        let tmp = self.root.join("tmp");
        let named = tempfile::Builder::new().prefix("blob-").tempfile_in(&tmp);
        Ok(named.map_err(file::at("create a file in", &tmp))?.into_temp_path())
    }
}

#[cfg(test)]
mod tests;

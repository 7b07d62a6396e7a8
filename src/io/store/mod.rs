//! The content-addressed store: blobs and trees by SHA-256, and the action cache.
//!
//! Layout below the cache folder (`OSBUILD_CACHE`, else `$XDG_CACHE_HOME/osbuild`):
//!
//!     blobs/AB/CDEF...      content, mode 0644     blobs/AB/CDEF....x   the same, mode 0755
//!     trees/AB/CDEF.../     a tree checked out by hard links, by its root Directory digest
//!     actions/AB/CDEF...    ActionResult messages by action digest
//!     tmp/                  being written; renamed into place when whole
//!
//! Invariants: whatever has its final name is whole; a blob is written once and never changed; all
//! of it may be deleted at any time and is then made again. Safe with several processes at once.

mod directory;

pub use directory::{Entry, Node, Tree};

use crate::io::file::{self, FileError};
use crate::model::Digest;
use std::path::{Path, PathBuf};

/// A store in a folder.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the cache has no blob {0}")]
    Missing(Digest),
    #[error("the cached blob {0} is damaged; it has been removed and is made again when it is next needed")]
    Damaged(Digest),
    #[error("the cached tree {digest} is not valid: {reason}")]
    InvalidTree { digest: Digest, reason: String },
    #[error("`{path}` is in two inputs with different content")]
    Conflict { path: String },
}

impl Store {
    /// Opens the store at `root`, creating its folders.
    pub fn open(root: &Path) -> Result<Store, StoreError> {
        for folder in ["blobs", "trees", "actions", "tmp"] {
            file::create_dir_all(&root.join(folder))?;
        }
        Ok(Store { root: root.to_owned() })
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
}

//! Locks between processes that share a cache: one builder per action, and no sweep under a build.
//!
//! Invariant: a lock is the kernel's (`flock`): it ends with the process that holds it, however that ends.

use super::{Store, StoreError};
use crate::io::file::{self, at};
use crate::model::Digest;
use rustix::fs::{flock, FlockOperation};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Held until dropped.
#[derive(Debug)]
pub struct StoreLock {
    _file: Option<File>,
}

impl Store {
    /// Takes the right to run `action`, or none while another process has it.
    pub fn try_lock_action(&self, action: &Digest) -> Result<Option<StoreLock>, StoreError> {
        let path = self.root().join("locks").join(&action.hex()[..16]);
        take(&path, FlockOperation::NonBlockingLockExclusive)
    }

    /// Takes what a failed run of the action with this key left, or none while another process has it.
    pub fn try_lock_kept(&self, key: &str) -> Result<Option<StoreLock>, StoreError> {
        take(&self.root().join("locks").join(format!("kept-{key}")), FlockOperation::NonBlockingLockExclusive)
    }

    /// Says that the cache is in use. None while it is being swept. A cache that cannot be written needs no lock.
    pub fn try_lock_use(&self) -> Result<Option<StoreLock>, StoreError> {
        match take(&self.use_path(), FlockOperation::NonBlockingLockShared) {
            Err(StoreError::File(error)) if is_not_writable(&error.source) => Ok(Some(StoreLock { _file: None })),
            other => other,
        }
    }

    /// Keeps everyone else out. None while the cache is in use.
    pub fn try_lock_whole(&self) -> Result<Option<StoreLock>, StoreError> {
        take(&self.use_path(), FlockOperation::NonBlockingLockExclusive)
    }

    fn use_path(&self) -> PathBuf {
        self.root().join("locks/use")
    }
}

pub(super) fn is_not_writable(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied)
}

fn take(path: &Path, operation: FlockOperation) -> Result<Option<StoreLock>, StoreError> {
    // A lock file that is there can be taken in a cache that is mounted read-only, too.
    let file = match file::open(path) {
        Ok(file) => file,
        Err(_) => {
            file::create_dir_all(path.parent().expect("a lock path has a parent"))?;
            file::create(path)?
        }
    };
    match flock(&file, operation) {
        Ok(()) => Ok(Some(StoreLock { _file: Some(file) })),
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => Ok(None),
        Err(error) => Err(at("lock", path)(error.into()).into()),
    }
}

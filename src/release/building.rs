//! A folder that is being filled, until it gets its name.
//!
//! Invariant: what has its final name is whole and on the disk, also after a loss of power; what a process that was
//! killed left behind is removed by the next one.

use super::image::is_whole;
use super::keys::PublicKeys;
use crate::io::file::{self, at, FileError};
use rustix::fs::{flock, FlockOperation};
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const PREFIX: &str = ".building-";

pub struct Building {
    folder: tempfile::TempDir,
    /// Locked while this process lives: others leave the folder alone.
    _lock: File,
}

impl Building {
    /// Begins a folder in `parent`, and removes those that nobody fills any more.
    pub fn begin(parent: &Path) -> Result<Building, FileError> {
        // A folder that is not locked yet must not be taken for one that was left behind.
        let _others_wait = lock(parent)?;
        remove_abandoned(parent)?;
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent);
        let folder = folder.map_err(at("create a folder in", parent))?;
        let own = file::open(folder.path())?;
        flock(&own, FlockOperation::NonBlockingLockExclusive).map_err(|e| at("lock", folder.path())(e.into()))?;
        Ok(Building { folder, _lock: own })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Gives it the name `target`, in place of what is there and not whole.
    pub fn finish(self, target: &Path, keys: &PublicKeys) -> Result<(), FileError> {
        let (path, parent) = (self.folder.path(), target.parent().unwrap_or(Path::new(".")));
        std::fs::set_permissions(path, Permissions::from_mode(0o755)).map_err(at("set the mode of", path))?;
        sync(path)?;
        // Nobody else puts a folder there between the look and the removal.
        let _others_wait = lock(parent)?;
        let mut result = std::fs::rename(path, target);
        if result.is_err() && !is_whole(target, keys) {
            file::remove_tree(target)?;
            result = std::fs::rename(path, target);
        }
        match result {
            Ok(()) => drop(self.folder.keep()),
            // Another process was faster: its folder is the same.
            Err(_) if is_whole(target, keys) => {}
            Err(error) => return Err(at("create", target)(error)),
        }
        sync(parent)
    }
}

/// Held for a moment by whoever changes what is in the folder.
fn lock(folder: &Path) -> Result<File, FileError> {
    let file = file::open(folder)?;
    flock(&file, FlockOperation::LockExclusive).map_err(|e| at("lock", folder)(e.into()))?;
    Ok(file)
}

/// Brings a folder's names to the disk.
fn sync(folder: &Path) -> Result<(), FileError> {
    file::open(folder)?.sync_all().map_err(at("sync", folder))
}

fn remove_abandoned(parent: &Path) -> Result<(), FileError> {
    for name in file::list(parent)?.into_iter().filter(|name| name.starts_with(PREFIX)) {
        let path = parent.join(name);
        let Ok(folder) = file::open(&path) else { continue };
        if flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok() {
            file::remove_tree(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_that_nobody_fills_any_more_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let first = Building::begin(parent.path()).unwrap();
        let left = parent.path().join(".building-left");
        file::create_dir_all(&left).unwrap();
        file::write_atomic(&left.join("disk.img"), b"half", 0o644).unwrap();
        let second = Building::begin(parent.path()).unwrap();
        assert!(!left.exists() && first.path().exists() && second.path().exists());
        drop(first);
        drop(second);
        assert!(file::list(parent.path()).unwrap().is_empty());
    }
}

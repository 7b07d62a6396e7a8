//! What the disk may not have yet: a mark while there is any, and a check of everything after a power cut.
//!
//! After a power cut a file can have its name, its size and its time, and zeros for content. To sync before each
//! result is recorded would make many small tasks slow, and would not be enough: what an unfinished task left would
//! later pass for that content. So a process leaves a mark that names the boot before it writes anything, syncs once
//! when it is done, and takes the mark away. While the machine is up, what was written reads back, synced or not.
//! Invariant: while something in the store may not be on disk, a mark is; a mark of another boot has all of it read.

use super::lock::is_not_writable;
use super::{Soundness, Store, StoreError};
use crate::io::file::{self, at};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tempfile::TempPath;

const FOLDER: &str = "unsynced";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The mark of this process, from its first write until it has synced.
#[derive(Debug)]
pub(super) struct Unsynced {
    root: PathBuf,
    mark: Mutex<Option<TempPath>>,
}

impl Unsynced {
    pub(super) fn new(root: &Path) -> Unsynced {
        Unsynced { root: root.to_owned(), mark: Mutex::default() }
    }

    /// Returns when the mark is on disk.
    pub(super) fn note(&self) -> Result<(), StoreError> {
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        if mark.is_none() {
            *mark = Some(leave_mark(&self.root.join(FOLDER))?);
        }
        Ok(())
    }
}

impl Drop for Unsynced {
    fn drop(&mut self) {
        let mark = self.mark.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mark) = mark {
            match sync(&self.root) {
                Ok(()) => drop(mark),
                // Nobody is left to be told; the mark tells the next process.
                Err(_) => drop(mark.keep()),
            }
        }
    }
}

fn leave_mark(folder: &Path) -> Result<TempPath, StoreError> {
    file::create_dir_all(folder)?;
    let prefix = format!("{}.", this_boot().unwrap_or_default());
    let mark = tempfile::Builder::new().prefix(&prefix).tempfile_in(folder);
    let mark = mark.map_err(at("create a file in", folder))?;
    mark.as_file().sync_all().map_err(at("sync", mark.path()))?;
    file::open(folder)?.sync_all().map_err(at("sync", folder))?;
    Ok(mark.into_temp_path())
}

fn sync(root: &Path) -> Result<(), StoreError> {
    Ok(rustix::fs::syncfs(file::open(root)?).map_err(|error| at("sync", root)(error.into()))?)
}

/// None where it cannot be told; then every mark counts as one of another boot.
fn this_boot() -> Option<String> {
    file::read_text(Path::new(BOOT_ID)).ok().map(|text| text.trim().to_owned())
}

impl Store {
    /// Writes everything to the disk: for a result whose loss would cost much.
    pub fn sync(&self) -> Result<(), StoreError> {
        sync(&self.root)
    }

    /// Whether the machine stopped while something was not on disk.
    pub fn was_cut_off(&self) -> Result<bool, StoreError> {
        let boot = this_boot();
        let is_of_this_boot = |mark: &String| boot.as_ref().is_some_and(|boot| mark.starts_with(boot.as_str()));
        Ok(!file::list(&self.root.join(FOLDER))?.iter().all(is_of_this_boot))
    }

    /// Puts right what a power cut or a killed process left. The caller holds the lock of the whole cache. In one that
    /// cannot be written the marks stay for whoever can; damage that cannot be removed there is an error.
    pub fn recover(&self) -> Result<(), StoreError> {
        let folder = self.root.join(FOLDER);
        let marks = file::list(&folder)?;
        if marks.is_empty() {
            return Ok(());
        }
        if self.was_cut_off()? {
            let _: Soundness = self.verify()?;
        }
        match self.remove_marks(&folder, &marks) {
            Err(StoreError::File(error)) if is_not_writable(&error.source) => Ok(()),
            result => result,
        }
    }

    fn remove_marks(&self, folder: &Path, marks: &[String]) -> Result<(), StoreError> {
        self.sync()?;
        for mark in marks {
            let path = folder.join(mark);
            std::fs::remove_file(&path).map_err(at("remove", &path))?;
        }
        Ok(())
    }
}

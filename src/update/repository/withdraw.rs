//! Targets that are to be offered no longer in, metadata without them out.
//!
//! Invariant: a file goes only when the metadata that no longer names it is on the disk, and no other metadata names the file.

use super::{wrong, Keyring, Repository, RepositoryError};
use crate::io::file::at;
use osbuild_tuf::Time;
use std::path::PathBuf;

impl Repository {
    /// Takes the targets `names` out of the top-level metadata. Gives the files that nothing names any more.
    pub fn withdraw(&self, names: &[String], keyring: &Keyring, now: Time) -> Result<Vec<PathBuf>, RepositoryError> {
        let mut targets = self.targets.signed.clone();
        let mut files = Vec::new();
        for name in names {
            let Some(target) = targets.targets.remove(name) else {
                return wrong(format!("there is no target `{}`", name.escape_debug()));
            };
            files.extend(target.hashes.get("sha256").map(|sha256| self.target_path(name, sha256)));
        }
        let delegated = self.delegated.values().flat_map(|others| &others.signed.targets);
        for (name, target) in targets.targets.iter().chain(delegated) {
            let named = target.hashes.get("sha256").map(|sha256| self.target_path(name, sha256));
            files.retain(|file| Some(file) != named.as_ref());
        }
        self.replace_targets(targets, keyring, now)?;
        Ok(files)
    }

    /// Removes files that [`Repository::withdraw`] gave.
    pub fn remove_files(&self, files: &[PathBuf]) -> Result<(), RepositoryError> {
        for path in files.iter().filter(|path| path.is_file()) {
            std::fs::remove_file(path).map_err(at("remove", path))?;
        }
        Ok(())
    }
}

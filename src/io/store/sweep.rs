//! Keeping the cache in order: its size, a sweep by age, and a check of every byte.
//!
//! Invariant: the caller holds the lock of the whole cache; after a sweep every action result that is left
//! still has all it names.

use super::{from_message, Store, StoreError};
use crate::io::file::{self, at};
use crate::model::Digest;
use rayon::prelude::*;
use std::collections::HashSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What the cache holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub actions: usize,
    pub blobs: usize,
    pub bytes: u64,
    pub trees: usize,
    pub failed: usize,
}

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub actions: usize,
    pub blobs: usize,
    pub bytes: u64,
    pub failed: usize,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Soundness {
    pub blobs: usize,
    pub bytes: u64,
    pub damaged: Vec<Digest>,
}

impl Store {
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let blobs = files(&self.root().join("blobs"))?;
        Ok(Usage {
            actions: files(&self.root().join("actions"))?.len(),
            blobs: blobs.len(),
            bytes: blobs.iter().map(|(_, metadata)| metadata.len()).sum(),
            trees: self.checkouts()?.len(),
            failed: file::list(&self.root().join("failed"))?.len(),
        })
    }

    /// Removes results that no run has used for `age`, then every blob as old that neither a result needs nor
    /// `pinned` names, and what tasks left that failed as long ago.
    pub fn sweep(&self, age: Duration, pinned: &HashSet<Digest>) -> Result<Removed, StoreError> {
        let limit = SystemTime::now().checked_sub(age);
        let is_old = |time: SystemTime| limit.is_some_and(|limit| time < limit);
        let mut kept = pinned.clone();
        let actions = self.sweep_results(is_old, &mut kept)?;
        let mut removed = Removed { actions, ..Removed::default() };
        for (path, metadata) in files(&self.root().join("blobs"))? {
            let is_needed = digest_of(&path, &metadata).is_some_and(|digest| kept.contains(&digest));
            if !is_needed && is_old(stored_at(&metadata)) {
                remove(&path)?;
                removed.blobs += 1;
                removed.bytes += metadata.len();
            }
        }
        let kept: HashSet<String> = kept.iter().map(Digest::hex).collect();
        for tree in self.checkouts()? {
            let name = format!("{}{}", name_of(tree.parent().unwrap_or(&tree)), name_of(&tree));
            if !kept.contains(&name) {
                file::remove_tree(&tree)?;
            }
        }
        removed.failed = self.sweep_failed(is_old)?;
        self.remove_scratch()?;
        Ok(removed)
    }

    /// Removes old results and unsound ones; adds to `kept` what the others name.
    fn sweep_results(
        &self,
        is_old: impl Fn(SystemTime) -> bool,
        kept: &mut HashSet<Digest>,
    ) -> Result<usize, StoreError> {
        let mut count = 0;
        for (path, metadata) in files(&self.root().join("actions"))? {
            let used = metadata.modified().map_err(at("look at", &path))?;
            if is_old(used) || self.mark(&path, kept).is_none() {
                remove(&path)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Removes what failed tasks left.
    fn sweep_failed(&self, is_old: impl Fn(SystemTime) -> bool) -> Result<usize, StoreError> {
        let folder = self.root().join("failed");
        let mut count = 0;
        for name in file::list(&folder)? {
            let path = folder.join(name);
            let metadata = std::fs::symlink_metadata(&path).map_err(at("look at", &path))?;
            if is_old(metadata.modified().map_err(at("look at", &path))?) {
                file::remove_tree(&path)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Adds everything that the result at `path` names; none when something of it is missing.
    fn mark(&self, path: &Path, kept: &mut HashSet<Digest>) -> Option<()> {
        let hex = format!("{}{}", name_of(path.parent()?), name_of(path));
        let action = Digest::from_hex(&hex, 0).ok()?;
        let result = self.unused_action_result(&action)?;
        let mut named = Vec::new();
        for file in &result.output_files {
            named.push(from_message(file.digest.as_ref())?);
        }
        for folder in &result.output_directories {
            let root = from_message(folder.root_directory_digest.as_ref())?;
            named.push(root);
            named.extend(self.walk(&root).ok()?.iter().filter_map(|entry| entry.node.digest()));
        }
        // What another result names as well has been looked for already.
        let whole = named.par_iter().all(|digest| kept.contains(digest) || self.has(digest));
        // A log may be lost without harm.
        whole.then(|| kept.extend(named.into_iter().chain(from_message(result.stdout_digest.as_ref()))))
    }

    /// Reads every blob and removes those whose content is not what their name says.
    pub fn verify(&self) -> Result<Soundness, StoreError> {
        let blobs = files(&self.root().join("blobs"))?;
        let checked = blobs.par_iter().map(|(path, metadata)| {
            let mut digester = crate::model::digest::Digester::default();
            std::io::copy(&mut file::open(path)?, &mut digester).map_err(at("read", path))?;
            let found = digester.finish();
            Ok((digest_of(path, metadata) != Some(found)).then_some((path, metadata)))
        });
        let damaged: Vec<_> = checked.collect::<Result<Vec<_>, StoreError>>()?.into_iter().flatten().collect();
        let mut soundness = Soundness {
            blobs: blobs.len(),
            bytes: blobs.iter().map(|(_, metadata)| metadata.len()).sum(),
            damaged: Vec::new(),
        };
        if !damaged.is_empty() {
            // A checked-out tree shares its files with the blobs. It goes first, and is gone on the disk, too: whoever
            // is interrupted here must find the damage again.
            self.checkouts()?.iter().try_for_each(|tree| file::remove_tree(tree))?;
            self.sync()?;
        }
        for (path, metadata) in &damaged {
            remove(path)?;
            soundness.damaged.extend(digest_of(path, metadata));
        }
        if !damaged.is_empty() {
            self.remove_unsound_results()?;
        }
        soundness.damaged.sort_by_key(|digest| digest.sha256);
        Ok(soundness)
    }

    /// So that the next run makes all that is lost at once, and not one after the other.
    fn remove_unsound_results(&self) -> Result<(), StoreError> {
        for (path, _) in files(&self.root().join("actions"))? {
            if self.mark(&path, &mut HashSet::new()).is_none() {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Removes what interrupted processes were writing.
    pub fn remove_scratch(&self) -> Result<(), StoreError> {
        for name in ["tmp", "locks"] {
            let folder = self.root().join(name);
            for entry in file::list(&folder)?.into_iter().filter(|entry| name != "locks" || entry != "use") {
                let path = folder.join(entry);
                match path.is_dir() {
                    true => file::remove_tree(&path)?,
                    false => remove(&path)?,
                }
            }
        }
        Ok(())
    }

    fn checkouts(&self) -> Result<Vec<PathBuf>, StoreError> {
        let root = self.root().join("trees");
        let mut trees = Vec::new();
        for first in file::list(&root)? {
            let folder = root.join(first);
            trees.extend(file::list(&folder)?.into_iter().map(|name| folder.join(name)));
        }
        Ok(trees)
    }
}

/// Every file two levels below `root`.
fn files(root: &Path) -> Result<Vec<(PathBuf, Metadata)>, StoreError> {
    let mut files = Vec::new();
    for first in file::list(root)? {
        let folder = root.join(first);
        for name in file::list(&folder)? {
            let path = folder.join(name);
            let metadata = std::fs::symlink_metadata(&path).map_err(at("look at", &path))?;
            files.push((path, metadata));
        }
    }
    Ok(files)
}

/// A blob's own time says nothing; the kernel's says when it was stored or last linked.
fn stored_at(metadata: &Metadata) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(metadata.ctime().try_into().unwrap_or_default())
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The digest that a blob's name and size say.
fn digest_of(path: &Path, metadata: &Metadata) -> Option<Digest> {
    let name = name_of(path);
    let hex = format!("{}{}", name_of(path.parent()?), name.strip_suffix(".x").unwrap_or(&name));
    Digest::from_hex(&hex, metadata.len()).ok()
}

fn remove(path: &Path) -> Result<(), StoreError> {
    Ok(std::fs::remove_file(path).map_err(at("remove", path))?)
}

//! A repository's folder in, its newest metadata out.
//!
//! Invariant: what is read here is what `timestamp.json` leads to, and follows from the first root; files of a publish that was
//! interrupted are not looked at.

use super::trust::{self, Incoming, Pins};
use super::{in_file, Days, RepositoryError, METADATA, TARGETS};
use crate::io::file::{self, at};
use osbuild_tuf::metadata::{Metadata, Root, Signed, Snapshot, Targets, Timestamp};
use rustix::fs::{flock, FlockOperation};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Of one file.
pub(super) const LIMIT_BYTES: usize = 16 << 20;
/// A timer that renews what expires must not fail for a publish that is nearly done, nor hang behind one that hangs.
#[cfg(not(test))]
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
#[cfg(test)]
pub(super) const PATIENCE: Duration = Duration::from_millis(300);
const BETWEEN_TRIES: Duration = Duration::from_millis(100);
/// Where the root keeps [`Days`].
pub(super) const DAYS: &str = "x-osbuild-days";

/// The newest state of a repository, which nobody else changes while this value lives.
pub struct Repository {
    pub folder: PathBuf,
    pub root: Signed<Root>,
    pub targets: Signed<Targets>,
    pub snapshot: Signed<Snapshot>,
    pub timestamp: Signed<Timestamp>,
    /// By name of the delegated role.
    pub delegated: BTreeMap<String, Signed<Targets>>,
    _lock: File,
}

/// What a repository is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Together with others who read.
    Read,
    Change,
}

impl Repository {
    /// Consistent from its first root on, which nothing vouches for: who signs takes [`Repository::open_pinned`].
    pub fn open(folder: &Path) -> Result<Repository, RepositoryError> {
        Repository::open_by(folder, Access::Change, None, None)
    }

    /// The same for whoever only looks.
    pub fn open_to_read(folder: &Path) -> Result<Repository, RepositoryError> {
        Repository::open_by(folder, Access::Read, None, None)
    }

    /// For whoever signs: the first root is one that `pins` hold. After a rotation without lost keys was killed, the keys of
    /// `incoming` may have signed already.
    ///
    /// Fails with [`RepositoryError::Unpinned`] when nothing vouches for the roots, with [`RepositoryError::Distrusted`] at
    /// the first file that does not follow from them. Source: The Update Framework 1.0.34, section 5, but for expiry.
    pub fn open_pinned(folder: &Path, pins: &Pins, incoming: Option<&Incoming>) -> Result<Repository, RepositoryError> {
        Repository::open_by(folder, Access::Change, Some(pins), incoming)
    }

    fn open_by(
        folder: &Path,
        access: Access,
        pins: Option<&Pins>,
        incoming: Option<&Incoming>,
    ) -> Result<Repository, RepositoryError> {
        if !folder.join(METADATA).join("timestamp.json").exists() {
            return Err(RepositoryError::None(folder.to_owned()));
        }
        let lock = lock(folder, access, PATIENCE)?;
        let root = trust::chain(folder, last_root(folder)?, pins, |name| read(folder, name))?;
        let timestamp: Signed<Timestamp> = read(folder, "timestamp.json")?;
        trust::is_of_role("timestamp.json", &timestamp, &root.signed, incoming)?;
        let Some(described) = timestamp.signed.snapshot() else {
            return super::wrong("`timestamp.json` of the repository names no snapshot");
        };
        let name = format!("{}.snapshot.json", described.version);
        let (snapshot, bytes): (Signed<Snapshot>, _) = read_with_bytes(folder, &name)?;
        trust::is_of_role(&name, &snapshot, &root.signed, incoming)?;
        trust::is_described(&name, &bytes, snapshot.signed.version, described)?;
        let mut delegated = BTreeMap::new();
        let mut targets = None;
        for (name, meta) in &snapshot.signed.meta {
            let file = format!("{}.{name}", meta.version);
            let (found, bytes): (Signed<Targets>, _) = read_with_bytes(folder, &file)?;
            trust::is_described(&file, &bytes, found.signed.version, meta)?;
            match name.strip_suffix(".json") {
                Some("targets") => {
                    trust::is_of_role(&file, &found, &root.signed, incoming)?;
                    targets = Some(found);
                }
                Some(role) => drop(delegated.insert(role.to_owned(), found)),
                None => {
                    return super::wrong(format!("the snapshot names `{}`, which is no metadata", name.escape_debug()))
                }
            }
        }
        let targets =
            targets.ok_or_else(|| RepositoryError::Wrong("the snapshot does not name the targets".to_owned()))?;
        let delegated = trust::delegated(&targets.signed, delegated)?;
        Ok(Repository { folder: folder.to_owned(), root, targets, snapshot, timestamp, delegated, _lock: lock })
    }

    /// For how long signatures are to be good.
    pub fn days(&self) -> Days {
        let found = self.root.signed.extra.get(DAYS).cloned();
        found.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default()
    }

    pub fn target_path(&self, name: &str, sha256: &str) -> PathBuf {
        self.folder.join(TARGETS).join(format!("{sha256}.{name}"))
    }
}

/// Held by whoever reads the repository, with others, or changes it, alone. Who has to wait does so for at most `patience`.
pub(super) fn lock(folder: &Path, access: Access, patience: Duration) -> Result<File, RepositoryError> {
    let lock = file::open(folder)?;
    let operation = match access {
        Access::Read => FlockOperation::NonBlockingLockShared,
        Access::Change => FlockOperation::NonBlockingLockExclusive,
    };
    let deadline = Instant::now() + patience;
    loop {
        match flock(&lock, operation) {
            Ok(()) => return Ok(lock),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(BETWEEN_TRIES),
            Err(Errno::WOULDBLOCK) => return Err(RepositoryError::Busy(folder.to_owned(), patience)),
            Err(error) => return Err(at("lock", folder)(error.into()).into()),
        }
    }
}

/// Parses and validates; who signed it is looked at elsewhere.
pub(super) fn read<T: Metadata>(folder: &Path, name: &str) -> Result<Signed<T>, RepositoryError> {
    read_with_bytes(folder, name).map(|(signed, _)| signed)
}

fn read_with_bytes<T: Metadata>(folder: &Path, name: &str) -> Result<(Signed<T>, Vec<u8>), RepositoryError> {
    let bytes = file::read(&folder.join(METADATA).join(name), LIMIT_BYTES as u64)?;
    Ok((Signed::from_json(&bytes, LIMIT_BYTES).map_err(in_file(name))?, bytes))
}

fn last_root(folder: &Path) -> Result<u64, RepositoryError> {
    let names = file::list(&folder.join(METADATA))?;
    let versions = names.iter().filter_map(|name| name.strip_suffix(".root.json")?.parse::<u64>().ok());
    versions.max().ok_or_else(|| RepositoryError::None(folder.to_owned()))
}

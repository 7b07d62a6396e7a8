//! The client's workflow: refresh, search, download.
//!
//! Source: The Update Framework 1.0.34, section 5. Invariant: each step uses only what the steps before it trusted, and the
//! time is that of the start of the refresh all the way.

mod refresh;
mod search;
mod target;

use crate::error::UpdateError;
use crate::fetch::{FetchError, Fetcher};
use crate::metadata::{Keys, Metadata, RoleKeys, Root, Signed, Snapshot, Targets, Timestamp, TopLevel};
use crate::store::Store;
use crate::Time;
use std::collections::BTreeMap;

/// What a repository may make a client do at most. Lengths are in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub root_length: u64,
    pub timestamp_length: u64,
    pub snapshot_length: u64,
    pub targets_length: u64,
    /// New roots in one refresh.
    pub root_rotations: u64,
    /// Roles that are asked for one target.
    pub delegations: usize,
}

impl Default for Limits {
    /// Wide enough for the large public repositories.
    fn default() -> Limits {
        Limits {
            root_length: 512_000,
            timestamp_length: 16_384,
            snapshot_length: 2_000_000,
            targets_length: 5_000_000,
            root_rotations: 256,
            delegations: 32,
        }
    }
}

impl Limits {
    /// For a device: 1 MB of targets takes 6 MB of memory while it is read, measured with `tuf-client`.
    pub fn device() -> Limits {
        Limits { root_length: 128 << 10, snapshot_length: 128 << 10, targets_length: 1 << 20, ..Limits::default() }
    }
}

/// One repository, as far as it is trusted.
pub struct Updater<F, S> {
    fetcher: F,
    store: S,
    limits: Limits,
    /// The root was given, and so each root on the way from it is kept.
    keeps_history: bool,
    now: Time,
    root: Root,
    timestamp: Option<Timestamp>,
    snapshot: Option<Snapshot>,
    /// By all roles from the root to the one itself: what one role vouches for, another may not.
    targets: BTreeMap<Vec<String>, Targets>,
}

impl<F: Fetcher, S: Store> Updater<F, S> {
    /// Begins with the root that was trusted last, `root.json` of the store. No requests are made.
    pub fn from_store(store: S, fetcher: F, limits: Limits) -> Result<Self, UpdateError> {
        let stored = store.load("root.json", limits.root_length).map_err(|source| in_store("root.json", source))?;
        let bytes = stored.ok_or(UpdateError::NoRoot)?;
        Ok(Updater::new(store, fetcher, limits, read_root(&bytes, &limits)?, false))
    }

    /// Begins with a root that something else vouches for, such as a verified image, and trusts those in the store only as far
    /// as they follow from it: whoever can write to the store gains nothing. No requests are made.
    pub fn from_root(root: &[u8], store: S, fetcher: F, limits: Limits) -> Result<Self, UpdateError> {
        let mut updater = Updater::new(store, fetcher, limits, read_root(root, &limits)?, true);
        for _ in 0..limits.root_rotations {
            let file = updater.history_file();
            let Ok(Some(bytes)) = updater.store.load(&file, limits.root_length) else { break };
            let Ok(next) = updater.read_next_root(&bytes) else { break };
            updater.root = next;
        }
        Ok(updater)
    }

    fn new(store: S, fetcher: F, limits: Limits, root: Root, keeps_history: bool) -> Self {
        Updater {
            fetcher,
            store,
            limits,
            keeps_history,
            now: Time::from_seconds(0),
            root,
            timestamp: None,
            snapshot: None,
            targets: BTreeMap::new(),
        }
    }

    /// The root that is trusted now.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The top-level targets, once they are refreshed.
    pub fn targets(&self) -> Option<&Targets> {
        self.targets.get(&top_level())
    }

    /// When the first of the four files expires, once they are refreshed.
    pub fn expires(&self) -> Option<Time> {
        let (timestamp, snapshot) = (self.timestamp.as_ref()?.expires, self.snapshot.as_ref()?.expires);
        Some(self.root.expires.min(timestamp).min(snapshot).min(self.targets()?.expires))
    }

    /// A stored file that still can be trusted. A damaged one is as good as none.
    fn stored<T: Metadata>(&self, role: TopLevel, limit: u64) -> Option<T> {
        let file = format!("{role}.json");
        let bytes = self.store.load(&file, limit).ok()??;
        self.read_top_level(role, &file, &bytes, limit).ok()
    }

    fn read_top_level<T: Metadata>(
        &self,
        role: TopLevel,
        file: &str,
        bytes: &[u8],
        limit: u64,
    ) -> Result<T, UpdateError> {
        let keys = self.root.role(role);
        read(file, bytes, limit, TopLevel::Root.name(), &self.root.keys, keys)
    }

    fn fetch(&mut self, file: &str, limit: u64) -> Result<Vec<u8>, UpdateError> {
        let fetched = self.fetcher.metadata(file, limit).and_then(|bytes| match bytes.len() as u64 > limit {
            true => Err(FetchError::TooLong(limit)),
            false => Ok(bytes),
        });
        fetched.map_err(|source| UpdateError::Fetch { file: file.to_owned(), source })
    }

    fn save(&mut self, file: &str, bytes: &[u8]) -> Result<(), UpdateError> {
        self.store.save(file, bytes).map_err(|source| in_store(file, source))
    }

    fn unexpired(&self, file: &str, expires: Time) -> Result<(), UpdateError> {
        match self.now < expires {
            true => Ok(()),
            false => Err(UpdateError::Expired { file: file.to_owned(), expires, now: self.now }),
        }
    }

    /// Name of the next root in the store.
    fn history_file(&self) -> String {
        format!("root_history/{}.root.json", self.root.version.saturating_add(1))
    }
}

/// Who vouches for the top-level targets, and they.
fn top_level() -> Vec<String> {
    vec![TopLevel::Root.name().to_owned(), TopLevel::Targets.name().to_owned()]
}

fn in_store(file: &str, source: std::io::Error) -> UpdateError {
    UpdateError::Store { file: file.to_owned(), source }
}

/// A root that vouches for itself.
fn read_root(bytes: &[u8], limits: &Limits) -> Result<Root, UpdateError> {
    let parsed = parse::<Root>("root.json", bytes, limits.root_length)?;
    signed_by(&parsed, "root.json", &parsed.signed)?;
    Ok(parsed.signed)
}

/// `signed` has to be signed by the root role of `root`.
fn signed_by(signed: &Signed<Root>, file: &str, root: &Root) -> Result<(), UpdateError> {
    trusted(signed, file, TopLevel::Root.name(), &root.keys, root.role(TopLevel::Root))
}

fn parse<T: Metadata>(file: &str, bytes: &[u8], limit: u64) -> Result<Signed<T>, UpdateError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    Signed::from_json(bytes, limit).map_err(|source| UpdateError::Metadata { file: file.to_owned(), source })
}

fn trusted<T: Metadata>(
    signed: &Signed<T>,
    file: &str,
    delegator: &str,
    keys: &Keys,
    role: Option<&RoleKeys>,
) -> Result<(), UpdateError> {
    match role.is_some_and(|role| signed.is_trusted(keys, role)) {
        true => Ok(()),
        false => Err(UpdateError::Untrusted { file: file.to_owned(), delegator: delegator.to_owned() }),
    }
}

fn read<T: Metadata>(
    file: &str,
    bytes: &[u8],
    limit: u64,
    delegator: &str,
    keys: &Keys,
    role: Option<&RoleKeys>,
) -> Result<T, UpdateError> {
    let parsed = parse(file, bytes, limit)?;
    trusted(&parsed, file, delegator, keys, role)?;
    Ok(parsed.signed)
}

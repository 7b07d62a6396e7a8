//! Root, timestamp, snapshot and top-level targets, in this order, each checked by those before it.
//!
//! Source: The Update Framework 1.0.34, sections 5.3 to 5.6. Invariant: a file is saved only after every check of it that the
//! specification has before saving, and requests are made in the order of the specification and no others.

use super::{parse, signed_by, top_level, Updater};
use crate::check::check_metadata;
use crate::error::UpdateError;
use crate::fetch::{FetchError, Fetcher};
use crate::metadata::{MetaFile, Root, Snapshot, Timestamp, TopLevel};
use crate::store::Store;
use crate::Time;

impl<F: Fetcher, S: Store> Updater<F, S> {
    /// Brings the top-level metadata up to date. `now` is the time that nothing may have expired at; a device whose clock is not
    /// certain passes a floor below which no clock is believed.
    pub fn refresh(&mut self, now: Time) -> Result<(), UpdateError> {
        self.now = now;
        self.timestamp = None;
        self.snapshot = None;
        self.targets.clear();
        self.refresh_root()?;
        let timestamp = self.refresh_timestamp()?;
        let described =
            timestamp.snapshot().cloned().ok_or_else(|| UpdateError::NotInSnapshot("snapshot".to_owned()))?;
        self.timestamp = Some(timestamp);
        self.snapshot = Some(self.refresh_snapshot(&described)?);
        self.load_targets(&top_level())?;
        Ok(())
    }

    /// Section 5.3.
    fn refresh_root(&mut self) -> Result<(), UpdateError> {
        for _ in 0..self.limits.root_rotations {
            let Some(version) = self.root.version.checked_add(1) else { break };
            let file = format!("{version}.root.json");
            let bytes = match self.fetch(&file, self.limits.root_length) {
                Err(UpdateError::Fetch { source: FetchError::Missing, .. }) => break,
                fetched => fetched?,
            };
            let next = self.read_next_root(&bytes)?;
            self.forget_fast_forwarded(&next)?;
            if self.keeps_history {
                self.save(&self.history_file(), &bytes)?;
            }
            self.save("root.json", &bytes)?;
            self.root = next;
        }
        self.unexpired("root.json", self.root.expires)
    }

    /// Signed by the keys of the root before it and by its own, and exactly one version later. Sections 5.3.4 and 5.3.5.
    pub(super) fn read_next_root(&self, bytes: &[u8]) -> Result<Root, UpdateError> {
        let wanted = self.root.version.saturating_add(1);
        let file = format!("{wanted}.root.json");
        let next = parse::<Root>(&file, bytes, self.limits.root_length)?;
        signed_by(&next, &file, &self.root)?;
        signed_by(&next, &file, &next.signed)?;
        match next.signed.version {
            found if found == wanted => Ok(next.signed),
            found => Err(UpdateError::Version { file, wanted, found }),
        }
    }

    /// A stolen key may have signed a version that is never reached again. Section 5.3.11. Before the new root is saved: after
    /// a power cut between both, this is done again.
    fn forget_fast_forwarded(&mut self, next: &Root) -> Result<(), UpdateError> {
        let online = [TopLevel::Timestamp, TopLevel::Snapshot];
        if online.iter().any(|role| next.has_rotated(&self.root, *role)) {
            for role in online {
                let file = format!("{role}.json");
                self.store.remove(&file).map_err(|source| UpdateError::Store { file, source })?;
            }
        }
        Ok(())
    }

    /// Section 5.4.
    fn refresh_timestamp(&mut self) -> Result<Timestamp, UpdateError> {
        let (role, file, limit) = (TopLevel::Timestamp, "timestamp.json", self.limits.timestamp_length);
        let old: Option<Timestamp> = self.stored(role, limit);
        let bytes = self.fetch(file, limit)?;
        let new: Timestamp = self.read_top_level(role, file, &bytes, limit)?;
        let Some(old) = old else { return self.keep_timestamp(new, &bytes) };
        not_back(file, old.version, new.version)?;
        if new.version == old.version {
            self.unexpired(file, old.expires)?;
            return Ok(old);
        }
        let snapshot = |timestamp: &Timestamp| timestamp.snapshot().map_or(0, |file| file.version);
        not_back("snapshot.json", snapshot(&old), snapshot(&new))?;
        self.keep_timestamp(new, &bytes)
    }

    fn keep_timestamp(&mut self, new: Timestamp, bytes: &[u8]) -> Result<Timestamp, UpdateError> {
        self.unexpired("timestamp.json", new.expires)?;
        self.save("timestamp.json", bytes)?;
        Ok(new)
    }

    /// Section 5.5.
    fn refresh_snapshot(&mut self, described: &MetaFile) -> Result<Snapshot, UpdateError> {
        let (role, limit) = (TopLevel::Snapshot, self.limits.snapshot_length);
        let old: Option<Snapshot> = self.stored(role, limit);
        let old = match old {
            Some(old) if old.version == described.version && self.now < old.expires => return Ok(old),
            old => old,
        };
        let file = self.metadata_file(role.name(), described.version);
        let bytes = self.fetch(&file, described.length.unwrap_or(limit).min(limit))?;
        check_metadata(described, &bytes).map_err(|source| UpdateError::Mismatch { file: file.clone(), source })?;
        let new: Snapshot = self.read_top_level(role, &file, &bytes, limit)?;
        if new.version != described.version {
            return Err(UpdateError::Version { file, wanted: described.version, found: new.version });
        }
        for (name, old) in old.iter().flat_map(|old| &old.meta) {
            let found = new.meta.get(name).ok_or_else(|| UpdateError::Removed(name.clone()))?;
            not_back(name, old.version, found.version)?;
        }
        self.unexpired(&file, new.expires)?;
        self.save("snapshot.json", &bytes)?;
        Ok(new)
    }
}

fn not_back(file: &str, trusted: u64, found: u64) -> Result<(), UpdateError> {
    match found < trusted {
        true => Err(UpdateError::Rollback { file: file.to_owned(), trusted, found }),
        false => Ok(()),
    }
}

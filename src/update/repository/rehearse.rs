//! A repository and keys in, whether devices would follow a change of each role's keys out.
//!
//! Invariant: nothing that is signed here gets to a disk. Real keys sign roots that lead to keys which nobody keeps; a device that
//! saw one of them, expired or not, would be cut off for ever.

use super::check::first_root;
use super::open::LIMIT_BYTES;
use super::write::Batch;
use super::{in_file, wrong, Keyring, Repository, RepositoryError, METADATA};
use crate::io::file;
use crate::release::signer::Signer;
use ed25519_dalek::SigningKey;
use osbuild_tuf::metadata::{Metadata, Signed, TopLevel};
use osbuild_tuf::{FetchError, Fetcher, Limits, MemoryStore, Store, Time, Updater};
use rand_core::OsRng;
use std::collections::BTreeMap;
use std::io::Write;

/// A repository's files of metadata.
#[derive(Clone, Default)]
struct Site(MemoryStore);

impl Fetcher for Site {
    fn metadata(&mut self, name: &str, limit_bytes: u64) -> Result<Vec<u8>, FetchError> {
        let found = self.0.load(name, limit_bytes).map_err(|_| FetchError::TooLong(limit_bytes))?;
        found.ok_or(FetchError::Missing)
    }

    fn target(&mut self, _: &str, _: u64, _: &mut dyn Write) -> Result<(), FetchError> {
        Err(FetchError::Missing)
    }
}

/// Changes each role's keys, with keys made for it, on a copy of the metadata of `repository`, and lets a client of the first root
/// and one that has seen each step follow. Says what was done.
pub fn rehearse(mut repository: Repository, keyring: &mut Keyring, now: Time) -> Result<Vec<String>, RepositoryError> {
    let site = Site::default();
    let folder = repository.folder.join(METADATA);
    for name in file::list(&folder)?.into_iter().filter(|name| name.ends_with(".json")) {
        let bytes = file::read(&folder.join(&name), LIMIT_BYTES as u64)?;
        site.0.insert(&name, bytes);
    }
    let (root, follower) = (first_root(&repository.folder)?, MemoryStore::default());
    let follow = |device: &MemoryStore| -> Result<u64, RepositoryError> {
        let mut client = Updater::from_root(&root, device.clone(), site.clone(), Limits::device())?;
        client.refresh(now)?;
        Ok(client.root().version)
    };
    let mut lines = vec![format!("before: a device follows to root {}", follow(&follower)?)];
    for role in TopLevel::ALL {
        let name = format!("rehearsal-{role}");
        keyring.add(Signer::of_ed25519(&name, SigningKey::generate(&mut OsRng)));
        let has = repository.role_with(role, &[], &[], None, keyring)?;
        let leaves: Vec<String> = has.keys.first().cloned().into_iter().collect();
        let spec = repository.role_with(role, &[name], &leaves, None, keyring)?;
        let (batch, version) = repository.rotation(&BTreeMap::from([(role, spec)]), &[], keyring, now)?;
        repository.take(batch, &site)?;
        for device in [&follower, &MemoryStore::default()] {
            let reached = follow(device)?;
            if reached != version {
                return wrong(format!(
                    "a device reached root {reached} instead of {version} after new keys for {role}"
                ));
            }
        }
        let batch = repository.renewal(&[], keyring, now)?;
        repository.take(batch, &site)?;
        follow(&follower)?;
        lines.push(format!("{role}: a key replaced, old and new devices follow to root {version}"));
    }
    Ok(lines)
}

impl Repository {
    /// Goes on from what was signed, as if it had been written.
    fn take(&mut self, batch: Batch, site: &Site) -> Result<(), RepositoryError> {
        for (name, bytes) in batch.into_files()? {
            match name.trim_end_matches(".json").rsplit('.').next() {
                Some("root") => self.root = parsed(&name, &bytes)?,
                Some("targets") => self.targets = parsed(&name, &bytes)?,
                Some("snapshot") => self.snapshot = parsed(&name, &bytes)?,
                Some("timestamp") => self.timestamp = parsed(&name, &bytes)?,
                _ => return wrong(format!("a rehearsal signs nothing for `{}`", name.escape_debug())),
            }
            site.0.insert(&name, bytes);
        }
        Ok(())
    }
}

fn parsed<T: Metadata>(name: &str, bytes: &[u8]) -> Result<Signed<T>, RepositoryError> {
    Signed::from_json(bytes, LIMIT_BYTES).map_err(in_file(name))
}

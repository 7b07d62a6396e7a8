//! Metadata and a keyring in, files with enough signatures out.
//!
//! Invariant: nothing is written before every file of the change is signed by as many keys as its roles ask for; no file is longer
//! than devices read.

use super::{in_file, wrong, Keyring, RepositoryError, METADATA, TARGETS};
use crate::io::file::{self, at, FileError, PENDING};
use osbuild_tuf::metadata::{Keys, Metadata, RoleKeys, Signed, TopLevel};
use osbuild_tuf::Limits;
use std::path::Path;

/// Who has to sign.
pub(super) struct Signatories<'a> {
    pub role: &'a str,
    pub keys: &'a Keys,
    pub wanted: &'a RoleKeys,
}

/// Files in the order in which they appear.
#[derive(Default)]
pub(super) struct Batch {
    files: Vec<(String, Vec<u8>)>,
    /// Others have to sign first; the rest of the change is signed nevertheless, so that one request asks for all.
    wanted: Option<RepositoryError>,
}

impl Batch {
    /// Signs and keeps `signed` under `name`. Signatures that it has stay.
    pub fn sign<T: Metadata>(
        &mut self,
        name: &str,
        mut signed: Signed<T>,
        by: &[Signatories],
        keyring: &Keyring,
    ) -> Result<(), RepositoryError> {
        let ids = by.iter().flat_map(|by| &by.wanted.keyids);
        let (mut seen, mut missing) = (Vec::new(), None);
        for id in ids {
            let Some(signer) = keyring.by_id(id).filter(|_| !seen.contains(id)) else { continue };
            seen.push(id.clone());
            match signer.sign(&format!("{name} of a repository"), signed.message()) {
                Ok(signature) => signed.attach(id, &signature),
                Err(error) if error.is_wanted() => missing = Some(error.into()),
                Err(error) => return Err(error.into()),
            }
        }
        for by in by {
            let valid = signed.count_valid(by.keys, by.wanted);
            let enough = u32::try_from(valid).is_ok_and(|valid| valid >= by.wanted.threshold);
            if !enough {
                // With enough of them, nobody has to wait for the others.
                let Some(missing) = missing.take() else {
                    let (role, wanted) = (by.role.to_owned(), by.wanted.threshold);
                    return Err(RepositoryError::Threshold { role, signed: valid, wanted });
                };
                self.wanted = Some(missing);
                break;
            }
        }
        let bytes = signed.to_json().map_err(in_file(name))?;
        let limit = limit_bytes(T::TYPE);
        if bytes.len() as u64 > limit {
            return wrong(format!(
                "`{name}` would have {} bytes, and a device reads at most {limit}: nothing is published",
                bytes.len()
            ));
        }
        self.files.push((name.to_owned(), bytes));
        Ok(())
    }

    /// What was signed under that name; nothing when none was.
    pub fn bytes_of(&self, name: &str) -> Vec<u8> {
        let found = self.files.iter().find(|(file, _)| file == name);
        found.map(|(_, bytes)| bytes.clone()).unwrap_or_default()
    }

    /// What is to be written, when nobody else has to sign first.
    pub fn into_files(self) -> Result<Vec<(String, Vec<u8>)>, RepositoryError> {
        self.wanted.map_or(Ok(self.files), Err)
    }

    /// Writes the files, one after the other, and brings them to the disk before the last appears.
    pub fn commit(self, folder: &Path) -> Result<(), RepositoryError> {
        let files = self.into_files()?;
        sweep(folder)?;
        let metadata = folder.join(METADATA);
        for (name, bytes) in &files {
            file::write_atomic(&metadata.join(name), bytes, 0o644)?;
            sync(&metadata)?;
        }
        Ok(())
    }
}

/// Every device would refuse a longer file, and the publisher would be the last to know.
fn limit_bytes(role: TopLevel) -> u64 {
    let limits = Limits::device();
    match role {
        TopLevel::Root => limits.root_length,
        TopLevel::Targets => limits.targets_length,
        TopLevel::Snapshot => limits.snapshot_length,
        TopLevel::Timestamp => limits.timestamp_length,
    }
}

/// Removes what commands left that were killed before a file got its name: it would travel to every mirror.
fn sweep(folder: &Path) -> Result<(), RepositoryError> {
    for folder in [METADATA, TARGETS].map(|name| folder.join(name)).iter().filter(|folder| folder.is_dir()) {
        for name in file::list(folder)?.iter().filter(|name| name.starts_with(PENDING)) {
            let path = folder.join(name);
            std::fs::remove_file(&path).map_err(at("remove", &path))?;
        }
    }
    Ok(())
}

/// Brings a folder's names to the disk.
pub(super) fn sync(folder: &Path) -> Result<(), FileError> {
    file::open(folder)?.sync_all().map_err(at("sync", folder))
}

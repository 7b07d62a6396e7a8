//! Files of payloads that were made elsewhere, and a repository, in; the payloads at their places out.
//!
//! Invariant: nothing is asked of them that is not asked of those that are made here: a device's own code has installed each on the
//! release that it starts from, and no delta is larger than the full payload.

use super::publish::{described, Placing, Published, Subject};
use super::release::ReleaseImages;
use super::repository::target::{read_payload, Described};
use super::repository::Repository;
use super::simulate::Running;
use super::UpdateError;
use osbuild_format::dsse::VerifyingKey;
use osbuild_tuf::metadata::Targets;
use std::path::{Path, PathBuf};

pub struct Given<'a> {
    pub repository: &'a Repository,
    /// Signed their headers.
    pub key: &'a VerifyingKey,
    /// As it is for their version, or all of the devices, unless told.
    pub rollout_percent: Option<u8>,
}

impl Given<'_> {
    /// Adds the payloads to `targets`, those that are full first: deltas are compared with them.
    pub fn add(&self, paths: &[PathBuf], targets: &mut Targets) -> Result<Vec<Published>, UpdateError> {
        let mut published = Vec::new();
        for full in [true, false] {
            for path in paths {
                let (bytes, payload) = read_payload(path, self.key)?;
                if payload.header.from.is_none() == full {
                    published.push(self.one(path, &bytes, &payload, targets)?);
                }
            }
        }
        Ok(published)
    }

    fn one(
        &self,
        path: &Path,
        bytes: &[u8],
        payload: &Described,
        targets: &mut Targets,
    ) -> Result<Published, UpdateError> {
        let header = &payload.header;
        let subject = Subject { product: &header.product, machine: &header.machine, release: &header.to };
        let known = described(targets);
        subject.follows(&known, targets)?;
        let refused = |why: String| UpdateError::Wrong(format!("`{}` cannot be published: {why}", path.display()));
        let full = |sha256: &str| {
            let mut full = known.iter().filter(|known| subject.is_of(known) && known.custom.from.is_none());
            full.find(|known| known.custom.to == sha256)
        };
        let mut old = None;
        if let Some(from) = &header.from {
            let missing = |version: &str| {
                refused(format!(
                    "it is a delta from {} to {}, and the repository has no full payload of {version}: publish that first",
                    from.version, header.to.version
                ))
            };
            let whole = full(&header.to.esp.sha256).ok_or_else(|| missing(&header.to.version))?;
            let length = bytes.len() as u64;
            if length >= whole.length {
                let of_full = whole.length;
                return Err(refused(format!(
                    "it has {length} bytes, and the full payload no more than that: {of_full}"
                )));
            }
            let before = full(&from.esp.sha256).ok_or_else(|| missing(&from.version))?;
            old = Some(before.images(self.repository, self.key)?);
        }
        let running = Running::of_images(old.as_ref().map(ReleaseImages::images).as_ref())?;
        let percent = self.rollout_percent.or(subject.rollout_percent(&known)).unwrap_or(100);
        Placing { repository: self.repository, key: self.key, percent }.place(bytes, payload, running, targets)
    }
}

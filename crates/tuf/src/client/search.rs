//! The path of a target in, what the most trusted role says of it out.
//!
//! Source: The Update Framework 1.0.34, section 5.6.7. Invariant: roles are asked in the order in which they are delegated to,
//! each before the next and with all that it delegates to, none twice and no more of them than the limit.

use super::{read, top_level, Updater};
use crate::check::check_metadata;
use crate::error::UpdateError;
use crate::fetch::Fetcher;
use crate::metadata::{MetaFile, TargetFile, Targets, TopLevel};
use crate::percent::file_name;
use crate::store::Store;
use std::collections::BTreeSet;

impl<F: Fetcher, S: Store> Updater<F, S> {
    /// None: no role knows it. Fetches metadata of delegated roles as far as they are needed.
    pub fn target(&mut self, path: &str) -> Result<Option<TargetFile>, UpdateError> {
        let mut to_visit = vec![top_level()];
        let mut visited = BTreeSet::new();
        while let Some(chain) = to_visit.pop() {
            // The top-level targets are no delegation.
            if visited.len() > self.limits.delegations {
                break;
            }
            if !visited.insert(chain.last().cloned()) {
                continue;
            }
            let targets = self.load_targets(&chain)?;
            if let Some(found) = targets.targets.get(path) {
                return Ok(Some(found.clone()));
            }
            let mut children = Vec::new();
            let mut terminated = false;
            for child in targets.delegations.iter().flat_map(|delegations| &delegations.roles) {
                if child.covers(path) {
                    children.push(chain.iter().chain([&child.name]).cloned().collect());
                    terminated = child.terminating;
                }
                if terminated {
                    break;
                }
            }
            if terminated {
                to_visit.clear();
            }
            to_visit.extend(children.into_iter().rev());
        }
        Ok(None)
    }

    /// The targets of the last role of `chain`, as those before it vouch for them. Sections 5.6.1 to 5.6.6.
    pub(super) fn load_targets(&mut self, chain: &[String]) -> Result<&Targets, UpdateError> {
        if !self.targets.contains_key(chain) {
            let targets = self.fetch_targets(chain)?;
            self.targets.insert(chain.to_vec(), targets);
        }
        self.targets.get(chain).ok_or(UpdateError::NotRefreshed)
    }

    fn fetch_targets(&mut self, chain: &[String]) -> Result<Targets, UpdateError> {
        let snapshot = self.snapshot.as_ref().ok_or(UpdateError::NotRefreshed)?;
        let role = chain.last().ok_or(UpdateError::NotRefreshed)?;
        let described = snapshot.meta.get(&format!("{role}.json")).cloned();
        let described = described.ok_or_else(|| UpdateError::NotInSnapshot(role.clone()))?;
        let (kept, limit) = (format!("{}.json", file_name(role)), self.limits.targets_length);
        if let Ok(Some(bytes)) = self.store.load(&kept, limit) {
            if let Ok(targets) = self.read_targets(&kept, &bytes, &described, chain) {
                return Ok(targets);
            }
        }
        let file = self.metadata_file(role, described.version);
        let bytes = self.fetch(&file, described.length.unwrap_or(limit).min(limit))?;
        let targets = self.read_targets(&file, &bytes, &described, chain)?;
        self.save(&kept, &bytes)?;
        Ok(targets)
    }

    fn read_targets(
        &self,
        file: &str,
        bytes: &[u8],
        described: &MetaFile,
        chain: &[String],
    ) -> Result<Targets, UpdateError> {
        check_metadata(described, bytes).map_err(|source| UpdateError::Mismatch { file: file.to_owned(), source })?;
        let limit = self.limits.targets_length;
        let targets: Targets = match chain {
            [delegators @ .., delegator, role] if !delegators.is_empty() => {
                let delegator_targets = self.targets.get(&chain[..chain.len() - 1]);
                let delegations = delegator_targets.and_then(|targets| targets.delegations.as_ref());
                let delegations = delegations.ok_or(UpdateError::NotRefreshed)?;
                let keys = delegations.roles.iter().find(|delegated| delegated.name == *role).map(|role| &role.keys);
                read(file, bytes, limit, delegator, &delegations.keys, keys)?
            }
            _ => self.read_top_level(TopLevel::Targets, file, bytes, limit)?,
        };
        if targets.version != described.version {
            let (wanted, found) = (described.version, targets.version);
            return Err(UpdateError::Version { file: file.to_owned(), wanted, found });
        }
        self.unexpired(file, targets.expires)?;
        Ok(targets)
    }

    /// What a file of metadata is called in the repository.
    pub(super) fn metadata_file(&self, role: &str, version: u64) -> String {
        match self.root.consistent_snapshot {
            true => format!("{version}.{}.json", file_name(role)),
            false => format!("{}.json", file_name(role)),
        }
    }
}

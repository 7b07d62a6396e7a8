//! Targets that are to be offered no longer in, metadata without them out.
//!
//! Invariant: a file goes only when the metadata that no longer names it is on the disk, and no other metadata names the file.

use super::target::custom_of;
use super::{wrong, Keyring, Repository, RepositoryError};
use crate::io::file::at;
use osbuild_format::target::TargetCustom;
use osbuild_tuf::metadata::Targets;
use osbuild_tuf::Time;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

/// Where the targets keep which releases were withdrawn: it is for whoever publishes, and says nothing to clients.
const WITHDRAWN: &str = "x-osbuild-withdrawn";

/// A release that was withdrawn, as some devices may still run it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawn {
    pub product: String,
    pub machine: String,
    pub version: String,
    pub epoch: u32,
    /// SHA-256 of its ESP.
    pub to: String,
}

/// All of them; what is not understood was written by a later program, which knows what to make of it.
pub fn withdrawn(targets: &Targets) -> Vec<Withdrawn> {
    let all = targets.extra.get(WITHDRAWN).and_then(Value::as_array);
    all.into_iter().flatten().filter_map(|one| serde_json::from_value(one.clone()).ok()).collect()
}

fn remember(targets: &mut Targets, custom: &TargetCustom) {
    let TargetCustom { product, machine, version, epoch, to, .. } = custom.clone();
    let one = serde_json::to_value(Withdrawn { product, machine, version, epoch, to }).unwrap_or_default();
    let all = targets.extra.entry(WITHDRAWN.to_owned()).or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(all) = all {
        // A release has several payloads.
        if !all.contains(&one) {
            all.push(one);
        }
    }
}

impl Repository {
    /// Takes the targets `names` out of the top-level metadata. Gives the files that nothing names any more.
    pub fn withdraw(&self, names: &[String], keyring: &Keyring, now: Time) -> Result<Vec<PathBuf>, RepositoryError> {
        let mut targets = self.targets.signed.clone();
        let mut files = Vec::new();
        for name in names {
            let Some(target) = targets.targets.remove(name) else {
                return wrong(format!("there is no target `{}`", name.escape_debug()));
            };
            // What is no payload of ours is no release.
            if let Ok(custom) = custom_of(&target) {
                remember(&mut targets, &custom);
            }
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

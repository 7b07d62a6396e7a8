//! What there is to download, and who else may say so.
//!
//! Source: The Update Framework 1.0.34, section 4.5. Invariant: of a valid value, each delegation says by patterns or by
//! prefixes of digests, and not by both, which targets it is for.

use super::{
    matches_pattern, members, rule, shown, Extra, Keys, Metadata, MetadataError, RoleKeys, TopLevel, SPEC_VERSION,
};
use crate::{hex, Time};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    #[serde(rename = "_type")]
    pub kind: String,
    pub spec_version: String,
    pub version: u64,
    pub expires: Time,
    /// By path.
    pub targets: BTreeMap<String, TargetFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegations: Option<Delegations>,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetFile {
    /// In bytes.
    pub length: u64,
    /// Name of the algorithm to hexadecimal digits.
    pub hashes: BTreeMap<String, String>,
    /// What the application wants to know of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<Value>,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegations {
    pub keys: Keys,
    /// In the order in which they are asked.
    #[serde(default)]
    pub roles: Vec<DelegatedRole>,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelegatedRole {
    pub name: String,
    #[serde(flatten)]
    pub keys: RoleKeys,
    /// What this role does not know, no later one is asked for.
    pub terminating: bool,
    /// Patterns in the manner of the shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
    /// Of SHA-256 of the path, hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_hash_prefixes: Option<Vec<String>>,
}

impl Targets {
    pub fn new(version: u64, expires: Time) -> Targets {
        let (kind, spec_version) = (TopLevel::Targets.name().to_owned(), SPEC_VERSION.to_owned());
        Targets {
            kind,
            spec_version,
            version,
            expires,
            targets: BTreeMap::new(),
            delegations: None,
            extra: Extra::new(),
        }
    }
}

impl TargetFile {
    /// Of these bytes.
    pub fn of(bytes: &[u8], custom: Option<Value>) -> TargetFile {
        let hashes = BTreeMap::from([("sha256".to_owned(), hex::encode(&Sha256::digest(bytes)))]);
        TargetFile { length: bytes.len() as u64, hashes, custom, extra: Extra::new() }
    }
}

impl DelegatedRole {
    /// Whether this delegation is for the target at `path`.
    pub fn covers(&self, path: &str) -> bool {
        let digest = || hex::encode(&Sha256::digest(path));
        let patterns = self.paths.iter().flatten();
        let mut prefixes = self.path_hash_prefixes.iter().flatten();
        patterns.into_iter().any(|pattern| matches_pattern(pattern, path))
            || prefixes.any(|prefix| digest().starts_with(&prefix.to_ascii_lowercase()))
    }
}

impl Delegations {
    fn validate(&self) -> Result<(), MetadataError> {
        let mut seen = BTreeSet::new();
        for role in &self.roles {
            let name = shown(&role.name);
            if role.name.is_empty() || TopLevel::ALL.iter().any(|top| top.name() == role.name) {
                return rule(format!("no delegated role can be named `{name}`"));
            }
            if !seen.insert(&role.name) {
                return rule(format!("role `{name}` is delegated to twice"));
            }
            role.keys.validate(&role.name)?;
            if role.paths.is_some() == role.path_hash_prefixes.is_some() {
                return rule(format!("role `{name}` needs either `paths` or `path_hash_prefixes`"));
            }
        }
        Ok(())
    }
}

impl Metadata for Targets {
    const TYPE: TopLevel = TopLevel::Targets;

    members!();

    fn validate(&self) -> Result<(), MetadataError> {
        if let Some((path, _)) = self.targets.iter().find(|(_, file)| file.hashes.is_empty()) {
            return rule(format!("target `{}` has no digest", shown(path)));
        }
        self.delegations.iter().try_for_each(Delegations::validate)
    }
}

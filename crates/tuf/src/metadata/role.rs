//! Keys, and who may sign for a role.
//!
//! Invariant: a threshold that was checked is at least 1, and no key of a role is named twice.

use super::{rule, shown, Extra, MetadataError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Names a key; nothing follows from its digits (TAP 12).
pub type KeyId = String;
pub type Keys = BTreeMap<KeyId, Key>;

/// The roles that each repository has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TopLevel {
    Root,
    Timestamp,
    Snapshot,
    Targets,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// `ed25519`, `ecdsa`, `rsa`, or another one that verifies nothing here.
    pub keytype: String,
    /// `ed25519`, `ecdsa-sha2-nistp256`, `rsassa-pss-sha256`.
    pub scheme: String,
    pub keyval: KeyVal,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyVal {
    /// Hexadecimal digits, or PEM.
    pub public: String,
    #[serde(flatten)]
    pub extra: Extra,
}

/// Who may sign for a role, and how many have to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleKeys {
    pub keyids: Vec<KeyId>,
    pub threshold: u32,
    #[serde(flatten)]
    pub extra: Extra,
}

impl TopLevel {
    pub const ALL: [TopLevel; 4] = [TopLevel::Root, TopLevel::Timestamp, TopLevel::Snapshot, TopLevel::Targets];

    pub fn name(self) -> &'static str {
        match self {
            TopLevel::Root => "root",
            TopLevel::Timestamp => "timestamp",
            TopLevel::Snapshot => "snapshot",
            TopLevel::Targets => "targets",
        }
    }
}

impl fmt::Display for TopLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Key {
    pub fn ed25519(public: &[u8; 32]) -> Key {
        let keyval = KeyVal { public: crate::hex::encode(public), extra: Extra::new() };
        Key { keytype: "ed25519".to_owned(), scheme: "ed25519".to_owned(), keyval, extra: Extra::new() }
    }

    /// What the specification calls a key when nobody chose another name: SHA-256 of its canonical form.
    pub fn id(&self) -> Result<KeyId, MetadataError> {
        use sha2::{Digest, Sha256};
        let canonical = crate::canonical_json(&serde_json::to_value(self)?)?;
        Ok(crate::hex::encode(&Sha256::digest(canonical)))
    }
}

impl RoleKeys {
    pub fn new(keyids: Vec<KeyId>, threshold: u32) -> RoleKeys {
        RoleKeys { keyids, threshold, extra: Extra::new() }
    }

    pub(super) fn validate(&self, role: &str) -> Result<(), MetadataError> {
        if self.threshold == 0 {
            return rule(format!("the threshold of role `{}` is 0", shown(role)));
        }
        match self.keyids.iter().collect::<BTreeSet<_>>().len() == self.keyids.len() {
            true => Ok(()),
            false => rule(format!("role `{}` names a key twice", shown(role))),
        }
    }
}

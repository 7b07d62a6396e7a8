//! Which version of each file belongs to which: the timestamp names the snapshot, the snapshot all files of targets.
//!
//! Source: The Update Framework 1.0.34, sections 4.4 and 4.6. Invariant: of a valid value, every version is at least 1, and a
//! timestamp names `snapshot.json` and nothing else.

use super::{members, rule, shown, Extra, Metadata, MetadataError, TopLevel, SPEC_VERSION};
use crate::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What one file says of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetaFile {
    pub version: u64,
    /// In bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// Name of the algorithm to hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hashes: Option<BTreeMap<String, String>>,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    #[serde(rename = "_type")]
    pub kind: String,
    pub spec_version: String,
    pub version: u64,
    pub expires: Time,
    /// By file name without version, such as `targets.json`.
    pub meta: BTreeMap<String, MetaFile>,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timestamp {
    #[serde(rename = "_type")]
    pub kind: String,
    pub spec_version: String,
    pub version: u64,
    pub expires: Time,
    /// `snapshot.json` alone.
    pub meta: BTreeMap<String, MetaFile>,
    #[serde(flatten)]
    pub extra: Extra,
}

const SNAPSHOT_FILE: &str = "snapshot.json";

impl MetaFile {
    pub fn version(version: u64) -> MetaFile {
        MetaFile { version, length: None, hashes: None, extra: Extra::new() }
    }

    fn validate(&self, name: &str) -> Result<(), MetadataError> {
        match self.version {
            0 => rule(format!("the version of `{}` is 0", shown(name))),
            _ => Ok(()),
        }
    }
}

impl Snapshot {
    pub fn new(version: u64, expires: Time, meta: BTreeMap<String, MetaFile>) -> Snapshot {
        let (kind, spec_version) = (TopLevel::Snapshot.name().to_owned(), SPEC_VERSION.to_owned());
        Snapshot { kind, spec_version, version, expires, meta, extra: Extra::new() }
    }
}

impl Timestamp {
    pub fn new(version: u64, expires: Time, snapshot: MetaFile) -> Timestamp {
        let (kind, spec_version) = (TopLevel::Timestamp.name().to_owned(), SPEC_VERSION.to_owned());
        let meta = BTreeMap::from([(SNAPSHOT_FILE.to_owned(), snapshot)]);
        Timestamp { kind, spec_version, version, expires, meta, extra: Extra::new() }
    }

    /// None only of a timestamp that is not valid.
    pub fn snapshot(&self) -> Option<&MetaFile> {
        self.meta.get(SNAPSHOT_FILE)
    }
}

impl Metadata for Snapshot {
    const TYPE: TopLevel = TopLevel::Snapshot;

    members!();

    fn validate(&self) -> Result<(), MetadataError> {
        self.meta.iter().try_for_each(|(name, file)| file.validate(name))
    }
}

impl Metadata for Timestamp {
    const TYPE: TopLevel = TopLevel::Timestamp;

    members!();

    fn validate(&self) -> Result<(), MetadataError> {
        match self.snapshot() {
            Some(file) if self.meta.len() == 1 => file.validate(SNAPSHOT_FILE),
            _ => rule(format!("a timestamp names `{SNAPSHOT_FILE}` and nothing else")),
        }
    }
}

//! The files of a repository to and from JSON: root, timestamp, snapshot and targets, each in its envelope of signatures.
//!
//! Source: The Update Framework specification 1.0.34, section 4. Members that are not known here are kept, so that what was
//! read can be written again. Invariant: signatures are over the canonical form of `signed` as it was received, and a value
//! that came out of [`Signed::from_json`] keeps the rules that the specification gives for its role.

mod pattern;
mod role;
mod root;
mod signed;
mod snapshot;
mod targets;

#[cfg(test)]
mod tests;

pub use pattern::matches_pattern;
pub use role::{Key, KeyId, KeyVal, Keys, RoleKeys, TopLevel};
pub use root::Root;
use signed::members;
pub use signed::{Metadata, Signature, Signed};
pub use snapshot::{MetaFile, Snapshot, Timestamp};
pub use targets::{DelegatedRole, Delegations, TargetFile, Targets};

use serde_json::Value;
use std::collections::BTreeMap;

/// What is written; any other of the same major version is read.
pub const SPEC_VERSION: &str = "1.0.34";

/// Members that are not known here.
pub type Extra = BTreeMap<String, Value>;

#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    #[error("it has {bytes} bytes; the limit is {limit}")]
    TooLong { bytes: usize, limit: usize },
    #[error("it is not valid JSON of the expected shape")]
    Shape(#[from] serde_json::Error),
    #[error(transparent)]
    Canonical(#[from] crate::CanonicalError),
    #[error("it is metadata of another type than `{wanted}`: {found}")]
    Type { wanted: &'static str, found: String },
    #[error("it is of a version of the specification that this client does not know: {0}")]
    SpecVersion(String),
    #[error("key `{0}` signs it twice")]
    DuplicateSignature(KeyId),
    #[error("it breaks a rule: {0}")]
    Rule(String),
}

fn rule<T>(text: impl Into<String>) -> Result<T, MetadataError> {
    Err(MetadataError::Rule(text.into()))
}

/// Text of a stranger, for a message.
fn shown(text: &str) -> String {
    text.chars().take(80).collect::<String>().escape_debug().to_string()
}

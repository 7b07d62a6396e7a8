//! What an image is made of, as an in-toto statement (in-toto Attestation Framework, "Statement" v1).
//!
//! Invariant: equal images give equal bytes; every file beside the manifest is a subject of it.

use crate::image::erofs::Layout;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// Names the form of [`Predicate`]; its fields are those of the type.
const PREDICATE: &str = "tag:osbuild,2026:image-manifest/v1";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    #[serde(rename = "_type")]
    pub kind: String,
    pub subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    pub predicate: Predicate,
}

/// One file beside the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    pub name: String,
    /// `sha256` to hex.
    pub digest: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predicate {
    pub product: String,
    pub version: String,
    pub machine: String,
    /// A device that has committed one takes no release with a lower one.
    #[serde(default = "first_epoch")]
    pub security_epoch: u32,
    pub architecture: String,
    /// `development` or `production`: whose keys signed it.
    pub keys: String,
    /// Whether it is a product for the field, without a shell or a login.
    pub production: bool,
    pub root_hash: String,
    pub command_line: String,
    /// File name to size.
    pub size_bytes: BTreeMap<String, u64>,
    /// Slot or partition to its size.
    pub partition_bytes: BTreeMap<String, u64>,
    pub packages: Vec<Package>,
    /// Apps of the root, each with packages of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apps: Vec<App>,
    /// What was fetched: SHA-256 to what it is.
    pub sources: BTreeMap<String, String>,
    /// Part of the image to the digest of the action that made it.
    pub actions: BTreeMap<String, String>,
    /// Where the root's files lie, when they follow the release before; none: where `mkfs.erofs` puts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub license: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    pub id: String,
    pub version: String,
    /// SHA-256 of the app's manifest, which names its image.
    pub digest: String,
    pub packages: Vec<Package>,
}

/// Of manifests from before there were updates.
fn first_epoch() -> u32 {
    1
}

#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("the manifest cannot be read")]
    Json(#[from] serde_json::Error),
    #[error("the manifest is of another kind: `{0}`")]
    Kind(String),
    #[error("the manifest has a file name that is not one: `{0}`")]
    Name(String),
    #[error("the manifest names `{0}` twice")]
    Twice(String),
    #[error("the manifest has no SHA-256 for `{0}`")]
    NoDigest(String),
}

impl Statement {
    /// `files`: name to SHA-256 in hex.
    pub fn new(files: &BTreeMap<String, String>, predicate: Predicate) -> Statement {
        let subject = |(name, sha256): (&String, &String)| Subject {
            name: name.clone(),
            digest: BTreeMap::from([("sha256".to_owned(), sha256.clone())]),
        };
        Statement {
            kind: STATEMENT.to_owned(),
            subject: files.iter().map(subject).collect(),
            predicate_type: PREDICATE.to_owned(),
            predicate,
        }
    }

    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers can be written as JSON")
    }

    /// Reads what a trusted key signed; the caller has limited its size.
    pub fn parse(bytes: &[u8]) -> Result<Statement, ManifestError> {
        let statement: Statement = serde_json::from_slice(bytes)?;
        if statement.kind != STATEMENT || statement.predicate_type != PREDICATE {
            return Err(ManifestError::Kind(statement.predicate_type));
        }
        Ok(statement)
    }

    /// File name to SHA-256 in hex; names are plain ones, without a folder.
    pub fn files(&self) -> Result<BTreeMap<&str, &str>, ManifestError> {
        let mut files = BTreeMap::new();
        for subject in &self.subject {
            let plain =
                !subject.name.is_empty() && !subject.name.starts_with('.') && !subject.name.contains(['/', '\0']);
            if !plain {
                return Err(ManifestError::Name(subject.name.clone()));
            }
            let sha256 = subject.digest.get("sha256").ok_or_else(|| ManifestError::NoDigest(subject.name.clone()))?;
            if files.insert(subject.name.as_str(), sha256.as_str()).is_some() {
                return Err(ManifestError::Twice(subject.name.clone()));
            }
        }
        Ok(files)
    }
}

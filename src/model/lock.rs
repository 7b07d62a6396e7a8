//! `osbuild.lock`: the exact bytes of every source and tool package.
//!
//! Invariant: a build reads digests from here and never resolves anything. What passes its `check` is safe as the
//! name of a file and as part of an address.

use super::{Digest, RelPath, ToolTreeName};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// What each tool tree asked for when its packages were resolved.
    pub requests: BTreeMap<ToolTreeName, TreeRequest>,
    /// The Debian packages of each tool tree, sorted by name.
    pub tool_trees: BTreeMap<ToolTreeName, Vec<LockedPackage>>,
    /// Sizes of the sources that recipes name by SHA-256 alone: hex digest to size in bytes.
    pub source_sizes: BTreeMap<String, u64>,
    /// SHA-256 of each `Cargo.lock` when its crates were written down, by its project path; hex digits.
    pub cargo_locks: BTreeMap<String, String>,
    /// The crates behind each `Cargo.lock`, by its project path; sorted by name and version.
    pub crates: BTreeMap<String, Vec<LockedCrate>>,
}

impl Lock {
    /// Everything that it names.
    pub fn digests(&self) -> impl Iterator<Item = Digest> + '_ {
        let packages = self.tool_trees.values().flatten().map(|package| package.digest);
        let sources = self.source_sizes.iter().filter_map(|(hex, size_bytes)| Digest::from_hex(hex, *size_bytes).ok());
        let crates = self.crates.values().flatten().map(|locked| locked.digest);
        packages.chain(sources).chain(crates)
    }
}

/// What the packages of a tool tree follow from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeRequest {
    pub packages: Vec<String>,
    pub exclude: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedPackage {
    pub name: String,
    pub version: String,
    /// Path below the archive's root: `pool/main/g/gcc-12/...deb`.
    pub pool_path: String,
    pub digest: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedCrate {
    pub name: String,
    pub version: String,
    /// Of the `.crate` file.
    pub digest: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLocked {
    #[error("`{0}` is not the name of a Debian package")]
    PackageName(String),
    #[error("`{0}` is not the version of a Debian package")]
    PackageVersion(String),
    #[error("`{0}` is not a path of the Debian archive: it begins with `pool/`")]
    PoolPath(String),
    #[error("`{0}` is not the name of a crate")]
    CrateName(String),
    #[error("`{0}` is not the version of a crate")]
    CrateVersion(String),
}

/// With their ending, a name and a version make one file name of at most 255 bytes.
const LIMIT_NAME_BYTES: usize = 120;

impl LockedPackage {
    /// Debian policy, sections 5.6.1 and 5.6.12.
    pub fn check(&self) -> Result<(), InvalidLocked> {
        if !is_word(&self.name, b"+-.") {
            return Err(InvalidLocked::PackageName(self.name.clone()));
        }
        if !is_word(&self.version, b"+-.:~") {
            return Err(InvalidLocked::PackageVersion(self.version.clone()));
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/+-.:~_%".contains(&b);
        let is_path = self.pool_path.starts_with("pool/") && RelPath::new(&self.pool_path).is_ok();
        match is_path && self.pool_path.bytes().all(plain) {
            true => Ok(()),
            false => Err(InvalidLocked::PoolPath(self.pool_path.clone())),
        }
    }
}

impl LockedCrate {
    pub fn check(&self) -> Result<(), InvalidLocked> {
        check_crate(&self.name, &self.version)
    }
}

/// The names that the registry has, and versions as in Semantic Versioning 2.0.0.
pub fn check_crate(name: &str, version: &str) -> Result<(), InvalidLocked> {
    if !is_word(name, b"-_") {
        return Err(InvalidLocked::CrateName(name.to_owned()));
    }
    if !is_word(version, b"+-.") {
        return Err(InvalidLocked::CrateVersion(version.to_owned()));
    }
    Ok(())
}

/// Letters, digits and some `marks`, of which none comes first.
fn is_word(text: &str, marks: &[u8]) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || marks.contains(&b);
    text.len() <= LIMIT_NAME_BYTES
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || (c == '_' && marks.contains(&b'_')))
        && text.bytes().all(plain)
}

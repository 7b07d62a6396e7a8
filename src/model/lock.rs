//! `osbuild.lock`: the exact bytes of every source and tool package.
//!
//! Invariant: a build reads digests from here and never resolves anything.

use super::{Digest, ToolTreeName};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// The Debian packages of each tool tree, sorted by name.
    pub tool_trees: BTreeMap<ToolTreeName, Vec<LockedPackage>>,
    /// Sizes of the sources that recipes name by SHA-256 alone: hex digest to size in bytes.
    pub source_sizes: BTreeMap<String, u64>,
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

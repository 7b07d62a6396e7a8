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

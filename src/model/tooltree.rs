//! A tool tree: Debian packages that tasks run on, unpacked side by side.
//!
//! Invariant: what is in it is decided by `osbuild.lock`, never by an archive's present state.

use super::lock::TreeRequest;
use super::{Located, Origin, RelPath, ToolTreeName};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub struct ToolTree {
    pub name: ToolTreeName,
    /// Debian packages asked for, as `name` or `name/suite`.
    pub packages: Vec<Located<String>>,
    /// Dependencies not followed.
    pub exclude: Vec<String>,
    /// Links that maintainer scripts would make: path to target (`usr/bin/awk` to `mawk`).
    pub links: BTreeMap<RelPath, String>,
    pub origin: Origin,
}

impl ToolTree {
    /// What decides its packages.
    pub fn request(&self) -> TreeRequest {
        let packages = self.packages.iter().map(|package| package.value.clone()).collect();
        TreeRequest { packages, exclude: self.exclude.clone() }
    }
}

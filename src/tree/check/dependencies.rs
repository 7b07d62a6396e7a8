//! Packages in, whether one is in every image that another is in out.
//!
//! Invariant: a package reaches itself, what it depends on, and what those reach; a cycle is no trouble.

use crate::tree::parameters::Package;
use std::collections::{BTreeMap, BTreeSet};

/// What each package names itself.
pub struct Dependencies<'a>(BTreeMap<&'a str, &'a [String]>);

impl<'a> Dependencies<'a> {
    pub fn of(packages: &'a [Package]) -> Dependencies<'a> {
        Dependencies(packages.iter().map(|package| (package.name.as_str(), package.run_depends.as_slice())).collect())
    }

    pub fn reach(&self, package: &str, needed: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut waiting = vec![package];
        while let Some(name) = waiting.pop() {
            if name == needed {
                return true;
            }
            if seen.insert(name) {
                waiting.extend(self.0.get(name).copied().unwrap_or_default().iter().map(String::as_str));
            }
        }
        false
    }
}

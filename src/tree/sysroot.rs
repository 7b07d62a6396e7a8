//! The step `sysroot`: an installed tree in, what dependents compile and link against out.
//!
//! Invariant: programs and data stay behind, so a change in them alone rebuilds no dependent.

use super::problem::TreeError;
use crate::io::store::{Node, Store, TreeBuilder};
use crate::model::{Digest, RelPath};
use std::collections::BTreeMap;

pub const NAME: &str = "sysroot";
pub const VERSION: u32 = 1;

/// Headers, libraries, and how build systems find them.
const KEPT: [&str; 8] = [
    "lib",
    "lib64",
    "usr/include",
    "usr/lib",
    "usr/lib64",
    "usr/share/aclocal",
    "usr/share/cmake",
    "usr/share/pkgconfig",
];

/// Keeps the folders of [`KEPT`] of the tree at `out`; the output is `sysroot`.
pub fn step(store: &Store, inputs: &Digest, _parameters: &str) -> Result<BTreeMap<RelPath, Node>, TreeError> {
    let installed = match store.lookup(inputs, &RelPath::new("out")?)? {
        Some(Node::Folder(digest)) => digest,
        _ => return Err(TreeError::MissingInput("out".to_owned())),
    };
    let mut kept = TreeBuilder::new();
    for folder in KEPT {
        let path = RelPath::new(folder)?;
        if let Some(node) = store.lookup(&installed, &path)? {
            kept.insert(&path, node)?;
        }
    }
    Ok(BTreeMap::from([(RelPath::new("sysroot")?, Node::Folder(kept.finish(store)?))]))
}

//! The step `sysroot`: an installed tree, and the sysroots of what it was built on, in; what dependents compile
//! and link against out.
//!
//! Invariant: programs and data stay behind, so a change in them alone rebuilds no dependent.

use super::problem::TreeError;
use crate::io::store::{Node, Store, TreeBuilder};
use crate::model::{Digest, RelPath};
use std::collections::BTreeMap;

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

/// Keeps the folders of [`KEPT`] of the tree at `out` and lays them over the tree at `below`, where there is one;
/// the output is `sysroot`.
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
    if let Some(Node::Folder(below)) = store.lookup(inputs, &RelPath::new("below")?)? {
        kept.insert_tree(None, below)?;
    }
    Ok(BTreeMap::from([(RelPath::new("sysroot")?, Node::Folder(kept.finish(store)?))]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paths of the sysroot over an installed tree `out` and, perhaps, one of dependencies `below`.
    fn paths(files: &[&str]) -> Result<Vec<String>, TreeError> {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path())?;
        let mut inputs = TreeBuilder::new();
        for file in files {
            let digest = store.put_bytes(file.as_bytes())?;
            inputs.insert(&RelPath::new(file)?, Node::File { digest, executable: false })?;
        }
        let outputs = step(&store, &inputs.finish(&store)?, "{}")?;
        let [Node::Folder(sysroot)] = outputs.values().collect::<Vec<_>>()[..] else { panic!("one folder") };
        let entries = store.walk(sysroot)?;
        let files = entries.iter().filter(|entry| matches!(entry.node, Node::File { .. }));
        Ok(files.map(|entry| entry.path.to_string()).collect())
    }

    #[test]
    fn headers_and_libraries_are_kept_and_those_of_dependencies_come_along() {
        let own = ["out/usr/bin/z", "out/usr/include/z.h", "out/usr/lib/libz.a", "out/usr/share/doc/z"];
        assert_eq!(paths(&own).expect("made"), ["usr/include/z.h", "usr/lib/libz.a"]);
        let all = [&own[..], &["below/usr/include/stdio.h", "below/usr/lib/libc.a"]].concat();
        let expected = ["usr/include/stdio.h", "usr/include/z.h", "usr/lib/libc.a", "usr/lib/libz.a"];
        assert_eq!(paths(&all).expect("made"), expected);
        assert_eq!(paths(&["out/usr/bin/z", "below/usr/lib/libc.a"]).expect("made"), ["usr/lib/libc.a"]);
    }

    #[test]
    fn a_header_that_is_not_the_one_of_a_dependency_is_a_conflict() {
        let error = paths(&["out/usr/include/z.h", "below/usr/include/z.h"]).expect_err("two contents");
        assert!(error.to_string().contains("`usr/include/z.h`"), "{error}");
    }
}

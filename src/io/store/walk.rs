//! Reads over stored trees: walk, lookup, and merge.
//!
//! Invariant: a walk yields every path once, in the order of its components' bytes; a merge keeps
//! what all its inputs agree on and refuses the rest.

use super::{Entry, Node, Store, StoreError, Tree};
use crate::model::{Digest, RelPath};

/// No tree that we build is nested deeper; a cycle cannot be built from hashes.
const LIMIT_DEPTH: usize = 256;

impl Store {
    /// Every file, symlink and folder below `root`, folders before their content.
    pub fn walk(&self, root: &Digest) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        self.walk_into(root, None, &mut entries, 0)?;
        Ok(entries)
    }

    fn walk_into(
        &self,
        folder: &Digest,
        prefix: Option<&RelPath>,
        entries: &mut Vec<Entry>,
        depth: usize,
    ) -> Result<(), StoreError> {
        let invalid = |reason: String| StoreError::InvalidTree { digest: *folder, reason };
        if depth > LIMIT_DEPTH {
            return Err(invalid(format!("nested deeper than {LIMIT_DEPTH} folders")));
        }
        for (name, node) in self.load_tree(folder)?.entries {
            let name = RelPath::new(&name).map_err(|e| invalid(e.to_string()))?;
            let path = prefix.map_or_else(|| name.clone(), |prefix| prefix.join(&name));
            entries.push(Entry { path: path.clone(), node: node.clone() });
            if let Node::Folder(child) = node {
                self.walk_into(&child, Some(&path), entries, depth + 1)?;
            }
        }
        Ok(())
    }

    /// What is at `path`, without following symlinks.
    pub fn lookup(&self, root: &Digest, path: &RelPath) -> Result<Option<Node>, StoreError> {
        let mut node = Node::Folder(*root);
        for name in path.components() {
            let Node::Folder(folder) = node else { return Ok(None) };
            match self.load_tree(&folder)?.entries.remove(name) {
                Some(next) => node = next,
                None => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    /// The union of `trees`. Equal entries are fine; two different ones at one path are a conflict.
    pub fn merge(&self, trees: &[Digest]) -> Result<Digest, StoreError> {
        self.merge_at(trees, "")
    }

    fn merge_at(&self, trees: &[Digest], prefix: &str) -> Result<Digest, StoreError> {
        match trees {
            [] => return self.put_tree(&Tree::default()),
            [only] => return Ok(*only),
            [first, rest @ ..] if rest.iter().all(|tree| tree == first) => return Ok(*first),
            _ => {}
        }
        let mut merged: std::collections::BTreeMap<String, Vec<Node>> = Default::default();
        for tree in trees {
            for (name, node) in self.load_tree(tree)?.entries {
                let nodes = merged.entry(name).or_default();
                if !nodes.contains(&node) {
                    nodes.push(node);
                }
            }
        }
        let mut result = Tree::default();
        for (name, mut nodes) in merged {
            let node = match nodes.len() {
                1 => nodes.remove(0),
                _ => self.merge_nodes(&nodes, &format!("{prefix}{name}"))?,
            };
            result.entries.insert(name, node);
        }
        self.put_tree(&result)
    }

    fn merge_nodes(&self, nodes: &[Node], path: &str) -> Result<Node, StoreError> {
        let folders = nodes.iter().map(|node| match node {
            Node::Folder(digest) => Ok(*digest),
            _ => Err(StoreError::Conflict { path: path.to_owned() }),
        });
        let folders: Vec<Digest> = folders.collect::<Result<_, _>>()?;
        Ok(Node::Folder(self.merge_at(&folders, &format!("{path}/"))?))
    }
}

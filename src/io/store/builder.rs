//! Builds a tree from paths: entries and whole subtrees in, one root digest out.
//!
//! Invariant: a path is set once, or set again to the same thing; anything else is a conflict.

use super::{Node, Store, StoreError, Tree};
use crate::model::{Digest, RelPath};
use std::collections::BTreeMap;

/// A tree under construction.
#[derive(Clone, Debug, Default)]
pub struct TreeBuilder {
    folders: BTreeMap<String, TreeBuilder>,
    leaves: BTreeMap<String, Node>,
    /// Trees laid over this folder, in order.
    overlays: Vec<Digest>,
}

impl TreeBuilder {
    pub fn new() -> Self {
        TreeBuilder::default()
    }

    /// Places `node` at `path`; folders on the way are made. A folder node is merged with what is there.
    pub fn insert(&mut self, path: &RelPath, node: Node) -> Result<(), StoreError> {
        let conflict = || StoreError::Conflict { path: path.to_string() };
        let mut folder = self;
        let mut components = path.components().peekable();
        while let Some(name) = components.next() {
            if components.peek().is_some() {
                if folder.leaves.contains_key(name) {
                    return Err(conflict());
                }
                folder = folder.folders.entry(name.to_owned()).or_default();
                continue;
            }
            if let Node::Folder(digest) = node {
                if folder.leaves.contains_key(name) {
                    return Err(conflict());
                }
                folder.folders.entry(name.to_owned()).or_default().overlays.push(digest);
            } else {
                let differs = folder.leaves.get(name).is_some_and(|present| *present != node);
                if differs || folder.folders.contains_key(name) {
                    return Err(conflict());
                }
                folder.leaves.insert(name.to_owned(), node);
            }
            break;
        }
        Ok(())
    }

    /// Makes an empty folder at `path`, unless something is there.
    pub fn insert_folder(&mut self, path: &RelPath) -> Result<(), StoreError> {
        let mut folder = self;
        for name in path.components() {
            if folder.leaves.contains_key(name) {
                return Err(StoreError::Conflict { path: path.to_string() });
            }
            folder = folder.folders.entry(name.to_owned()).or_default();
        }
        Ok(())
    }

    /// Lays a stored tree over the folder at `path` (none: the root).
    pub fn insert_tree(&mut self, path: Option<&RelPath>, tree: Digest) -> Result<(), StoreError> {
        match path {
            Some(path) => self.insert(path, Node::Folder(tree)),
            None => {
                self.overlays.push(tree);
                Ok(())
            }
        }
    }

    /// Keeps every folder and returns the root's digest.
    pub fn finish(self, store: &Store) -> Result<Digest, StoreError> {
        if self.folders.is_empty() && self.leaves.is_empty() && self.overlays.len() == 1 {
            return Ok(self.overlays[0]);
        }
        let mut entries = self.leaves;
        for (name, folder) in self.folders {
            entries.insert(name, Node::Folder(folder.finish(store)?));
        }
        let own = Tree { entries };
        if self.overlays.is_empty() {
            return store.put_tree(&own);
        }
        let mut trees = self.overlays;
        trees.push(store.put_tree(&own)?);
        store.merge(&trees)
    }
}

//! Between host folders and trees: ingest a folder, check a tree out.
//!
//! Invariant: a checked-out tree is made of hard links to blobs and is read-only by convention: tasks
//! see it below an overlay, so what they write never reaches a blob.

use super::blob::{set_mtime, settle};
use super::{Node, Store, StoreError, Tree, INPUT_MTIME_SECONDS};
use crate::io::file::{self, at};
use crate::model::Digest;
use rayon::prelude::*;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

const FEW: usize = 64;

impl Store {
    /// Keeps the folder at `path`: content, executable bits and symlinks.
    pub fn ingest(&self, path: &Path) -> Result<Digest, StoreError> {
        self.ingest_folder(path, false)
    }

    /// Like [`Store::ingest`], for a folder on the store's file system that is not needed any more:
    /// its files are moved, not copied.
    pub fn ingest_moving(&self, path: &Path) -> Result<Digest, StoreError> {
        self.ingest_folder(path, true)
    }

    fn ingest_folder(&self, path: &Path, moving: bool) -> Result<Digest, StoreError> {
        let listing = fs::read_dir(path).map_err(at("read folder", path))?;
        let children: Vec<_> = listing.collect::<Result<_, _>>().map_err(at("read folder", path))?;
        let nodes = children.into_par_iter().map(|child| {
            let unsupported = |reason| StoreError::Unsupported { path: child.path(), reason };
            let name = child.file_name().into_string();
            let name = name.map_err(|_| unsupported("its name is not UTF-8"))?;
            Ok((name, self.ingest_node(&child.path(), moving)?))
        });
        let entries = nodes.collect::<Result<_, StoreError>>()?;
        self.put_tree(&Tree { entries })
    }

    /// Keeps one file, symlink or folder.
    pub fn ingest_node(&self, path: &Path, moving: bool) -> Result<Node, StoreError> {
        let unsupported = |reason| StoreError::Unsupported { path: path.to_owned(), reason };
        let metadata = fs::symlink_metadata(path).map_err(at("look at", path))?;
        if metadata.is_dir() {
            return Ok(Node::Folder(self.ingest_folder(path, moving)?));
        }
        if metadata.is_symlink() {
            let target = fs::read_link(path).map_err(at("read link", path))?.into_os_string().into_vec();
            let target = String::from_utf8(target).map_err(|_| unsupported("its target is not UTF-8"))?;
            return Ok(Node::Symlink { target });
        }
        if !metadata.is_file() {
            return Err(unsupported("it is neither a file, a folder nor a symlink"));
        }
        let executable = metadata.permissions().mode() & 0o100 != 0;
        let digest = if moving { self.move_file(path, executable)? } else { self.put_file(path)? };
        Ok(Node::File { digest, executable })
    }

    fn move_file(&self, path: &Path, executable: bool) -> Result<Digest, StoreError> {
        let mut digester = crate::model::digest::Digester::default();
        std::io::copy(&mut file::open(path)?, &mut digester).map_err(at("read", path))?;
        let digest = digester.finish();
        if !self.has_variant(&digest, executable) {
            self.adopt_path(path, &digest, executable)?;
        }
        Ok(digest)
    }

    /// A folder with the tree's content, made once and kept.
    pub fn checkout(&self, tree: &Digest) -> Result<PathBuf, StoreError> {
        let hex = tree.hex();
        let path = self.root.join("trees").join(&hex[..2]).join(&hex[2..]);
        // Not held while the tree is made: that takes other threads along.
        let whole_trees = || self.whole_trees.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = whole_trees().contains(tree);
        if !is_known || !path.is_dir() {
            self.make_checkout(tree, &path)?;
            whole_trees().insert(*tree);
        }
        Ok(path)
    }

    fn make_checkout(&self, tree: &Digest, path: &Path) -> Result<(), StoreError> {
        if path.is_dir() {
            if self.is_untouched(tree, path) {
                return Ok(());
            }
            // Its files are those of the blobs: what is damaged among them is missing from now on.
            file::remove_tree(path)?;
        }
        let temporary = self.temporary_folder()?;
        let building = temporary.path().join("tree");
        self.checkout_into(tree, &building)?;
        file::create_dir_all(path.parent().expect("a tree path has a parent"))?;
        match fs::rename(&building, path) {
            Ok(()) => Ok(()),
            // Another process was faster; its tree is the same.
            Err(_) if path.is_dir() => Ok(()),
            Err(e) => Err(at("store", path)(e).into()),
        }
    }

    /// Makes the folder `to` with the tree's content, by hard links.
    pub fn checkout_into(&self, tree: &Digest, to: &Path) -> Result<(), StoreError> {
        fs::create_dir(to).map_err(at("create folder", to))?;
        let entries: Vec<_> = self.load_tree(tree)?.entries.into_iter().collect();
        entries.into_par_iter().try_for_each(|(name, node)| self.checkout_node(&node, &to.join(name)))?;
        settle(to, 0o755)
    }

    fn checkout_node(&self, node: &Node, to: &Path) -> Result<(), StoreError> {
        match node {
            Node::Folder(digest) => self.checkout_into(digest, to),
            Node::Symlink { target } => {
                std::os::unix::fs::symlink(target, to).map_err(at("link", to))?;
                set_mtime(to)
            }
            Node::File { digest, executable } => self.link_to(digest, *executable, to),
        }
    }

    /// Whether everything below has the time and the size that it was given: whoever writes to a file or into a
    /// folder changes one of them.
    fn is_untouched(&self, tree: &Digest, folder: &Path) -> bool {
        let Ok(tree) = self.load_tree(tree) else { return false };
        let is_folder = settled(folder).is_some_and(|metadata| metadata.is_dir());
        let has = |(name, node): (&String, &Node)| {
            let path = folder.join(name);
            match node {
                Node::Folder(tree) => self.is_untouched(tree, &path),
                Node::File { digest, .. } => settled(&path).is_some_and(|found| found.len() == digest.size_bytes),
                Node::Symlink { .. } => settled(&path).is_some(),
            }
        };
        // To wake other threads for a few files takes longer than to look at them.
        is_folder
            && match tree.entries.len() {
                0..FEW => tree.entries.iter().all(has),
                _ => tree.entries.par_iter().all(has),
            }
    }
}

/// What is at the path, if it has the time that everything in the store has.
fn settled(path: &Path) -> Option<Metadata> {
    fs::symlink_metadata(path).ok().filter(|metadata| metadata.mtime() == INPUT_MTIME_SECONDS)
}

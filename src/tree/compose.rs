//! Trees and their owners in, one root out; two that disagree about a path are both named.
//!
//! Invariants: paths below `/bin`, `/sbin`, `/lib` and `/lib64` land below `/usr`; a skeleton replaces files of
//! packages and of earlier skeletons, nothing else replaces anything.

use super::problem::{Problems, TreeError};
use super::root::{Content, Item, Owner, Root, MERGED};
use crate::io::store::Store;
use crate::model::{Digest, RelPath};

pub struct Composer<'a> {
    pub store: &'a Store,
    pub root: Root,
    pub problems: Problems,
}

impl<'a> Composer<'a> {
    pub fn new(store: &'a Store) -> Self {
        Composer { store, root: Root::default(), problems: Problems::default() }
    }

    /// Places `content` where it belongs. Disagreement is a problem and leaves what was there.
    pub fn add(&mut self, path: &RelPath, content: Content, owner: Owner) {
        let Some(path) = placed(path, &content) else { return };
        if !self.add_parents(&path, &owner) {
            return;
        }
        let Some(present) = self.root.items.get_mut(&path) else {
            self.root.items.insert(path, Item::new(content, owner));
            return;
        };
        if present.content == content {
            present.packages.extend(owner.package().map(str::to_owned));
            return;
        }
        let is_folder = |content: &Content| matches!(content, Content::Folder);
        let is_replaced = match (&present.owner, &owner) {
            (Owner::Package(_), Owner::Skeleton { .. }) => true,
            (Owner::Skeleton { folder: first, .. }, Owner::Skeleton { folder: second, .. }) => first != second,
            _ => false,
        };
        if is_replaced && !is_folder(&present.content) && !is_folder(&content) {
            let packages = std::mem::take(&mut present.packages);
            *present = Item { packages, ..Item::new(content, owner) };
            return;
        }
        let first = present.owner.clone();
        self.conflict(&path, &first, &owner);
    }

    /// Makes the folders above `path`; false when something else is in the way.
    fn add_parents(&mut self, path: &RelPath, owner: &Owner) -> bool {
        let Some(parent) = path.parent() else { return true };
        match self.root.items.get(&parent) {
            Some(Item { content: Content::Folder, .. }) => true,
            Some(item) => {
                let message =
                    format!("`/{parent}` is not a folder in {}, but {owner} puts `/{path}` below it", item.owner);
                self.problems.add(message);
                false
            }
            None => {
                let made = self.add_parents(&parent, owner);
                if made {
                    self.root.items.insert(parent, Item::new(Content::Folder, owner.clone()));
                }
                made
            }
        }
    }

    fn conflict(&mut self, path: &RelPath, first: &Owner, second: &Owner) {
        if *second == Owner::Generated {
            let message = format!("`/{path}` comes from {first}, but osbuild generates it");
            self.problems.add_with_help(message, "remove the file, and say what it should say in the product");
            return;
        }
        let message = format!("`/{path}` comes from {first} and from {second}, with different content");
        let help = match (first, second) {
            (Owner::Package(_), Owner::Package(_)) => {
                "let one of the recipes leave it out, or put the wanted file into a skeleton"
            }
            _ => "keep one of them",
        };
        self.problems.add_with_help(message, help);
    }

    /// A file that osbuild writes, with its mode.
    pub fn generate(&mut self, path: &str, bytes: &[u8], mode: u32) -> Result<(), TreeError> {
        let digest = self.store.put_bytes(bytes)?;
        let executable = mode & 0o111 != 0;
        self.generate_content(path, Content::File { digest, executable }, mode)
    }

    /// Whatever osbuild makes by itself.
    pub fn generate_content(&mut self, path: &str, content: Content, mode: u32) -> Result<(), TreeError> {
        let path = RelPath::new(path)?;
        // The links of merged folders are the one thing that `add` would drop.
        if MERGED.contains(&path.as_str()) {
            self.root.items.insert(path, Item::new(content, Owner::Generated));
            return Ok(());
        }
        self.add(&path, content, Owner::Generated);
        if let Some(item) = self.root.items.get_mut(&path).filter(|item| item.owner == Owner::Generated) {
            item.mode = mode;
        }
        Ok(())
    }

    /// A folder with its mode, whoever else has it too.
    pub fn generate_folder(&mut self, path: &str, mode: u32) -> Result<(), TreeError> {
        self.generate_content(path, Content::Folder, mode)?;
        if let Some(item) = self.root.items.get_mut(&RelPath::new(path)?) {
            item.mode = mode;
        }
        Ok(())
    }

    pub fn generate_link(&mut self, path: &str, target: &str) -> Result<(), TreeError> {
        self.generate_content(path, Content::Symlink { target: target.to_owned() }, 0o777)
    }
}

/// Where something that is no link and no folder lands; none: it would be in the way of merging.
pub fn placed_file(path: &RelPath) -> Option<RelPath> {
    placed(path, &Content::File { digest: Digest::of(b""), executable: false })
}

/// Where a path lands once `/usr` is merged; none: the folder or link that merging replaces.
pub fn placed(path: &RelPath, content: &Content) -> Option<RelPath> {
    let top = path.components().next().unwrap_or_default();
    if !MERGED.contains(&top) {
        return Some(path.clone());
    }
    if path.as_str() == top && matches!(content, Content::Folder | Content::Symlink { .. }) {
        return None;
    }
    RelPath::new(&format!("usr/{path}")).ok()
}

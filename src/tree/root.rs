//! A root file system under construction: paths, what is there, who brought it, and its metadata.
//!
//! Invariant: the parent of every path is a folder of the same root.

use super::parameters::Device;
use crate::io::store::{Entry, Node};
use crate::model::{Digest, RelPath};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Folders of the root that are links into `/usr`.
pub const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Folders whose content exists on the running device only.
const AT_RUN_TIME: [&str; 6] = ["data", "dev", "proc", "run", "sys", "tmp"];

/// Symlinks that are followed before a chain counts as a loop, as in Linux.
const LIMIT_LINKS: usize = 40;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    File { digest: Digest, executable: bool },
    Symlink { target: String },
    Folder,
    Device(Device),
}

/// Who brought a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    Package(String),
    /// A file of the project: the skeleton's folder and the path below it.
    Skeleton {
        folder: String,
        file: String,
    },
    Generated,
}

impl Owner {
    pub fn package(&self) -> Option<&str> {
        match self {
            Owner::Package(name) => Some(name),
            Owner::Skeleton { .. } | Owner::Generated => None,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owner::Package(name) => write!(f, "package `{name}`"),
            Owner::Skeleton { folder, file } => write!(f, "skeleton file `{folder}/{file}`"),
            Owner::Generated => f.write_str("osbuild, which generates it"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub content: Content,
    pub owner: Owner,
    /// The packages that have the path: one, several with the same content, or those whose file a skeleton replaced.
    pub packages: BTreeSet<String>,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

impl Item {
    /// Of root, with the mode that its content has by default.
    pub fn new(content: Content, owner: Owner) -> Item {
        let mode = match &content {
            Content::File { executable: false, .. } => 0o644,
            Content::File { executable: true, .. } | Content::Folder => 0o755,
            Content::Symlink { .. } => 0o777,
            Content::Device(_) => 0o600,
        };
        let packages = owner.package().map(str::to_owned).into_iter().collect();
        Item { content, owner, packages, mode, uid: 0, gid: 0, xattrs: BTreeMap::new() }
    }
}

/// Sorted by path, so a folder stands before what is in it.
#[derive(Clone, Debug, Default)]
pub struct Root {
    pub items: BTreeMap<RelPath, Item>,
}

/// Where a path leads once every symlink is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    Here(RelPath),
    /// The root itself.
    Top,
    /// Below a folder that is filled on the running device.
    AtRunTime,
    Nowhere,
}

/// From an entry of a stored tree.
pub fn content_of(entry: &Entry) -> Content {
    match &entry.node {
        Node::File { digest, executable } => Content::File { digest: *digest, executable: *executable },
        Node::Symlink { target } => Content::Symlink { target: target.clone() },
        Node::Folder(_) => Content::Folder,
    }
}

impl Root {
    /// Follows `path` (absolute, or relative to `folder`) as the kernel would with this root; `..` stops at the root.
    pub fn resolve(&self, folder: Option<&RelPath>, path: &str) -> Resolved {
        let mut waiting: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut at: Option<RelPath> = if path.starts_with('/') { None } else { folder.cloned() };
        let mut links = 0;
        while let Some(name) = waiting.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    at = at.and_then(|path| path.parent());
                    continue;
                }
                _ => {}
            }
            if at.is_none() && AT_RUN_TIME.contains(&name.as_str()) {
                return Resolved::AtRunTime;
            }
            let Ok(name) = RelPath::new(&name) else { return Resolved::Nowhere };
            let next = at.as_ref().map_or_else(|| name.clone(), |at| at.join(&name));
            match self.items.get(&next).map(|item| &item.content) {
                None => return Resolved::Nowhere,
                Some(Content::Symlink { target }) => {
                    links += 1;
                    if links > LIMIT_LINKS || target.is_empty() {
                        return Resolved::Nowhere;
                    }
                    if target.starts_with('/') {
                        at = None;
                    }
                    waiting.extend(target.split('/').rev().map(str::to_owned));
                }
                Some(Content::Folder) => at = Some(next),
                Some(_) if waiting.iter().all(|rest| rest.is_empty()) => return Resolved::Here(next),
                Some(_) => return Resolved::Nowhere,
            }
        }
        at.map_or(Resolved::Top, Resolved::Here)
    }

    /// The file at the end of `path`, with its owner.
    pub fn file(&self, path: &str) -> Option<(RelPath, &Item)> {
        let Resolved::Here(path) = self.resolve(None, path) else { return None };
        let item = self.items.get(&path)?;
        matches!(item.content, Content::File { .. }).then_some((path, item))
    }
}

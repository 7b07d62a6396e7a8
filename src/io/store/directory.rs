//! Trees as the Remote Execution API writes them: `Directory` messages, children sorted by name.
//!
//! Invariant: the in-memory tree holds content digests, executable bits and symlink targets, nothing else.

use crate::model::{Digest, RelPath};
use std::collections::BTreeMap;

/// A folder, loaded to the depth that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    pub entries: BTreeMap<String, Node>,
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    File {
        digest: Digest,
        executable: bool,
    },
    Symlink {
        target: String,
    },
    /// A folder by the digest of its `Directory` message.
    Folder(Digest),
}

/// A path and what is there, from a walk over a whole tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub path: RelPath,
    pub node: Node,
}

//! Trees as the Remote Execution API writes them: `Directory` messages, children sorted by name.
//!
//! Invariant: a tree holds content digests, executable bits and symlink targets, nothing else; every
//! name is a single valid path component, whoever wrote the message.

use super::{Store, StoreError};
use crate::model::{Digest, RelPath};
use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use prost::Message;
use std::collections::BTreeMap;

/// A `Directory` message of this size holds about half a million names.
const LIMIT_BYTES: u64 = 64 << 20;

/// One folder.
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

impl Node {
    /// The blob that is there; none for a symlink.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Node::File { digest, .. } | Node::Folder(digest) => Some(*digest),
            Node::Symlink { .. } => None,
        }
    }
}

/// A path and what is there, from a walk over a whole tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub path: RelPath,
    pub node: Node,
}

/// To the message type of REAPI v2.
pub fn to_message(digest: &Digest) -> reapi::Digest {
    reapi::Digest { hash: digest.hex(), size_bytes: digest.size_bytes as i64 }
}

/// From the message type of REAPI v2.
pub fn from_message(digest: Option<&reapi::Digest>) -> Option<Digest> {
    let digest = digest?;
    Digest::from_hex(&digest.hash, u64::try_from(digest.size_bytes).ok()?).ok()
}

impl Tree {
    /// The canonical `Directory` message.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = reapi::Directory::default();
        for (name, node) in &self.entries {
            let name = name.clone();
            match node {
                Node::File { digest, executable } => message.files.push(reapi::FileNode {
                    name,
                    digest: Some(to_message(digest)),
                    is_executable: *executable,
                    node_properties: None,
                }),
                Node::Symlink { target } => {
                    let target = target.clone();
                    message.symlinks.push(reapi::SymlinkNode { name, target, node_properties: None });
                }
                Node::Folder(digest) => {
                    message.directories.push(reapi::DirectoryNode { name, digest: Some(to_message(digest)) });
                }
            }
        }
        message.encode_to_vec()
    }

    /// Reads a `Directory` message; the reason says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Tree, String> {
        let message = reapi::Directory::decode(bytes).map_err(|e| e.to_string())?;
        let mut entries = BTreeMap::new();
        let mut insert = |name: String, node: Option<Node>| {
            let node = node.ok_or_else(|| format!("`{name}` has no valid digest"))?;
            if RelPath::new(&name).is_err() || name.contains('/') {
                return Err(format!("`{name}` is not a file name"));
            }
            match entries.insert(name.clone(), node) {
                None => Ok(()),
                Some(_) => Err(format!("`{name}` occurs twice")),
            }
        };
        for file in message.files {
            let digest = from_message(file.digest.as_ref());
            insert(file.name, digest.map(|digest| Node::File { digest, executable: file.is_executable }))?;
        }
        for folder in message.directories {
            insert(folder.name, from_message(folder.digest.as_ref()).map(Node::Folder))?;
        }
        for link in message.symlinks {
            insert(link.name, Some(Node::Symlink { target: link.target }))?;
        }
        Ok(Tree { entries })
    }
}

impl Store {
    /// Keeps one folder; what it refers to must be kept already or come later.
    pub fn put_tree(&self, tree: &Tree) -> Result<Digest, StoreError> {
        self.put_bytes(&tree.encode())
    }

    /// Loads one folder.
    pub fn load_tree(&self, digest: &Digest) -> Result<Tree, StoreError> {
        let bytes = self.read(digest, LIMIT_BYTES)?;
        Tree::decode(&bytes).map_err(|reason| StoreError::InvalidTree { digest: *digest, reason })
    }
}

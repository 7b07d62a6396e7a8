//! Any bytes as what the cache keeps about folders and actions: read within limits, or treated as absent.

use bazel_remote_apis::build::bazel::remote::execution::v2::ActionResult;
use osbuild::exec::action::{from_result, to_result};
use osbuild::io::store::{Node, Store, Tree};
use osbuild::model::{Digest, RelPath};
use prost::Message;
use sha2::Digest as _;
use std::collections::BTreeMap;

pub fn run(bytes: &[u8]) {
    if let Ok(tree) = Tree::decode(bytes) {
        assert_eq!(Tree::decode(&tree.encode()), Ok(tree));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(folder.path()).expect("a store");
    let action = Digest::of(b"action");
    let hex = action.hex();
    let path = folder.path().join("actions").join(&hex[..2]).join(&hex[2..]);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    // As it is, and behind the checksum that an entry has.
    std::fs::write(&path, bytes).expect("written");
    let damaged = store.action_result(&action);
    assert!(damaged.is_none() || bytes.len() >= 32, "an entry without a checksum counts");
    std::fs::write(&path, [&sha2::Sha256::digest(bytes)[..], bytes].concat()).expect("written");
    let result = store.action_result(&action);
    assert_eq!(result, ActionResult::decode(bytes).ok());
    let _ = result.and_then(|result| from_result(&store, &result));
    let blob = store.put_bytes(bytes).expect("kept");
    // A folder that holds itself cannot be made, as its digest is not known before.
    let _ = store.walk(&blob);
}

pub fn seeds() -> Vec<Vec<u8>> {
    let path = |text: &str| RelPath::new(text).expect("a path");
    let digest = Digest::of(b"x");
    let nodes = [
        ("file", Node::File { digest, executable: true }),
        ("folder", Node::Folder(digest)),
        ("link", Node::Symlink { target: "../x".into() }),
    ];
    let tree = Tree { entries: nodes.iter().map(|(name, node)| ((*name).to_owned(), node.clone())).collect() };
    let outputs: BTreeMap<RelPath, Node> = nodes.into_iter().map(|(name, node)| (path(name), node)).collect();
    vec![tree.encode(), to_result(&outputs, Some(digest)).encode_to_vec(), Tree::default().encode()]
}

//! A repository in a folder, and a store in another.

mod simulator;

use osbuild_tuf::{FetchError, Fetcher, FolderFetcher, FolderStore, Limits, Store, Updater};
use simulator::{time, Repository, LATER, NOW};
use std::path::Path;

#[allow(clippy::disallowed_methods)] // A test writes what a stick carries.
fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("in a folder")).expect("made");
    std::fs::write(path, bytes).expect("written");
}

/// The tree of a repository with one target.
fn stick() -> (tempfile::TempDir, Vec<u8>) {
    let mut repository = Repository::new();
    repository.add("deep/app", b"good");
    repository.release();
    let folder = tempfile::tempdir().expect("a folder");
    let served = repository.served.borrow();
    served.metadata.iter().for_each(|(name, bytes)| write(&folder.path().join("metadata").join(name), bytes));
    served.targets.iter().for_each(|(name, bytes)| write(&folder.path().join("targets").join(name), bytes));
    (folder, served.metadata["1.root.json"].clone())
}

#[test]
fn a_stick_is_the_same_tree_as_a_server() {
    let (folder, root) = stick();
    let kept = tempfile::tempdir().expect("a folder");
    let store = FolderStore::new(&kept.path().join("made/when/needed"));
    let fetcher = FolderFetcher::new(folder.path());
    let mut client = Updater::from_root(&root, store.clone(), fetcher.clone(), Limits::device()).expect("a root");
    client.refresh(time(NOW)).expect("signed");
    assert_eq!(client.expires(), Some(time(LATER)));
    let target = client.target("deep/app").expect("signed").expect("there");
    let mut bytes = Vec::new();
    client.download("deep/app", &target, &mut bytes).expect("signed");
    assert_eq!(bytes, b"good");
    let (path, mut fetcher) = (client.target_path("deep/app", &target), fetcher);
    assert_eq!(fetcher.range(&path, 1, 2).expect("there"), b"oo");
    for (offset, length) in [(1, 4), (5, 0), (u64::MAX, 1), (0, u64::MAX)] {
        assert!(matches!(fetcher.range(&path, offset, length), Err(FetchError::Failed(_))), "{offset} {length}");
    }
    for role in ["timestamp", "snapshot", "targets"] {
        assert!(store.load(&format!("{role}.json"), 1 << 20).expect("read").is_some(), "{role}");
    }
}

#[test]
fn a_name_does_not_lead_out_of_the_folder_and_what_is_no_file_is_not_opened() {
    let (folder, _) = stick();
    let metadata = folder.path().join("metadata");
    write(&folder.path().join("secret"), b"secret");
    std::os::unix::fs::symlink(folder.path().join("secret"), metadata.join("link.json")).expect("a link");
    std::fs::create_dir(metadata.join("folder.json")).expect("a folder");
    let mut fetcher = FolderFetcher::new(folder.path());
    for name in ["../secret", "..%2Fsecret", "%2Fetc%2Fpasswd", "a%00b", "%zz", "missing.json"] {
        assert!(matches!(fetcher.metadata(name, 100), Err(FetchError::Missing)), "{name}");
    }
    for name in ["link.json", "folder.json"] {
        assert!(matches!(fetcher.metadata(name, 100), Err(FetchError::Failed(_))), "{name}");
    }
    assert!(matches!(fetcher.metadata("timestamp.json", 10), Err(FetchError::TooLong(10))));
    assert!(matches!(fetcher.target("missing", 10, &mut Vec::new()), Err(FetchError::Missing)));
}

#[test]
fn a_store_keeps_replaces_and_removes() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = FolderStore::new(folder.path());
    assert_eq!(store.load("a.json", 10).expect("read"), None);
    store.remove("a.json").expect("no effect");
    for content in [&b"one"[..], b"two"] {
        store.save("a.json", content).expect("saved");
        assert_eq!(store.load("a.json", 3).expect("read").as_deref(), Some(content));
    }
    assert!(store.load("a.json", 2).is_err());
    store.save("root_history/2.root.json", b"root").expect("saved");
    store.remove("a.json").expect("removed");
    assert_eq!(store.load("a.json", 10).expect("read"), None);
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).expect("listed").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["root_history"]);
}

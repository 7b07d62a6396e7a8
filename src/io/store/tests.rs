use super::*;
use crate::model::RelPath;
use std::fs::{self, File};
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(folder.path()).expect("a store");
    (folder, store)
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).expect("a valid path")
}

#[test]
fn a_folder_goes_in_and_comes_out_the_same() {
    let (_guard, store) = store();
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir_all(folder.path().join("a/empty")).expect("folders");
    file::write_atomic(&folder.path().join("a/run"), b"#!/bin/sh\n", 0o755).expect("a file");
    file::write_atomic(&folder.path().join("a/data"), b"#!/bin/sh\n", 0o600).expect("a file");
    symlink("data", folder.path().join("a/link")).expect("a link");

    let tree = store.ingest(folder.path()).expect("ingested");
    let out = store.checkout(&tree).expect("checked out");
    assert_eq!(store.ingest(&out).expect("ingested again"), tree);
    let run = fs::metadata(out.join("a/run")).expect("run");
    assert_eq!((run.permissions().mode() & 0o777, run.mtime()), (0o755, INPUT_MTIME_SECONDS));
    assert_eq!(fs::metadata(out.join("a/data")).expect("data").permissions().mode() & 0o777, 0o644);
    assert!(out.join("a/empty").is_dir());

    let moved = store.temporary_folder().expect("scratch");
    store.checkout_into(&tree, &moved.path().join("t")).expect("a second copy");
    assert_eq!(store.ingest_moving(&moved.path().join("t")).expect("moved in"), tree);
}

#[test]
fn trees_that_agree_merge_and_others_name_the_path() {
    let (_guard, store) = store();
    let file = |text: &str| Node::File { digest: store.put_bytes(text.as_bytes()).expect("kept"), executable: false };
    let tree = |entries: &[(&str, Node)]| {
        let mut builder = TreeBuilder::new();
        entries.iter().for_each(|(p, node)| builder.insert(&path(p), node.clone()).expect("inserted"));
        builder.finish(&store).expect("built")
    };
    let one = tree(&[("usr/lib/a", file("a")), ("usr/include/x.h", file("x"))]);
    let two = tree(&[("usr/lib/b", file("b")), ("usr/include/x.h", file("x"))]);
    let both = store.merge(&[one, two]).expect("merged");
    let names: Vec<_> = store.walk(&both).expect("walked").iter().map(|e| e.path.to_string()).collect();
    assert_eq!(names, ["usr", "usr/include", "usr/include/x.h", "usr/lib", "usr/lib/a", "usr/lib/b"]);
    assert_eq!(store.lookup(&both, &path("usr/lib/b")).expect("looked up"), Some(file("b")));

    let other = tree(&[("usr/include/x.h", file("y"))]);
    match store.merge(&[one, other]) {
        Err(StoreError::Conflict { path }) => assert_eq!(path, "usr/include/x.h"),
        result => panic!("{result:?}"),
    }
}

#[test]
fn a_damaged_blob_is_reported_removed_and_can_be_put_again() {
    let (_guard, store) = store();
    let digest = store.put_bytes(b"content").expect("kept");
    let path = store.blob_path(&digest, false);
    let time = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).expect("a time");
    file::write_atomic(&path, b"c0ntent", 0o644).expect("damaged");
    // Who writes to a blob changes its time, and it does not count any more.
    assert!(!store.has(&digest));
    assert!(matches!(store.read(&digest, 100), Err(StoreError::Missing(_))));
    // Where the disk is to blame, the time is as it was.
    file::open(&path).expect("opened").set_modified(time).expect("set");
    assert!(matches!(store.read(&digest, 100), Err(StoreError::Damaged(_))));
    assert!(!store.has(&digest));
    assert_eq!(store.put_bytes(b"content").expect("kept"), digest);
    assert_eq!(store.read(&digest, 100).expect("read"), b"content");
}

#[test]
fn a_damaged_action_result_counts_as_absent() {
    use bazel_remote_apis::build::bazel::remote::execution::v2::ActionResult;
    let (_guard, store) = store();
    let action = Digest::of(b"an action");
    let result = ActionResult { exit_code: 7, ..Default::default() };
    store.put_action_result(&action, &result).expect("recorded");
    assert_eq!(store.action_result(&action), Some(result));
    let hex = action.hex();
    let file = store.root().join("actions").join(&hex[..2]).join(&hex[2..]);
    let mut bytes = file::read(&file, 1000).expect("read");
    *bytes.last_mut().expect("not empty") ^= 1;
    file::write_atomic(&file, &bytes, 0o644).expect("damaged");
    assert_eq!(store.action_result(&action), None);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_directory_reader_panic(bytes: Vec<u8>) {
        if let Ok(tree) = Tree::decode(&bytes) {
            for name in tree.entries.keys() {
                proptest::prop_assert!(!name.contains('/') && name != ".." && !name.is_empty());
            }
        }
    }
}

#[test]
fn many_links_to_a_blob_whose_other_copy_is_made_meanwhile() {
    let (_folder, store) = store();
    for round in 0..50_u32 {
        // The copy with the executable bit is missing: each of these is the one that makes it.
        let digest = store.put_bytes(&round.to_le_bytes()).unwrap();
        let entries = (0..64).map(|name| (format!("{name}"), Node::File { digest, executable: true }));
        let tree = store.put_tree(&Tree { entries: entries.collect() }).unwrap();
        let target = tempfile::tempdir_in(store.root()).unwrap();
        store.checkout_into(&tree, &target.path().join("tree")).unwrap();
    }
}

/// Changes content behind the store's back, as a failing disk does: the time stays.
fn spoil(path: &std::path::Path, content: &[u8]) {
    let time = fs::metadata(path).and_then(|metadata| metadata.modified()).expect("a time");
    let mut file = File::options().write(true).truncate(true).open(path).expect("opened");
    std::io::Write::write_all(&mut file, content).expect("written");
    file.set_modified(time).expect("set");
}

fn one_file(store: &Store, content: &[u8]) -> (Digest, Digest) {
    let digest = store.put_bytes(content).expect("kept");
    let node = Node::File { digest, executable: false };
    (digest, store.put_tree(&Tree { entries: [("file".to_owned(), node)].into() }).expect("kept"))
}

#[test]
fn a_tree_whose_files_were_cut_short_is_not_used_again() {
    let (guard, store) = store();
    let (digest, tree) = one_file(&store, b"content");
    let out = store.checkout(&tree).expect("checked out");
    spoil(&out.join("file"), b"");
    // What a process has found whole it does not look at again: this is the next one.
    let store = Store::open(guard.path()).expect("a store");
    assert!(matches!(store.checkout(&tree), Err(StoreError::Missing(lost)) if lost == digest));
    store.put_bytes(b"content").expect("kept");
    let out = store.checkout(&tree).expect("made again");
    assert_eq!(file::read(&out.join("file"), 100).expect("read"), b"content");
}

#[test]
fn after_a_power_cut_everything_is_read_and_what_is_lost_is_forgotten() {
    use bazel_remote_apis::build::bazel::remote::execution::v2::{ActionResult, OutputDirectory};
    let (folder, store) = store();
    let marks = || unsynced_marks(folder.path());
    assert!(marks().is_empty(), "nothing has been written yet");
    let result = |tree: &Digest| {
        let root_directory_digest = Some(to_message(tree));
        let output = OutputDirectory { path: "out".into(), root_directory_digest, ..Default::default() };
        ActionResult { output_directories: vec![output], ..Default::default() }
    };
    let [(lost, lost_tree), (kept, kept_tree)] = [b"aaaa", b"bbbb"].map(|content| one_file(&store, content));
    let [lost_action, kept_action] = [b"1", b"2"].map(|action| Digest::of(action));
    store.put_action_result(&lost_action, &result(&lost_tree)).expect("recorded");
    store.put_action_result(&kept_action, &result(&kept_tree)).expect("recorded");
    let out = store.checkout(&lost_tree).expect("checked out");
    assert_eq!(marks().len(), 1);

    // Of this boot: what was written reads back.
    spoil(&store.blob_path(&lost, false), &[0; 4]);
    assert!(!store.was_cut_off().expect("told"));
    store.recover().expect("recovered");
    assert!(marks().is_empty() && store.has(&lost));
    // Of another: it may not.
    file::write_atomic(&folder.path().join("unsynced/another-boot.1"), b"", 0o600).expect("written");
    assert!(store.was_cut_off().expect("told"));
    store.recover().expect("recovered");
    assert!(marks().is_empty() && !store.has(&lost) && store.has(&kept) && !out.exists());
    assert!(store.action_result(&lost_action).is_none() && store.action_result(&kept_action).is_some());
}

#[test]
fn who_has_written_syncs_and_takes_the_mark_away() {
    let (folder, store) = store();
    store.put_bytes(b"content").expect("kept");
    let (other, boot) = (store.clone(), unsynced_marks(folder.path()));
    assert_eq!(boot.len(), 1);
    drop(store);
    assert_eq!(unsynced_marks(folder.path()), boot, "a clone may still write");
    drop(other);
    assert!(unsynced_marks(folder.path()).is_empty());
    // Who only reads has nothing to sync.
    let store = Store::open(folder.path()).expect("a store");
    store.put_bytes(b"content").expect("there already");
    assert!(unsynced_marks(folder.path()).is_empty());
}

fn unsynced_marks(root: &std::path::Path) -> Vec<String> {
    file::list(&root.join("unsynced")).expect("listed")
}

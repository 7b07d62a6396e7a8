//! A cache that is damaged, read-only, or no cache at all.

use crate::command::{in_namespace, osbuild, Project};
use crate::tiny::Tiny;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

fn blobs(cache: &Path) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(cache.join("blobs")).into_iter().flatten();
    files.filter(|entry| entry.file_type().is_file()).map(|entry| entry.into_path()).collect()
}

/// Overwrites every copy of a blob in place, as who follows a link to it would; its size stays the same.
fn damage(cache: &Path, content: &[u8]) {
    let copies: Vec<_> =
        blobs(cache).into_iter().filter(|path| std::fs::read(path).expect("read") == content).collect();
    assert!(!copies.is_empty(), "no blob has that content");
    copies.iter().for_each(|path| std::fs::write(path, vec![b'#'; content.len()]).expect("written"));
}

/// The same as a failing disk does it: the time stays as it was, and nothing tells but the content.
fn damage_unseen(cache: &Path, content: &[u8]) {
    let times: Vec<_> = blobs(cache)
        .into_iter()
        .filter(|path| std::fs::read(path).expect("read") == content)
        .map(|path| (std::fs::metadata(&path).and_then(|metadata| metadata.modified()).expect("a time"), path))
        .collect();
    damage(cache, content);
    times.iter().for_each(|(time, path)| File::open(path).and_then(|file| file.set_modified(*time)).expect("set"));
}

#[test]
fn a_cache_that_cannot_be_made_is_named() {
    let cache = tempfile::tempdir().expect("a folder");
    let file = cache.path().join("file");
    std::fs::write(&file, "").expect("written");
    let project = Project::of_this_repository().env("OSBUILD_CACHE", file.join("x").display().to_string());
    osbuild(&project, &["plan"]).fails_with(&["cannot create folder `", "file/x`", "Not a directory", "OSBUILD_CACHE"]);
}

#[test]
fn damage_is_found_removed_and_made_again() {
    let cache = tempfile::tempdir().expect("a folder");
    let project = Project::copy().env("OSBUILD_CACHE", cache.path().display().to_string());
    osbuild(&project, &["plan"]).succeeds();
    osbuild(&project, &["cache", "verify"]).succeeds();
    let largest = blobs(cache.path()).into_iter().max_by_key(|path| std::fs::metadata(path).map_or(0, |m| m.len()));
    std::fs::write(largest.expect("a blob"), "damaged").expect("written");
    osbuild(&project, &["cache", "verify"]).fails_with(&["the cache was damaged", "is made again when needed"]);
    osbuild(&project, &["cache", "verify"]).succeeds();
    osbuild(&project, &["plan"]).succeeds();
    let stat = osbuild(&project, &["cache", "stat"]).succeeds().output;
    assert!(stat.contains("results") && stat.contains("files"), "{stat}");
    osbuild(&project, &["cache", "gc", "--keep-days", "0"]).succeeds();
}

#[test]
fn damaged_bytes_never_reach_a_build_nor_its_result() {
    let tiny = Tiny::new();
    let made = "mkdir -p $DESTDIR/usr\necho right > $DESTDIR/usr/made";
    tiny.script("one", &[], made);
    let link = tiny.project.root.join("out/recipes/one/usr/made");
    tiny.osbuild(&["build", "one"]).succeeds();
    assert_eq!(std::fs::read_to_string(&link).expect("read"), "right\n");
    damage(tiny.cache.path(), b"right\n");
    assert_eq!(std::fs::read_to_string(&link).expect("read"), "######", "the result shares its file with the cache");
    tiny.osbuild(&["build", "one"]).succeeds();
    assert_eq!(std::fs::read_to_string(&link).expect("read"), "right\n");
    // A tool, which is linked into a tree that was checked out before.
    let tree = tiny.osbuild(&["tools", "tiny"]).succeeds().output;
    let tool = Path::new(tree.trim()).join("usr/bin/mkdir");
    let right = std::fs::read(&tool).expect("read");
    damage(tiny.cache.path(), &right);
    assert!(std::fs::read(&tool).expect("read") != right, "the tree shares its files with the cache");
    tiny.script("two", &[], made);
    let ended = tiny.osbuild(&["build", "two"]).succeeds();
    assert!(ended.errors.contains("lost from the cache; making it again"), "{}", ended.errors);
    assert!(std::fs::read(&tool).expect("read") == right, "the tool is still damaged");
    tiny.osbuild(&["cache", "verify"]).succeeds();
}

#[test]
fn results_that_are_garbage_count_as_absent() {
    let tiny = Tiny::new();
    tiny.script("one", &[], "mkdir -p $DESTDIR/usr\necho right > $DESTDIR/usr/made");
    tiny.osbuild(&["build", "one"]).succeeds();
    for entry in walkdir::WalkDir::new(tiny.cache.path().join("actions")).into_iter().flatten() {
        if entry.file_type().is_file() {
            std::fs::write(entry.path(), "garbage").expect("written");
        }
    }
    let ended = tiny.osbuild(&["build", "one"]).succeeds();
    assert!(ended.errors.contains("one:build"), "{}", ended.errors);
}

#[test]
fn a_read_only_cache_serves_what_it_has_and_says_what_it_cannot_do() {
    let tiny = Tiny::new();
    tiny.script("one", &[], "mkdir -p $DESTDIR/usr\necho 1 > $DESTDIR/usr/made");
    tiny.osbuild(&["build", "one"]).succeeds();
    let read_only = "mount --bind \"$OSBUILD_CACHE\" \"$OSBUILD_CACHE\"\nmount -o remount,bind,ro \"$OSBUILD_CACHE\"\n";
    let build = |name: &str| in_namespace(&tiny.project, &format!("{read_only}exec \"$OSBUILD\" build {name}"));
    build("one").succeeds();
    // Nor can a power cut's mark be taken away.
    std::fs::write(tiny.cache.path().join("unsynced/another-boot.1"), "").expect("written");
    build("one").succeeds();
    tiny.script("two", &[], "mkdir -p $DESTDIR/usr\necho 2 > $DESTDIR/usr/made");
    let cache = tiny.cache.path().display().to_string();
    build("two").fails_with(&["Read-only file system", &cache, "set OSBUILD_CACHE to a folder that can be written"]);
    tiny.osbuild(&["build", "two"]).succeeds();
}

#[test]
fn what_a_power_cut_left_is_read_before_it_is_used() {
    let tiny = Tiny::new();
    let made = "mkdir -p $DESTDIR/usr\necho right > $DESTDIR/usr/made";
    tiny.script("one", &[], made);
    tiny.osbuild(&["build", "one"]).succeeds();
    let marks = tiny.cache.path().join("unsynced");
    assert_eq!(std::fs::read_dir(&marks).expect("listed").count(), 0, "what was written has not been synced");
    let tree = tiny.osbuild(&["tools", "tiny"]).succeeds().output;
    let tool = std::fs::read(Path::new(tree.trim()).join("usr/bin/mkdir")).expect("read");
    [tool.as_slice(), b"right\n"].iter().for_each(|content| damage_unseen(tiny.cache.path(), content));
    std::fs::write(marks.join("another-boot.1"), "").expect("written");
    tiny.script("two", &["one"], made);
    let ended = tiny.osbuild(&["build", "one", "two"]).succeeds();
    assert!(ended.errors.contains("the machine stopped while the cache was written to"), "{}", ended.errors);
    for name in ["one", "two"] {
        let link = tiny.project.root.join(format!("out/recipes/{name}/usr/made"));
        assert_eq!(std::fs::read_to_string(link).expect("read"), "right\n");
    }
    let ended = tiny.osbuild(&["build", "one", "two"]).succeeds();
    assert!(ended.errors.is_empty(), "it is read once: {}", ended.errors);
    tiny.osbuild(&["cache", "verify"]).succeeds();
}

/// The one file that Tiny's mirror has.
fn package(tiny: &Tiny) -> PathBuf {
    let mut files = std::fs::read_dir(tiny.mirror.path()).expect("listed").flatten();
    files.next().expect("a package").path()
}

fn forget_results(tiny: &Tiny) {
    std::fs::remove_dir_all(tiny.cache.path().join("actions")).expect("removed");
}

#[test]
fn an_archive_that_was_damaged_in_the_cache_is_fetched_again() {
    let tiny = Tiny::new();
    tiny.script("one", &[], "mkdir -p $DESTDIR/usr\necho right > $DESTDIR/usr/made");
    tiny.osbuild(&["build", "one"]).succeeds();
    let package = package(&tiny);
    damage_unseen(tiny.cache.path(), &std::fs::read(&package).expect("read"));
    forget_results(&tiny);
    let ended = tiny.osbuild(&["build", "one"]).succeeds();
    assert!(ended.errors.contains("fetched tiny"), "{}", ended.errors);
    // Where it cannot be fetched, the cache is to blame, and not the archive.
    damage_unseen(tiny.cache.path(), &std::fs::read(&package).expect("read"));
    forget_results(&tiny);
    std::fs::remove_file(&package).expect("removed");
    let ended = tiny.osbuild(&["build", "one", "--offline"]).fails_with(&["cannot fetch `tiny"]);
    assert!(!ended.errors.contains("to do harm"), "{}", ended.errors);
}

/// Lets everything in a folder of the cache, two levels deep at most, be `days` old.
fn grow_old(cache: &Path, folder: &str, days: u64) {
    let time = SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
    for entry in walkdir::WalkDir::new(cache.join(folder)).max_depth(2).into_iter().flatten() {
        File::open(entry.path()).and_then(|file| file.set_modified(time)).expect("set");
    }
}

#[test]
fn a_sweep_takes_what_is_old_and_leaves_what_an_offline_build_needs() {
    let tiny = Tiny::new();
    let cache = tiny.cache.path();
    let gc = |days: &str| tiny.osbuild(&["cache", "gc", "--keep-days", days]).succeeds().output;
    tiny.script("one", &[], "mkdir -p $DESTDIR/usr\necho right > $DESTDIR/usr/made");
    tiny.script("broken", &[], "false");
    tiny.osbuild(&["build", "one"]).succeeds();
    tiny.osbuild(&["build", "broken"]).fails_with(&["task `broken:build` failed"]);

    // What is young stays: nothing has to be done again.
    assert!(gc("1").starts_with("removed 0 results, 0 failed sandboxes and 0 files"));
    let ended = tiny.osbuild(&["build", "one"]).succeeds();
    assert!(ended.errors.is_empty(), "{}", ended.errors);

    ["actions", "failed"].iter().for_each(|folder| grow_old(cache, folder, 20));
    assert!(gc("30").starts_with("removed 0 results, 0 failed sandboxes"));
    // To be looked at by a sweep is no use.
    let removed = gc("10");
    assert!(!removed.starts_with("removed 0 results") && removed.contains(" 1 failed sandboxes "), "{removed}");
    let results = walkdir::WalkDir::new(cache.join("actions")).into_iter().flatten();
    assert_eq!(results.filter(|entry| entry.file_type().is_file()).count(), 0);

    // Whatever its age, what the lock names can still be built from.
    let package = package(&tiny);
    gc("0");
    let bytes = std::fs::read(&package).expect("read");
    assert!(blobs(cache).iter().any(|path| std::fs::read(path).expect("read") == bytes), "the package is gone");
    assert_eq!(blobs(cache).len(), 1, "what nothing needs is gone");
    std::fs::remove_file(&package).expect("removed");
    tiny.osbuild(&["build", "one", "--offline"]).succeeds();
}

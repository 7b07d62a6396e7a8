//! A disk that is full: under the cache, under a task, under `out/`. Each time the message names the path, and
//! room is all that the next run needs.
//!
//! Invariant: the disks are small ones in memory, in a mount namespace of the test's own.

use crate::command::{in_namespace, Ended, Project};
use crate::tiny::Tiny;

/// Runs the words on a full disk of `size` at `folder`, and again after it has grown; returns both ends.
fn on_small_disk(project: &Project, folder: &str, size: &str, words: &str) -> (Ended, Ended) {
    let small = format!("mkdir -p \"{folder}\"\nmount -t tmpfs -o size={size} none \"{folder}\"\n");
    let script = format!(
        "{small}if \"$OSBUILD\" {words}; then echo passed >&2; exit 3; else status=$?; fi\n\
         echo \"=== $status\" >&2\nmount -o remount,size=1g \"{folder}\"\nexec \"$OSBUILD\" {words}"
    );
    let ended = in_namespace(project, &script);
    let (first, second) = ended.errors.split_once("=== ").expect("it must fail at first");
    let (status, second) = second.split_once('\n').expect("a line");
    let first = Ended { status: status.parse().expect("a number"), output: String::new(), errors: first.to_owned() };
    let second = Ended { status: ended.status, output: ended.output, errors: second.to_owned() };
    (first, second)
}

#[test]
fn a_full_cache_is_named_and_room_is_enough() {
    let tiny = Tiny::new();
    tiny.script("one", &[], "mkdir -p $DESTDIR/usr\necho 1 > $DESTDIR/usr/made");
    let cache = tiny.cache.path().display().to_string();
    for size in ["1m", "3m", "5m"] {
        let (full, roomy) = on_small_disk(&tiny.project, &cache, size, "build one");
        full.fails_with(&["No space left on device", &format!("`{cache}/"), "free some space", "cache gc"]);
        roomy.succeeds();
    }
}

#[test]
fn a_task_that_fills_the_disk_is_told_so() {
    let tiny = Tiny::new();
    tiny.script("large", &[], "mkdir -p $DESTDIR/usr\nhead -c 40000000 /dev/zero > $DESTDIR/usr/made");
    let cache = tiny.cache.path().display().to_string();
    let (full, roomy) = on_small_disk(&tiny.project, &cache, "30m", "build large");
    full.fails_with(&["task `large:build` failed", "No space left on device", "free some space", &cache]);
    let roomy = roomy.succeeds();
    assert!(!roomy.errors.contains("tools:tiny"), "what was finished is not done again:\n{}", roomy.errors);
}

#[test]
fn a_full_output_folder_leaves_no_half_image() {
    let project = Project::copy();
    let out = project.root.join("out").display().to_string();
    let (full, roomy) = on_small_disk(&project, &out, "20m", "image");
    let full = full.fails_with(&["No space left on device", &format!("`{out}/images/gateway/"), "free some space"]);
    assert!(!full.errors.contains("cache gc"), "sweeping the cache makes no room here:\n{}", full.errors);
    let roomy = roomy.succeeds();
    assert!(roomy.output.contains("out/images/gateway/latest/disk.img"), "{}", roomy.output);
}

//! Two builds of the default product and of apps, which share nothing but what was fetched, in; one and the same image,
//! and the same apps, out.
//!
//! The second build runs in another folder, from an empty cache, as another user, with another umask and locale, on
//! one processor. On every run it takes over the compiled kernel, and compiles all else; with
//! `OSBUILD_TEST_REPRODUCE=everything` the kernel too.
//! Invariant: the second build has no result of the first but the kernel's.
#![allow(clippy::disallowed_methods)]

mod command;

use command::{osbuild, statement, Project};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A user that has no name on any machine.
const OTHER_USER: &str = "43210";

#[test]
fn another_user_elsewhere_on_one_processor_builds_the_same_image() {
    let first = Project::of_this_repository();
    let disk = osbuild(&first, &["image"]).succeeds().output;
    let image = first.root.join(disk.trim()).parent().expect("a folder").canonicalize().expect("an image");
    let manifest = statement(&image);

    // Beside the first cache, so that what was fetched can be linked.
    let cache = tempfile::tempdir_in(cache_folder().parent().expect("a folder")).expect("a folder");
    take_over(&cache_folder(), cache.path(), &manifest);
    let second = Project::copy();
    take_keys(&first.root.join("keys"), &second.root.join("keys"));
    let (others, errors) = elsewhere(&second, cache.path(), &["image"]);
    for compiled in ["musl:build", "curl:build", "osagent:build", "image:erofs"] {
        assert!(errors.contains(compiled), "`{compiled}` was not run again:\n{errors}");
    }
    let others = second.root.join(others.trim()).parent().expect("a folder").canonicalize().expect("an image");

    assert_ne!(image, others);
    let different = differences(&manifest, &statement(&others));
    assert!(different.is_empty(), "the builds differ in:\n{}", different.join("\n"));
    for name in ["manifest.dsse.json", "disk.img.bmap"] {
        let [ours, theirs] = [&image, &others].map(|folder| std::fs::read(folder.join(name)).expect("read"));
        assert!(ours == theirs, "`{name}` differs");
    }
    osbuild(
        &second,
        &["verify", &others.display().to_string(), "--keys", &first.root.join("keys").display().to_string()],
    )
    .succeeds();

    follow_and_repeat(&image, &second, cache.path());

    // In Rust, and in C with another app's libraries.
    for app in ["guardian", "panel"] {
        let ours = osbuild(&first, &["app", "build", app]).succeeds().output;
        let (theirs, errors) = elsewhere(&second, cache.path(), &["app", "build", app]);
        assert!(errors.contains(&format!("{app}:build")), "`{app}` was not compiled again:\n{errors}");
        let file = |project: &Project, path: &str| std::fs::read(project.root.join(path.trim())).expect("read");
        assert!(file(&first, &ours) == file(&second, &theirs), "the app `{app}` differs");
    }
}

/// A release that follows the one before it is built again elsewhere from what its manifest says, and from nothing else of
/// the one before.
fn follow_and_repeat(previous: &Path, second: &Project, cache: &Path) {
    let third = Project::copy();
    take_keys(&Project::of_this_repository().root.join("keys"), &third.root.join("keys"));
    for project in [&third, second] {
        project.write("rootfs/base/etc/a.conf", "a = 1\n");
    }
    let ended = osbuild(&third, &["image", "--previous", &previous.display().to_string()]).succeeds();
    assert!(ended.errors.contains("files stay where gateway "), "{}", ended.errors);
    let image = third.root.join(ended.output.trim()).parent().expect("a folder").canonicalize().expect("an image");
    let manifest = statement(&image);
    let places = manifest["predicate"]["layout"].as_object().expect("a layout");
    assert!(places.contains_key("/etc/a.conf") && places.contains_key("/"), "{places:?}");

    let (others, errors) = elsewhere(second, cache, &["image", "--layout", &image.display().to_string()]);
    assert!(errors.contains("image:place"), "{errors}");
    let others = second.root.join(others.trim()).parent().expect("a folder").canonicalize().expect("an image");
    let different = differences(&manifest, &statement(&others));
    assert!(different.is_empty(), "the builds differ in:\n{}", different.join("\n"));
}

fn cache_folder() -> PathBuf {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("OSBUILD_CACHE")
        .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("osbuild")))
        .or_else(|| Some(folder("HOME")?.join(".cache/osbuild")))
        .expect("a cache folder")
}

/// Links all content, which counts for nothing without the result of an action that names it, and the kernel's result.
fn take_over(from: &Path, to: &Path, manifest: &Value) {
    link_tree(&from.join("blobs"), &to.join("blobs"));
    if std::env::var("OSBUILD_TEST_REPRODUCE").is_ok_and(|what| what == "everything") {
        return;
    }
    // Straight to standard error, which the test harness does not keep to itself.
    let said = writeln!(
        std::io::stderr(),
        "the kernel is not compiled again: OSBUILD_TEST_REPRODUCE=everything does that too"
    );
    said.expect("said");
    let action = manifest["predicate"]["actions"]["image:kernel.config"].as_str().expect("the kernel's action");
    let action = action.split('/').next().expect("a digest");
    let place = format!("actions/{}", &action[..2]);
    std::fs::create_dir_all(to.join(&place)).expect("made");
    let place = format!("{place}/{}", &action[2..]);
    std::fs::copy(from.join(&place), to.join(&place)).expect("the kernel's result");
}

/// Keys are no part of what has to be equal: both builds sign with the same ones.
fn take_keys(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("made");
    for entry in std::fs::read_dir(from).expect("listed") {
        let entry = entry.expect("listed");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

fn link_tree(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.expect("listed");
        let target = to.join(entry.path().strip_prefix(from).expect("below"));
        match entry.file_type().is_dir() {
            true => std::fs::create_dir_all(&target).expect("made"),
            false => std::fs::hard_link(entry.path(), &target).expect("linked"),
        }
    }
}

/// `osbuild` as another user, with other habits; what it prints and what it tells.
fn elsewhere(project: &Project, cache: &Path, words: &[&str]) -> (String, String) {
    let user = [format!("--map-user={OTHER_USER}"), format!("--map-group={OTHER_USER}")];
    let output = Command::new("unshare")
        .arg("--user")
        .args(user)
        .args(["sh", "-c", "umask 077; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_osbuild")])
        .args(words)
        .args(["--jobs", "1"])
        .current_dir(&project.root)
        .env("OSBUILD_CACHE", cache)
        .env_remove("OSBUILD_KEYS")
        .envs([("LC_ALL", "tr_TR.UTF-8"), ("TZ", "Pacific/Chatham"), ("USER", "somebody")])
        .output()
        .expect("unshare can be started");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {errors}", output.status);
    (String::from_utf8(output.stdout).expect("text"), errors)
}

/// What the two manifests say otherwise, a line each.
fn differences(ours: &Value, theirs: &Value) -> Vec<String> {
    fn compare(path: &str, ours: &Value, theirs: &Value, lines: &mut Vec<String>) {
        match (ours, theirs) {
            (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
                a.iter().for_each(|(key, value)| compare(&format!("{path}/{key}"), value, &b[key], lines));
            }
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
                a.iter().zip(b).for_each(|(a, b)| compare(&format!("{path}/{}", a["name"]), a, b, lines));
            }
            (a, b) if a != b => lines.push(format!("{path}: {a} and {b}")),
            _ => {}
        }
    }
    let mut lines = Vec::new();
    compare("", ours, theirs, &mut lines);
    lines
}

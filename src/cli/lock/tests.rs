//! A whole project locked from an archive of the test: what is written, what is compared, and what stays.

use super::*;
use crate::tools::fetch::FetchOptions;
use crate::tools::lock::tests::TestArchive;

const RECIPE: &str = "schema: 1\nrecipe: NAME\nversion: \"1\"\nsummary: a test\nlicense: MIT\nMOREclass: make\n\
    packages:\n  - name: NAME\n    files: [\"/**\"]\n";

/// Two products of one machine; only `door-dev` has the recipe `extra`, through an override.
fn project() -> (tempfile::TempDir, Project) {
    let folder = tempfile::tempdir().expect("a folder");
    let project = Project { root: folder.path().join("project"), cache: folder.path().join("cache") };
    for (path, text) in [
        ("layers/core/layer.yaml", "schema: 1\nlayer: core\npriority: 10\n"),
        (
            "layers/core/machines/board.yaml",
            "schema: 1\nmachine: board\narchitecture: x86_64\nconsole: ttyS0\nkernel: linux\nefi-stub: linux\n\
             partitions: {esp: 32M, root: 48M, verity: 1M, data: 64M}\n",
        ),
        (
            "layers/core/products/door.yaml",
            "schema: 1\nproduct: door\ntitle: Door\nversion: \"1.0.0\"\nmachine: board\npackages: [linux]\n\
             hostname: door\nproduction: true\nsupport-until: \"2031-12-31\"\n",
        ),
        ("layers/core/products/door-dev.yaml", "schema: 1\nproduct: door-dev\nextends: door\n"),
        ("layers/core/tools/c.yaml", "schema: 1\ntools: c\npackages:\n  - hello\n"),
    ] {
        write(&project, path, text);
    }
    write(&project, "recipes/linux.yaml", &RECIPE.replace("NAME", "linux").replace("MORE", ""));
    file::create_dir_all(&project.root.join("kernel-config")).expect("made");
    file::create_dir_all(&project.cache).expect("made");
    (folder, project)
}

fn write(project: &Project, path: &str, text: &str) {
    let path = project.root.join(path);
    file::create_dir_all(path.parent().expect("a folder")).expect("made");
    file::write_atomic(&path, text.as_bytes(), 0o644).expect("written");
}

fn written(project: &Project) -> Option<String> {
    file::read_text(&project.root.join(LOCK_FILE)).ok()
}

fn run(project: &Project, archive: TestArchive, check: bool) -> Result<(), Failure> {
    let trust = archive.trust();
    let options = FetchOptions { debian_mirror: Some(archive.serve()), ..FetchOptions::new(&project.root) };
    lock_from(project, &LockArgs { check }, &Fetcher::new(options), &trust)
}

#[test]
fn a_lock_is_written_once_and_checked_against() {
    let (_folder, project) = project();
    let error = run(&project, TestArchive::new(), true).expect_err("there is none").to_string();
    assert!(error.contains("osbuild.lock is not what a new one would be") && error.contains("run `osbuild lock`"));
    assert_eq!(written(&project), None);
    run(&project, TestArchive::new(), false).unwrap_or_else(|failure| panic!("{failure}"));
    let first = written(&project).expect("written");
    assert!(
        first.contains("  c: {packages: [hello], exclude: []}\n") && first.contains("{name: world, version: \"1.0-2\"")
    );
    run(&project, TestArchive::new(), true).unwrap_or_else(|failure| panic!("{failure}"));
    write(&project, "layers/core/tools/c.yaml", "schema: 1\ntools: c\npackages:\n  - world\n");
    assert!(run(&project, TestArchive::new(), true).is_err());
    assert_eq!(written(&project).as_ref(), Some(&first));
}

#[test]
fn what_only_another_product_has_is_locked_too() {
    let (_folder, project) = project();
    let mut archive = TestArchive::new();
    archive.files.insert("/pool/extra".to_owned(), b"abc".to_vec());
    let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let change = format!("append: {{sources: [{{places: [{{debian: pool/extra}}], sha256: \"{hex}\"}}]}}\n");
    let text = format!("schema: 1\noverride: recipe linux\n{change}when: {{product: door-dev}}\n");
    write(&project, "layers/core/overrides/dev.yaml", &text);
    run(&project, archive, false).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(written(&project).expect("written").contains(&format!("\"{hex}\": 3\n")));
}

#[test]
fn the_old_lock_stays_whatever_fails() {
    let (_folder, project) = project();
    write(&project, LOCK_FILE, "schema: 1\n");
    let mut unsigned = TestArchive::new();
    unsigned.files.insert("/dists/bookworm/InRelease".to_owned(), b"Codename: bookworm\n".to_vec());
    let error = run(&project, unsigned, false).expect_err("not signed").to_string();
    assert!(error.contains("the index of suite `bookworm` is not trusted"), "{error}");
    assert!(error.contains("export OSBUILD_DEBIAN_MIRROR="), "{error}");
    write(&project, "layers/core/tools/c.yaml", "schema: 1\ntools: c\npackages:\n  - helo\n");
    let error = run(&project, TestArchive::new(), false).expect_err("misspelt").to_string();
    for part in ["--> layers/core/tools/c.yaml:4:5", "there is no package `helo`", "did you mean `hello`?", "help: "] {
        assert!(error.contains(part), "`{part}` is not in:\n{error}");
    }
    assert_eq!(written(&project).as_deref(), Some("schema: 1\n"));
}

#[test]
fn a_wrong_sha256_in_a_recipe_is_shown_with_its_line() {
    let (_folder, project) = project();
    let source = format!("sources:\n  - places: [debian: pool/x]\n    sha256: \"{}\"\n", "0".repeat(64));
    write(&project, "recipes/linux.yaml", &RECIPE.replace("NAME", "linux").replace("MORE", &source));
    let mut archive = TestArchive::new();
    archive.files.insert("/pool/x".to_owned(), b"abc".to_vec());
    let error = run(&project, archive, false).expect_err("another file").to_string();
    for part in ["--> recipes/linux.yaml:7:5", "its SHA-256 is ba7816bf", "help: the file at that place is not the one"]
    {
        assert!(error.contains(part), "`{part}` is not in:\n{error}");
    }
}

#[test]
fn a_damaged_lock_is_replaced() {
    let (_folder, project) = project();
    write(&project, LOCK_FILE, "schema: [1\n");
    run(&project, TestArchive::new(), false).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(written(&project).expect("written").starts_with("# Written by `osbuild lock`"));
}

#[test]
fn packages_come_from_the_suites_of_the_highest_layer() {
    let (_folder, project) = project();
    let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let stanza = |version: &str| {
        format!("Package: hello\nVersion: {version}\nFilename: pool/main/hello.deb\nSize: 3\nSHA256: {hex}\n\n")
    };
    let archive = || {
        let mut archive = TestArchive::new();
        archive.suite("newer", &stanza("2.0"), None);
        archive.suite("newest", &stanza("3.0"), None);
        archive
    };
    write(&project, "layers/core/layer.yaml", "schema: 1\nlayer: core\npriority: 10\nsuites: [bookworm]\n");
    write(&project, "layers/site/layer.yaml", "schema: 1\nlayer: site\npriority: 20\nsuites: [newer, newest]\n");
    run(&project, archive(), false).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(written(&project).expect("written").contains("{name: hello, version: \"2.0\""));
    write(&project, "layers/core/tools/c.yaml", "schema: 1\ntools: c\npackages:\n  - hello/newest\n");
    run(&project, archive(), false).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(written(&project).expect("written").contains("{name: hello, version: \"3.0\""));
    write(&project, "layers/core/tools/c.yaml", "schema: 1\ntools: c\npackages:\n  - hello/bookworm\n");
    let error = run(&project, archive(), false).expect_err("another suite").to_string();
    assert!(error.contains("`bookworm` is not one of the suites: newer, newest"), "{error}");
}

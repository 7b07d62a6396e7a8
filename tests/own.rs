//! The tests that the apps of this repository bring along: each app is a project of its own, which `cargo test` here does not see.
//!
//! Invariant: an app with sources has tests, and they are run as its makers would.
#![allow(clippy::disallowed_methods)]

use std::path::{Path, PathBuf};
use std::process::Command;

fn apps() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("apps")
}

fn passes(command: &mut Command) {
    let ended = command.output().expect("started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(ended.status.success(), "{command:?}\n{}\n{}", text(&ended.stdout), text(&ended.stderr));
}

#[test]
fn apps_in_rust_pass_their_tests() {
    let mut tested = 0;
    for app in std::fs::read_dir(apps()).expect("apps").map(|entry| entry.expect("an entry").path()) {
        let manifest = app.join("Cargo.toml");
        if manifest.exists() {
            let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("apps");
            let mut command = Command::new(env!("CARGO"));
            command.args(["test", "--locked", "--quiet", "--manifest-path"]).arg(manifest);
            passes(command.env("CARGO_TARGET_DIR", place));
            tested += 1;
        }
    }
    assert!(tested >= 2, "the guardian and the telemetry");
}

#[test]
fn the_app_in_c_passes_its_tests() {
    // As its Makefile does, for a host that has a compiler and no make.
    let scratch = tempfile::tempdir().expect("a folder");
    let program = scratch.path().join("panel-test");
    let sources = ["test.c", "reading.c", "settings.c"].map(|name| apps().join("panel").join(name));
    passes(Command::new("cc").args(["-std=c11", "-D_DEFAULT_SOURCE", "-o"]).arg(&program).args(sources).arg("-lm"));
    passes(&mut Command::new(program));
}

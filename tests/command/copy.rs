//! What this repository builds from in, a project of its own elsewhere out: for tests and benchmarks alike.
//!
//! Invariant: nothing that was built is copied, and no key.
#![allow(clippy::disallowed_methods)]

use std::path::Path;

const FOLDERS: [&str; 6] = ["apps", "layers", "recipes", "kernel-config", "rootfs", "crates"];

/// Copies the project into the folder `to`.
pub fn project(to: &Path) {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in FOLDERS {
        tree(&repository.join(name), &to.join(name));
    }
    std::fs::copy(repository.join("osbuild.lock"), to.join("osbuild.lock")).expect("copied");
}

pub fn tree(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.expect("listed");
        let target = to.join(entry.path().strip_prefix(from).expect("below"));
        let kind = entry.file_type();
        if kind.is_dir() {
            std::fs::create_dir_all(&target).expect("made");
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(entry.path()).expect("read"), &target).expect("linked");
        } else {
            std::fs::copy(entry.path(), &target).expect("copied");
        }
    }
}

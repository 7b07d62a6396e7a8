//! A project with a tool tree of a few files, for tests that start from an empty cache: a shell and `mkdir`,
//! taken out of the tree `c` and packed as one `.deb`.
//!
//! Invariant: nothing is fetched: the package comes from a folder that serves as the project's mirror.

use crate::command::{osbuild, Ended, Project};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::Path;

const PROGRAMS: [&str; 5] = ["dash", "mkdir", "sleep", "cat", "head"];
const LIBRARIES: [&str; 3] = ["libc.so.6", "libselinux.so.1", "libpcre2-8.so.0"];
const LOADER: &str = "ld-linux-x86-64.so.2";

pub struct Tiny {
    pub project: Project,
    pub cache: tempfile::TempDir,
    /// Holds the one package.
    pub mirror: tempfile::TempDir,
}

impl Tiny {
    pub fn new() -> Tiny {
        let project = Project::copy();
        let (cache, mirror) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let deb = deb();
        let hex = hex::encode(Sha256::digest(&deb));
        std::fs::write(mirror.path().join(&hex), &deb).expect("written");
        project.write("layers/core/tools/tiny.yaml", "schema: 1\ntools: tiny\npackages: [tiny]\n");
        let size = deb.len();
        let line = format!(
            "tools:\n  tiny:\n    - {{name: tiny, version: \"1\", file: pool/tiny.deb, size: {size}, sha256: \"{hex}\"}}\n"
        );
        project.edit("osbuild.lock", "\ntools:\n", &format!("\n{line}"));
        let request = "requests:\n  tiny: {packages: [tiny], exclude: []}\n";
        project.edit("osbuild.lock", "\nrequests:\n", &format!("\n{request}"));
        let project = project
            .env("OSBUILD_CACHE", cache.path().display().to_string())
            .env("OSBUILD_MIRROR", mirror.path().display().to_string())
            .env("OSBUILD_DEBIAN_MIRROR", "http://127.0.0.1:9/debian");
        Tiny { project, cache, mirror }
    }

    /// Adds a recipe that runs `script` on the tiny tree, after those in `depends`.
    pub fn script(&self, name: &str, depends: &[&str], script: &str) {
        self.project.script(name, script);
        let path = format!("recipes/{name}/recipe.yaml");
        let depends = depends.join(", ");
        self.project.edit(&path, "class: make\n", &format!("class: make\ntools: [tiny]\nbuild-depends: [{depends}]\n"));
    }

    pub fn osbuild(&self, args: &[&str]) -> Ended {
        osbuild(&self.project, args)
    }
}

/// The tree `c`, which every recipe of this repository needs, too.
fn deb() -> Vec<u8> {
    let tree = osbuild(&Project::of_this_repository(), &["tools", "c"]).succeeds().output;
    let tree = Path::new(tree.trim()).join("usr");
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |from: &str, to: &str| {
        let bytes = std::fs::read(tree.join(from)).expect("in the tree `c`");
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, to, bytes.as_slice()).expect("in memory");
    };
    PROGRAMS.iter().for_each(|name| add(&format!("bin/{name}"), &format!("usr/bin/{name}")));
    add("bin/dash", "usr/bin/sh");
    LIBRARIES.iter().for_each(|name| add(&format!("lib/x86_64-linux-gnu/{name}"), &format!("usr/lib/{name}")));
    add(&format!("lib/x86_64-linux-gnu/{LOADER}"), &format!("usr/lib64/{LOADER}"));
    let data = tar.into_inner().expect("in memory");
    let mut deb = b"!<arch>\n".to_vec();
    for (name, content) in [("debian-binary", b"2.0\n".as_slice()), ("data.tar", &data)] {
        writeln!(deb, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, 100644, content.len()).expect("in memory");
        deb.extend(content);
    }
    deb
}

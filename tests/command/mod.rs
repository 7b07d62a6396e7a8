//! The `osbuild` program as a user runs it: words in, exit status and text out.
//!
//! Invariant: a project of a test lies in a folder of its own; only the cache is shared.
#![allow(dead_code, clippy::disallowed_methods)]

pub mod copy;
pub mod guest;
pub mod payload;
pub mod terminal;

use base64::Engine;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Project {
    pub root: PathBuf,
    pub env: Vec<(&'static str, String)>,
    _folder: Option<tempfile::TempDir>,
}

pub struct Ended {
    pub status: i32,
    pub output: String,
    pub errors: String,
}

impl Project {
    pub fn of_this_repository() -> Project {
        Project { root: env!("CARGO_MANIFEST_DIR").into(), env: Vec::new(), _folder: None }
    }

    /// A copy of what this repository builds from, to be changed at will.
    pub fn copy() -> Project {
        let folder = tempfile::tempdir().expect("a folder");
        copy::project(folder.path());
        Project { root: folder.path().to_owned(), env: Vec::new(), _folder: Some(folder) }
    }

    pub fn env(mut self, name: &'static str, value: impl Into<String>) -> Project {
        self.env.push((name, value.into()));
        self
    }

    /// Lets `command` run in the project, with its environment.
    pub fn prepare<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.current_dir(&self.root).envs(self.env.iter().map(|(name, value)| (name, value)))
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    /// Replaces `old`, which must be there, in a file.
    pub fn edit(&self, path: &str, old: &str, new: &str) {
        let text = std::fs::read_to_string(self.root.join(path)).expect("read");
        assert!(text.contains(old), "`{old}` is not in {path}");
        self.write(path, &text.replace(old, new));
    }

    /// Adds a recipe of class files with this script, in the tool tree of `base-files`.
    pub fn script(&self, name: &str, script: &str) {
        let indented: String = script.lines().map(|line| format!("  {line}\n")).collect();
        let text = format!(
            "schema: 1\nrecipe: {name}\nversion: \"1\"\nsummary: a test\nlicense: MIT\nsources:\n  - file: rootfs/base\n\
             class: make\nprepare: |\n{indented}  exit 0\npackages:\n  - name: {name}\n    files: [\"/**\"]\n"
        );
        self.write(&format!("recipes/{name}/recipe.yaml"), &text);
    }
}

/// What the manifest in the folder of an image states: the payload of its envelope.
pub fn statement(image: &Path) -> Value {
    let envelope = std::fs::read(image.join("manifest.dsse.json")).expect("a manifest");
    let envelope: Value = serde_json::from_slice(&envelope).expect("JSON");
    let payload = envelope["payload"].as_str().expect("a payload");
    let payload = base64::engine::general_purpose::STANDARD.decode(payload).expect("base64");
    serde_json::from_slice(&payload).expect("JSON")
}

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_osbuild");

pub fn osbuild(project: &Project, args: &[&str]) -> Ended {
    let mut command = Command::new(PROGRAM);
    run(project, command.args(args))
}

/// Runs a shell script as root of its own user and mount namespace, where it may mount what it likes: `$OSBUILD`
/// is the program under test. `unshare`, `mount` and `sh` are on every Debian.
pub fn in_namespace(project: &Project, script: &str) -> Ended {
    let mut command = Command::new("unshare");
    run(project, command.args(["-Urm", "sh", "-euc", script]).env("OSBUILD", PROGRAM))
}

fn run(project: &Project, command: &mut Command) -> Ended {
    Ended::of(project.prepare(command).output().expect("the program under test can be started"))
}

impl Ended {
    pub fn of(output: std::process::Output) -> Ended {
        Ended {
            status: output.status.code().unwrap_or(-1),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub fn succeeds(self) -> Ended {
        assert_eq!(self.status, 0, "{}\n{}", self.output, self.errors);
        self
    }

    /// Exit status 1 and every one of `parts` in the message.
    pub fn fails_with(self, parts: &[&str]) -> Ended {
        assert_eq!(self.status, 1, "{}\n{}", self.output, self.errors);
        for part in parts {
            assert!(self.errors.contains(part), "`{part}` is not in:\n{}", self.errors);
        }
        self
    }
}

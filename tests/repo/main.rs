//! The reference implementation of The Update Framework, python-tuf, follows a repository that osbuild made and rotated.
//!
//! Invariant: its client gets the files over HTTP on loopback, as from any static server. It is installed into `target/`
//! from the host's Python index; where that is not to be had, the test says so on standard error, past what captures output.

#![allow(clippy::disallowed_methods)]

#[path = "../command/mod.rs"]
mod command;

use command::{osbuild, payload, Project};
use sha2::Digest;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const PYTHON_TUF: &str = "tuf==7.0.1";

/// Serves the folder on a port of its own, follows it from the first root or what was trusted before, and downloads the target
/// that is named.
const FOLLOW: &str = r#"
import functools, http.server, pathlib, sys, threading
from tuf.ngclient import Updater
site, trusted, root, *names = sys.argv[1:]
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=site)
handler.func.log_message = lambda *_: None
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}"
bootstrap = pathlib.Path(root).read_bytes()
updater = Updater(trusted, f"{base}/metadata/", trusted, f"{base}/targets/", bootstrap=bootstrap)
updater.refresh()
for name in names:
    updater.download_target(updater.get_targetinfo(name), "downloaded")
print("root", updater._trusted_set.root.version, "timestamp", updater._trusted_set.timestamp.version)
"#;

fn python() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python-tuf");
    let (python, mark) = (folder.join("bin/python"), folder.join("installed"));
    let run = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    if std::fs::read_to_string(&mark).is_ok_and(|text| text == PYTHON_TUF) {
        return Some(python);
    }
    let made = run(Command::new("python3").args(["-m", "venv"]).arg(&folder))
        && run(Command::new(&python).args(["-m", "pip", "-q", "install", PYTHON_TUF]));
    made.then(|| std::fs::write(&mark, PYTHON_TUF)).and_then(Result::ok).map(|()| python)
}

#[test]
fn python_tuf_follows_from_the_first_root_through_rotations() {
    let Some(python) = python() else {
        let said = format!("SKIPPED: {PYTHON_TUF} cannot be installed here: nobody else has judged the repository");
        writeln!(std::io::stderr(), "{said}").expect("said");
        return;
    };
    let project = Project::copy();
    let keys = project.root.join("production").display().to_string();
    osbuild(&project, &["keys", "init", &keys]).succeeds();
    let project = project.env("OSBUILD_KEYS", keys.clone());
    let repo = |args: &[&str]| osbuild(&project, &[&["repo"], args].concat()).succeeds();
    repo(&["init", "site"]);
    let site = project.root.join("site");
    let first = std::fs::read(site.join("metadata/1.root.json")).expect("read");
    std::fs::write(project.root.join("first.json"), first).expect("written");
    let follow_to = |store: &str, names: &[&str], accepted: bool| {
        let mut command = Command::new(&python);
        std::fs::create_dir_all(project.root.join(store)).expect("made");
        let output =
            command.args(["-c", FOLLOW, "site", store, "first.json"]).args(names).current_dir(&project.root).output();
        let output = output.expect("started");
        assert_eq!(output.status.success(), accepted, "{output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let follow = |store: &str, accepted: bool| follow_to(store, &[], accepted);
    assert_eq!(follow("early", true), "root 1 timestamp 1");
    osbuild(&project, &["keys", "add", "second"]).succeeds();
    repo(&["rotate", "site", "root", "--add", "second", "--threshold", "2"]);
    assert_eq!(follow("early", true), "root 2 timestamp 2");
    for (count, role) in ["targets", "snapshot", "timestamp"].into_iter().enumerate() {
        repo(&["rotate", "site", role, "--add", "second", "--remove", role]);
        assert_eq!(follow("early", true), format!("root {0} timestamp {0}", count + 3), "{role}");
    }
    repo(&["refresh", "site"]);
    repo(&["delegate", "site", "acme", "--key", "second", "--path", "apps/acme/*"]);
    for store in ["early", "late"] {
        assert_eq!(follow(store, true), "root 5 timestamp 7");
    }
    // A file that the metadata names, and that file with one bit of it changed.
    let bytes = payload::payload(Path::new(&keys), None, &payload::Release::new("1.0.0", 1));
    std::fs::write(project.root.join("x.payload"), &bytes).expect("written");
    let name = repo(&["publish", "site", "--payload", "x.payload"]).output;
    assert_eq!(follow_to("early", &[name.trim()], true), "root 5 timestamp 8");
    assert!(std::fs::read(project.root.join("downloaded")).expect("read") == bytes);
    let sha256 = hex::encode(sha2::Sha256::digest(&bytes));
    let mut changed = bytes;
    *changed.last_mut().expect("bytes") ^= 1;
    std::fs::write(site.join(format!("targets/{sha256}.{}", name.trim())), changed).expect("written");
    follow_to("late", &[name.trim()], false);
    // One bit of a signature.
    let path = site.join("metadata/timestamp.json");
    let text = std::fs::read_to_string(&path).expect("read");
    let at = text.find("\"sig\": \"").expect("a signature") + 8;
    let mut bytes = text.into_bytes();
    bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    std::fs::write(&path, bytes).expect("written");
    follow("third", false);
}

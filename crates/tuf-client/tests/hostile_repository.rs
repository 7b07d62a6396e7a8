//! The command against a repository on a hostile server: what it exits with, what it trusts, what it asked for.

#[path = "../../http/tests/server/mod.rs"]
mod server;
#[path = "../../tuf/tests/simulator/mod.rs"]
mod simulator;

use server::{answer, hang_up, ok, Server};
use simulator::{time, Repository};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

/// Path to content.
type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

struct Bench {
    repository: Repository,
    files: Files,
    server: Server,
    folder: tempfile::TempDir,
}

impl Bench {
    /// A client that trusts the first root of the repository.
    fn new() -> Bench {
        let files = Files::default();
        let shared = files.clone();
        let server = Server::new(move |request, stream| match shared.lock().expect("no panic").get(&request.path) {
            Some(content) => ok(stream, content),
            None => answer(stream, "404 Not Found", &[], b"nothing here"),
        });
        Bench::with(files, server)
    }

    fn with(files: Files, server: Server) -> Bench {
        let bench =
            Bench { repository: Repository::new(), files, server, folder: tempfile::tempdir().expect("a folder") };
        let root = bench.folder.path().join("trusted.json");
        let bytes = bench.repository.served.borrow().metadata["1.root.json"].clone();
        write(&root, &bytes);
        assert!(bench.run(&["init", root.to_str().expect("text")]).status.success());
        assert!(bench.server.requests().is_empty());
        bench
    }

    /// Puts what the repository serves on the server.
    fn upload(&self) {
        let served = self.repository.served.borrow();
        let metadata = served.metadata.iter().map(|(name, bytes)| (format!("/metadata/{name}"), bytes.clone()));
        let targets = served.targets.iter().map(|(name, bytes)| (format!("/targets/{name}"), bytes.clone()));
        *self.files.lock().expect("no panic") = metadata.chain(targets).collect();
    }

    fn file(&self, path: &str) -> Vec<u8> {
        self.files.lock().expect("no panic")[path].clone()
    }

    fn replace(&self, path: &str, bytes: Vec<u8>) {
        self.files.lock().expect("no panic").insert(path.to_owned(), bytes);
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tuf-client"));
        command.arg("--metadata-dir").arg(self.folder.path().join("metadata"));
        command.args(["--metadata-url", &self.server.url("/metadata/")]).args(words);
        finish(command)
    }

    fn download(&self, targets: &[&str]) -> Output {
        let folder = self.targets();
        let base = self.server.url("/targets");
        let mut words = vec!["--target-base-url", &base, "--target-dir", folder.to_str().expect("text")];
        targets.iter().for_each(|name| words.extend(["--target-name", name]));
        words.push("download");
        self.run(&words)
    }

    fn targets(&self) -> PathBuf {
        let folder = self.folder.path().join("targets");
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    /// Paths that were asked for since the last call.
    fn requests_after(&self, before: usize) -> Vec<String> {
        self.server.requests()[before..].iter().map(|request| request.path.clone()).collect()
    }

    fn refused(&self, output: &Output, reason: &str) {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(reason), "{reason}: {text}");
    }
}

#[allow(clippy::disallowed_methods)] // A test looks at the command from outside.
fn finish(mut command: Command) -> Output {
    command.output().expect("the command runs")
}

#[allow(clippy::disallowed_methods)]
fn write(path: &std::path::Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("written");
}

#[allow(clippy::disallowed_methods)]
fn read(path: &std::path::Path) -> Vec<u8> {
    std::fs::read(path).expect("read")
}

#[test]
fn targets_are_downloaded_in_order_and_not_again() {
    let mut bench = Bench::new();
    bench.repository.add("a", b"first");
    bench.repository.add("deep/b", b"second");
    bench.repository.release();
    bench.upload();
    let done = bench.download(&["deep/b", "a"]);
    assert!(done.status.success(), "{done:?}");
    let folder = bench.targets();
    assert_eq!((read(&folder.join("deep%2Fb")), read(&folder.join("a"))), (b"second".to_vec(), b"first".to_vec()));
    let paths = bench.requests_after(0);
    let order = ["2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json", ".b", ".a"];
    assert!(paths.len() == 6 && paths.iter().zip(order).all(|(path, end)| path.ends_with(end)), "{paths:?}");
    assert!(bench.download(&["a"]).status.success());
    assert_eq!(bench.requests_after(6), ["/metadata/2.root.json", "/metadata/timestamp.json"]);
    // A damaged one is.
    write(&folder.join("a"), b"fIrst");
    assert!(bench.download(&["a"]).status.success());
    assert_eq!(read(&folder.join("a")), b"first");
}

#[test]
fn the_first_failure_ends_the_command() {
    let mut bench = Bench::new();
    bench.repository.add("a", b"first");
    bench.repository.release();
    bench.upload();
    bench.refused(&bench.download(&["missing", "a"]), "no role of the repository knows the target `missing`");
    assert!(!bench.targets().join("a").exists());
}

#[test]
fn a_target_of_other_bytes_is_not_left_behind() {
    let mut bench = Bench::new();
    let target = bench.repository.add("a", b"first");
    bench.repository.release();
    for (evil, reason) in [(&b"worst"[..], "SHA-256"), (b"fir", "3 bytes"), (b"first and more", "longer")] {
        bench.repository.serve_target("a", &target, evil);
        bench.upload();
        bench.refused(&bench.download(&["a"]), reason);
        assert_eq!(std::fs::read_dir(bench.targets()).expect("a folder").count(), 0);
    }
}

#[test]
fn replayed_metadata_is_refused() {
    let mut bench = Bench::new();
    bench.upload();
    let old = bench.file("/metadata/timestamp.json");
    bench.repository.release();
    bench.upload();
    assert!(bench.run(&["refresh"]).status.success());
    bench.replace("/metadata/timestamp.json", old);
    bench.refused(&bench.run(&["refresh"]), "`timestamp.json` goes back from version 2 to: 1");
}

#[test]
fn frozen_metadata_is_refused_when_it_has_expired() {
    let mut bench = Bench::new();
    bench.repository.timestamp.expires = time("2020-01-01T00:00:00Z");
    bench.repository.release();
    bench.upload();
    bench.refused(&bench.run(&["refresh"]), "`timestamp.json` expired on 2020-01-01T00:00:00Z");
    assert!(!bench.folder.path().join("metadata/timestamp.json").exists());
}

#[test]
fn mixed_metadata_is_refused() {
    for role in ["snapshot", "targets"] {
        let mut bench = Bench::new();
        bench.repository.release();
        bench.upload();
        bench.replace(&format!("/metadata/2.{role}.json"), bench.file(&format!("/metadata/1.{role}.json")));
        bench.refused(&bench.run(&["refresh"]), "is not the file that was signed");
    }
}

#[test]
fn endless_metadata_ends() {
    let server = Server::new(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\n\r\n")?;
        loop {
            stream.write_all(&[b' '; 4096])?;
        }
    });
    let bench = Bench::with(Files::default(), server);
    bench.refused(&bench.run(&["refresh"]), "limit of 512000 bytes");
}

#[test]
fn a_server_that_fails_is_told_and_nothing_else_is_asked() {
    for status in ["500 No", "503 No"] {
        let bench = Bench::with(Files::default(), Server::new(move |_, stream| answer(stream, status, &[], b"")));
        bench.refused(&bench.run(&["refresh"]), &status[..3]);
        assert_eq!(bench.requests_after(0), ["/metadata/2.root.json"]);
    }
    let bench = Bench::with(Files::default(), Server::new(|_, _| hang_up()));
    bench.refused(&bench.run(&["refresh"]), "closed or reset the connection");
}

#[test]
fn truncated_metadata_is_refused() {
    let server = Server::new(|request, stream| {
        if request.path.ends_with("root.json") {
            return answer(stream, "404 Not Found", &[], b"");
        }
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{{")?;
        hang_up()
    });
    let bench = Bench::with(Files::default(), server);
    bench.refused(&bench.run(&["refresh"]), "ended after 1 bytes of: 1000");
}

#[test]
fn without_a_trusted_root_nothing_is_asked() {
    let bench = Bench::new();
    std::fs::remove_file(bench.folder.path().join("metadata/root.json")).expect("removed");
    bench.refused(&bench.run(&["refresh"]), "there is no trusted `root.json`");
    bench.refused(&bench.run(&["init", "/missing/root.json"]), "cannot use `/missing/root.json`");
    bench.refused(&bench.run(&["sing"]), "`sing` is not known here");
    assert!(bench.server.requests().is_empty());
}

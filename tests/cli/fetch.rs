//! Downloads that go wrong: a server on the loopback device misbehaves in every way that servers do.
//!
//! Invariant: what does not match its pin never enters the cache, and a right server later is enough.

use crate::command::{in_namespace, osbuild, Ended, Project};
use crate::server::{send, serve, Server};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

const SIZE_BYTES: usize = 100_000;

/// A project with a recipe `remote` whose one source is `body`, at `pool/remote` of a Debian mirror.
struct Remote {
    project: Project,
    body: Vec<u8>,
    hex: String,
}

impl Remote {
    /// With bytes that no cache can have.
    fn new() -> Remote {
        let seed = format!("{:?} {}", std::time::SystemTime::now(), std::process::id());
        let body: Vec<u8> = seed.bytes().cycle().take(SIZE_BYTES).collect();
        let hex = hex::encode(Sha256::digest(&body));
        let project = Project::copy();
        project.script("remote", "");
        let place = format!("  - places: [debian: pool/remote]\n    sha256: {hex}\n    unpack: false\n");
        project.edit("recipes/remote/recipe.yaml", "  - file: rootfs/base\n", &place);
        project.edit("osbuild.lock", "\nsources:\n", &format!("\nsources:\n  \"{hex}\": {SIZE_BYTES}\n"));
        Remote { project, body, hex }
    }

    fn from(&mut self, server: &Server) -> Ended {
        self.project.env.retain(|(name, _)| *name != "OSBUILD_DEBIAN_MIRROR");
        self.project.env.push(("OSBUILD_DEBIAN_MIRROR", server.url()));
        osbuild(&self.project, &["build", "remote"])
    }

    /// Every failure says what, the line that wants it, and where it was tried.
    fn fails(&mut self, server: &Server, parts: &[&str]) {
        let ended = self.from(server).fails_with(parts);
        let tried = format!("{}/pool/remote", server.url());
        let named = format!("cannot fetch `remote 1` (sha256 {})", self.hex);
        for part in [tried.as_str(), &named, "recipes/remote/recipe.yaml:", "help: "] {
            assert!(ended.errors.contains(part), "`{part}` is not in:\n{}", ended.errors);
        }
    }

    /// Nothing wrong was kept: the right bytes are fetched, and the recipe is built.
    fn recovers(&mut self) {
        let body = self.body.clone();
        let server = serve(move |_, stream| send(stream, &body));
        self.from(&server).succeeds();
        assert_eq!(server.requests(), 1);
    }
}

#[test]
fn wrong_bytes_are_refused_and_their_digest_is_shown() {
    let mut remote = Remote::new();
    let wrong = vec![b'x'; SIZE_BYTES];
    let found = format!("the file is another one: its SHA-256 is {}", hex::encode(Sha256::digest(&wrong)));
    let server = serve(move |_, stream| send(stream, &wrong));
    remote.fails(&server, &[&found, "find out why before changing the pin"]);
    let server = serve(|_, stream| send(stream, b"short"));
    remote.fails(&server, &["it has 5 bytes, not 100000", "find out why before changing the pin"]);
    let server = serve(|_, stream| write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"));
    remote.fails(&server, &["does not exist on the server: status 404"]);
    remote.recovers();
}

#[test]
fn a_download_that_ends_early_is_taken_up_and_at_last_given_up() {
    let mut remote = Remote::new();
    let body = remote.body.clone();
    // Says 100,000 bytes and hangs up after 1,000, from wherever it is asked to start.
    let server = serve(move |_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {SIZE_BYTES}\r\n\r\n")?;
        stream.write_all(&body[..1000])
    });
    remote.fails(&server, &["the download ended early: 1000 of 100000 bytes arrived", "check the network"]);
    assert!(server.requests() > 1, "a broken download is tried again");
    remote.recovers();
}

#[test]
fn endless_data_is_cut_off_at_the_pinned_size() {
    let mut remote = Remote::new();
    let body = remote.body.clone();
    let server = serve(move |_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
        stream.write_all(&body)?;
        endless(stream)
    });
    let start = Instant::now();
    remote.fails(&server, &["larger than it should be: more than 100000 bytes"]);
    assert!(start.elapsed() < Duration::from_secs(20), "it read on for {:?}", start.elapsed());
    let server = serve(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\n")?;
        endless(stream)
    });
    remote.fails(&server, &["cannot get `", "header"]);
    remote.recovers();
}

fn endless(stream: &mut TcpStream) -> std::io::Result<()> {
    loop {
        stream.write_all(&[b'x'; 4096])?;
    }
}

#[test]
fn a_mirror_that_is_down_is_named() {
    let mut remote = Remote::new();
    // Bound for a moment, so that the port is nobody's.
    let down = serve(|_, _| Ok(()));
    let url = down.url();
    drop(down);
    std::thread::sleep(Duration::from_millis(100));
    remote.project.env.push(("OSBUILD_DEBIAN_MIRROR", url.clone()));
    let ended = osbuild(&remote.project, &["build", "remote"]).fails_with(&[
        "cannot fetch `remote 1`",
        &url,
        "onnection refused",
        "check the network",
        "recipes/remote/recipe.yaml:",
    ]);
    assert!(ended.errors.contains(&format!("under the name {}", remote.hex)), "{}", ended.errors);
    osbuild(&remote.project, &["build", "remote", "--offline"]).fails_with(&["offline: not tried", "`--offline`"]);
    remote.recovers();
}

#[test]
fn a_project_mirror_is_asked_first_and_bad_mirrors_are_told_apart() {
    let mut remote = Remote::new();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(&remote.hex), "damaged").expect("written");
    remote.project.env.push(("OSBUILD_MIRROR", folder.path().display().to_string()));
    let server = serve(|_, stream| write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"));
    remote.fails(&server, &["project mirror ", "it has 7 bytes, not 100000", "status 404"]);
    std::fs::write(folder.path().join(&remote.hex), &remote.body).expect("written");
    remote.from(&server).succeeds();
    assert_eq!(server.requests(), 1, "the second build asks the folder only");
}

#[test]
fn a_host_that_is_not_debian_is_told_how_to_name_a_mirror() {
    let remote = Remote::new();
    // The host's apt configuration is hidden; what is left is a host of another kind.
    let hidden = "mkdir -p /etc/apt; mount -t tmpfs none /etc/apt; unset OSBUILD_DEBIAN_MIRROR\n";
    let parts = ["no mirror of Debian's archive is known: `/etc/apt` names none", "export OSBUILD_DEBIAN_MIRROR="];
    let ended = in_namespace(&remote.project, &format!("{hidden}exec \"$OSBUILD\" build remote")).fails_with(&parts);
    assert!(ended.errors.contains("the folder that holds `dists` and `pool`"), "{}", ended.errors);
    let other = "echo 'deb http://other.example/ubuntu noble main' > /etc/apt/sources.list\n";
    in_namespace(&remote.project, &format!("{hidden}{other}exec \"$OSBUILD\" build remote")).fails_with(&parts);
    let wrong = remote.project.env("OSBUILD_DEBIAN_MIRROR", "mirror.example/debian");
    osbuild(&wrong, &["build", "remote"])
        .fails_with(&["`mirror.example/debian`", "must start with http:// or https://"]);
}

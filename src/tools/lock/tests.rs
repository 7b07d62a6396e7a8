//! An archive on loopback that a key of the test has signed in; what comes of locking from it out.

use super::*;
use crate::io::store::Store;
use crate::model::{ProductName, ToolTreeName};
use crate::tools::debian::archive::DebianError;
use crate::tools::debian::signature::tests::{new_key, sign};
use crate::tools::debian::signature::SignatureError;
use crate::tools::debian::SUITES;
use crate::tools::fetch::tests::{send, serve, status};
use crate::tools::fetch::FetchOptions;
use pgp::composed::SignedSecretKey;
use std::collections::BTreeMap;
use std::path::Path;

const PACKAGES: &str = "main/binary-amd64/Packages.xz";

/// Debian's archive with two packages; tests change it before it is served.
pub struct TestArchive {
    key: SignedSecretKey,
    pub files: BTreeMap<String, Vec<u8>>,
}

impl TestArchive {
    pub fn new() -> Self {
        let mut archive = TestArchive { key: new_key(), files: BTreeMap::new() };
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let stanza = |name: &str, more: &str| {
            format!("Package: {name}\nVersion: 1.0-2\nFilename: pool/main/{name}.deb\nSize: 3\nSHA256: {hex}\n{more}\n")
        };
        let main = stanza("hello", "Depends: world\n") + &stanza("world", "");
        for (suite, packages) in SUITES.into_iter().zip([main.as_str(), ""]) {
            archive.suite(suite, packages, None);
        }
        archive
    }

    pub fn suite(&mut self, suite: &str, packages: &str, valid_until: Option<&str>) {
        let packed = liblzma::encode_all(packages.as_bytes(), 1).expect("in memory");
        let digest = Digest::of(&packed);
        let end = valid_until.map(|date| format!("Valid-Until: {date}\n")).unwrap_or_default();
        let text = format!(
            "Codename: {suite}\n{end}Acquire-By-Hash: no\nSHA256:\n {} {} {PACKAGES}\n",
            digest.hex(),
            digest.size_bytes
        );
        self.files.insert(format!("/dists/{suite}/InRelease"), sign(&self.key, &text).into_bytes());
        self.files.insert(format!("/dists/{suite}/{PACKAGES}"), packed);
    }

    /// Its address.
    pub fn serve(self) -> String {
        let files = self.files;
        let (url, _) = serve(move |_, path, _, stream| match files.get(path) {
            Some(content) => send(stream, content, 0, usize::MAX),
            None => status(stream, "404 Not Found"),
        });
        url
    }

    pub fn trust(&self) -> Trust {
        Trust { keys: vec![self.key.to_public_key()], accept_expired: false }
    }
}

/// Locks a tree of `package`, which line 5 of a tool tree asks for.
fn lock_from(mirror: &str, trust: &Trust, package: &str) -> Result<LockUpdate, LockError> {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path()).expect("a store");
    let options = FetchOptions { debian_mirror: Some(mirror.to_owned()), ..FetchOptions::new(folder.path()) };
    let origin = |line| Origin { file: "layers/core/tools/c.yaml".into(), line, column: 5 };
    let tree = ToolTree {
        name: ToolTreeName::new("c").expect("valid"),
        packages: vec![Located { value: package.to_owned(), origin: origin(5) }],
        exclude: vec!["other".to_owned()],
        links: BTreeMap::new(),
        origin: origin(2),
    };
    let (trees, recipes) = (BTreeMap::from([(tree.name.clone(), tree)]), BTreeMap::new());
    let product = ProductName::new("gateway").expect("valid");
    let mut request = LockRequest::new(Path::new("/nowhere"), &[]);
    request.add(&product, &recipes, &trees)?;
    update_lock(&request, &store, &Fetcher::new(options), None, trust)
}

fn refused(archive: TestArchive, trust: &Trust) -> DebianError {
    match lock_from(&archive.serve(), trust, "hello") {
        Err(LockError::Debian { mirror, source }) if mirror.starts_with("http://127.0.0.1:") => *source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_signed_archive_gives_the_packages_and_what_they_follow_from() {
    let archive = TestArchive::new();
    let trust = archive.trust();
    let update = lock_from(&archive.serve(), &trust, "hello").expect("locked");
    let tree = ToolTreeName::new("c").expect("valid");
    let names: Vec<&str> = update.lock.tool_trees[&tree].iter().map(|package| package.pool_path.as_str()).collect();
    assert_eq!(names, ["pool/main/hello.deb", "pool/main/world.deb"]);
    let request = TreeRequest { packages: vec!["hello".into()], exclude: vec!["other".into()] };
    assert_eq!(update.lock.requests[&tree], request);
    assert_eq!(update.notes, [""; 0]);
}

#[test]
fn an_index_that_no_known_key_has_signed_is_refused() {
    let archive = TestArchive::new();
    let stranger = Trust { keys: vec![new_key().to_public_key()], accept_expired: false };
    let error = refused(archive, &stranger);
    assert!(matches!(error, DebianError::Signature { source: SignatureError::Untrusted, .. }), "{error}");
}

#[test]
fn packages_that_are_not_those_of_the_signed_index_are_refused() {
    let mut archive = TestArchive::new();
    let trust = archive.trust();
    let packages = archive.files.get_mut("/dists/bookworm/main/binary-amd64/Packages.xz").expect("there");
    *packages.last_mut().expect("bytes") ^= 1;
    assert!(matches!(refused(archive, &trust), DebianError::WrongDigest { .. }));
}

#[test]
fn an_index_that_ran_out_long_ago_is_refused_unless_the_user_says_otherwise() {
    let expired = || {
        let mut archive = TestArchive::new();
        archive.suite("bookworm-backports", "", Some("Thu, 01 Feb 2024 00:00:00 UTC"));
        archive
    };
    let archive = expired();
    let trust = archive.trust();
    let error = refused(archive, &trust);
    assert!(matches!(error, DebianError::Release { .. }), "{error}");
    let archive = expired();
    let trust = Trust { accept_expired: true, ..archive.trust() };
    let update = lock_from(&archive.serve(), &trust, "hello").expect("accepted");
    assert_eq!(update.notes, ["the index of suite `bookworm-backports` ran out on Thu, 01 Feb 2024 00:00:00 UTC"]);
}

#[test]
fn a_mirror_that_is_down_or_is_none_comes_with_a_way_out() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
    let mut empty = TestArchive::new();
    let trust = empty.trust();
    empty.files.clear();
    for mirror in [format!("http://{closed}/debian"), empty.serve()] {
        let error = lock_from(&mirror, &trust, "hello").expect_err("no archive there");
        assert_eq!(error.to_string(), format!("`{mirror}` cannot be used as a mirror of Debian's archive"));
        assert!(error.help().expect("help").contains("export OSBUILD_DEBIAN_MIRROR="), "{:?}", error.help());
    }
}

#[test]
fn a_misspelt_package_is_shown_where_it_was_asked_for() {
    for (package, expected) in [
        ("helo", "there is no package `helo` in suite `bookworm`; did you mean `hello`?"),
        ("hello/sid", "`sid` is not one of the suites: bookworm, bookworm-backports"),
    ] {
        let archive = TestArchive::new();
        let trust = archive.trust();
        let error = lock_from(&archive.serve(), &trust, package).expect_err("unknown");
        assert_eq!(error.origin().map(|origin| origin.line), Some(5));
        assert_eq!(std::error::Error::source(&error).map(ToString::to_string).as_deref(), Some(expected));
    }
}

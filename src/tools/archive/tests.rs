use super::*;
use crate::io::store::Node;
use std::io::Write;
use tar::{EntryType, Header};

/// A tar archive made byte by byte: the `tar` crate refuses to write hostile ones.
#[derive(Default)]
struct Fixture(Vec<u8>);

impl Fixture {
    fn entry(mut self, kind: EntryType, path: &str, target: &str, mode: u32, content: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        let bytes = header.as_mut_bytes();
        bytes[..path.len()].copy_from_slice(path.as_bytes());
        bytes[157..157 + target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }
    fn file(self, path: &str, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, path, "", 0o644, content)
    }
    fn folder(self, path: &str) -> Self {
        self.entry(EntryType::Directory, path, "", 0o755, b"")
    }
    fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path, target, 0o777, b"")
    }
    fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Link, path, target, 0o644, b"")
    }
    fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

/// A .deb around `data`.
pub(in crate::tools) fn deb(data: &[u8]) -> Vec<u8> {
    let mut bytes = ar::MAGIC.to_vec();
    for (name, content) in [("debian-binary", b"2.0\n".as_slice()), ("control.tar.xz", b"odd"), ("data.tar.xz", data)] {
        writeln!(bytes, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, 100644, content.len()).expect("in memory");
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    liblzma::encode_all(bytes, 1).expect("in memory")
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(folder.path()).expect("a store");
    (folder, store)
}

fn unpack_bytes(bytes: &[u8], strip: u32, limits: &Limits) -> Result<Vec<String>, ArchiveError> {
    let (_guard, store) = store();
    let blob = store.put_bytes(bytes)?;
    let tree = unpack_within(&store, &blob, strip, None, limits)?.tree;
    Ok(dump(&store, &tree))
}

/// One line a path: type, path and content.
fn dump(store: &Store, tree: &Digest) -> Vec<String> {
    let entries = store.walk(tree).expect("a whole tree");
    let line = |entry: crate::io::store::Entry| match entry.node {
        Node::Folder(_) => format!("{}/", entry.path),
        Node::Symlink { target } => format!("{} -> {target}", entry.path),
        Node::File { digest, executable } => {
            let content = store.read(&digest, 1 << 20).expect("content");
            let content = String::from_utf8_lossy(&content).into_owned();
            format!("{}{}={content}", entry.path, if executable { "*" } else { "" })
        }
    };
    entries.into_iter().map(line).collect()
}

fn error_of(bytes: &[u8]) -> ArchiveError {
    let limits = Limits { total_bytes: 4 << 20, file_bytes: 3 << 20, entries: 100, ..Limits::default() };
    unpack_bytes(bytes, 0, &limits).expect_err("a hostile archive is refused")
}

fn good() -> Vec<u8> {
    Fixture::default()
        .folder("./")
        .folder("./zlib-1.3/")
        .entry(EntryType::Regular, "./zlib-1.3/configure", "", 0o755, b"#!/bin/sh\n")
        .file("./zlib-1.3/README", b"read me")
        .symlink("./zlib-1.3/link", "../../../etc/passwd")
        .hard_link("./zlib-1.3/again", "./zlib-1.3/configure")
        .file("./top", b"stray")
        .end()
}

#[test]
fn every_compression_gives_the_same_tree() {
    let expected = ["README=read me", "again*=#!/bin/sh\n", "configure*=#!/bin/sh\n", "link -> ../../../etc/passwd"];
    let plain = good();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&plain).expect("in memory");
    let bzip2 = bzip2.finish().expect("in memory");
    let zstd = zstd::encode_all(plain.as_slice(), 3).expect("in memory");
    for bytes in [plain.clone(), gzip(&plain), bzip2, xz(&plain), zstd, deb(&plain), deb(&xz(&plain))] {
        assert_eq!(unpack_bytes(&bytes, 1, &Limits::default()).expect("unpacked"), expected);
    }
}

#[test]
fn an_archive_inside_a_deb_is_unpacked_in_one_go() {
    let (_guard, store) = store();
    let outer = Fixture::default().file("./usr/src/linux.tar.xz", &xz(&good())).end();
    let blob = store.put_bytes(&deb(&xz(&outer))).expect("kept");
    let inner = RelPath::new("usr/src/linux.tar.xz").expect("a path");
    let tree = unpack(&store, &blob, 1, Some(&inner)).expect("unpacked").tree;
    assert_eq!(dump(&store, &tree).len(), 4);
    let absent = RelPath::new("usr/src/other").expect("a path");
    assert!(matches!(unpack(&store, &blob, 1, Some(&absent)), Err(ArchiveError::NoInner(_))));
}

#[test]
fn long_names_in_both_dialects_are_understood() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
    let record = format!(" path={long}\n");
    let record = format!("{}{record}", record.len() + 3);
    let expected = [format!("{}/", "d".repeat(120)), format!("{long}=x")];
    let pax = Fixture::default().entry(EntryType::XHeader, "pax", "", 0, record.as_bytes()).file("short", b"x");
    let gnu = Fixture::default()
        .entry(EntryType::GNULongName, "././@LongLink", "", 0, format!("{long}\0").as_bytes())
        .file("short", b"x");
    for fixture in [pax, gnu] {
        assert_eq!(unpack_bytes(&fixture.end(), 0, &Limits::default()).expect("unpacked"), expected);
    }
}

#[test]
fn traversal_and_absolute_paths() {
    for path in ["../evil", "a/../../evil", "a/.."] {
        assert!(matches!(error_of(&Fixture::default().file(path, b"").end()), ArchiveError::PathTraversal(_)));
    }
    let absolute = Fixture::default().file("/etc/passwd", b"").end();
    assert!(matches!(error_of(&absolute), ArchiveError::AbsolutePath(_)));
    let link = Fixture::default().hard_link("a", "../../etc/shadow").end();
    assert!(matches!(error_of(&link), ArchiveError::PathTraversal(_)));
}

#[test]
fn writing_through_a_symlink() {
    let direct = Fixture::default().symlink("a", "/etc").file("a/passwd", b"root").end();
    let nested = Fixture::default().symlink("a/b", "../..").file("a/b/c/d", b"root").end();
    let folder = Fixture::default().symlink("a", "/etc").folder("a/").end();
    assert!(matches!(error_of(&direct), ArchiveError::ThroughSymlink { .. }));
    assert!(matches!(error_of(&nested), ArchiveError::ThroughSymlink { .. }));
    assert!(matches!(error_of(&folder), ArchiveError::Clash(_)));
}

#[test]
fn files_that_are_folders_and_hard_links_to_nothing() {
    let clash = Fixture::default().file("a", b"").file("a/b", b"").end();
    assert!(matches!(error_of(&clash), ArchiveError::Clash(_)));
    let dangling = Fixture::default().hard_link("a", "b").file("b", b"").end();
    assert!(matches!(error_of(&dangling), ArchiveError::DanglingHardLink { .. }));
}

#[test]
fn device_nodes_are_refused_in_sources_and_skipped_in_debs() {
    let device = Fixture::default().file("a", b"x").entry(EntryType::Block, "sda", "", 0o666, b"").end();
    assert!(matches!(error_of(&device), ArchiveError::SpecialFile(_)));
    assert_eq!(unpack_bytes(&deb(&device), 0, &Limits::default()).expect("unpacked"), ["a=x"]);
}

#[test]
fn bombs_hit_a_limit_before_they_fill_anything() {
    let file = Fixture::default().file("zeros", &vec![0; 3_500_000]).end();
    assert!(matches!(error_of(&gzip(&file)), ArchiveError::FileTooLarge { .. }));
    let files = Fixture::default().file("a", &vec![0; 2_500_000]).file("b", &vec![0; 2_500_000]).end();
    assert!(matches!(error_of(&gzip(&files)), ArchiveError::TooLarge { .. }));
    let many = (0..200).fold(Fixture::default(), |fixture, n| fixture.folder(&format!("d{n}"))).end();
    assert!(matches!(error_of(&xz(&many)), ArchiveError::TooManyEntries { .. }));
    // Content of an entry that is not even a file counts, too.
    let hidden = Fixture::default().entry(EntryType::XGlobalHeader, "g", "", 0, &vec![0; 6_000_000]).end();
    assert!(matches!(error_of(&gzip(&hidden)), ArchiveError::TooLarge { .. }));
}

#[test]
fn few_bytes_of_deep_paths_make_no_flood_of_folders() {
    let deep = "d/".repeat(40);
    let path = |n| format!("{n}/{deep}f");
    let bomb = |count: u32| (0..count).fold(Fixture::default(), |fixture, n| fixture.file(&path(n), b"")).end();
    let (_guard, store) = store();
    let unpack_xz = |count| {
        let blob = store.put_bytes(&xz(&bomb(count))).expect("kept");
        unpack(&store, &blob, 0, None).map(|unpacked| store.walk(&unpacked.tree).expect("a whole tree").len())
    };
    assert_eq!(unpack_xz(230).expect("within the limit"), 230 * 42);
    assert!(matches!(unpack_xz(1_800), Err(ArchiveError::TooManyEntries { limit: ALLOWED_ENTRIES })));
    assert_eq!(Limits::for_archive(150 << 20).entries, Limits::default().entries);
}

#[test]
fn names_without_end() {
    let gnu = Fixture::default().entry(EntryType::GNULongName, "l", "", 0, &[b'a'; 100_000]).file("x", b"");
    assert!(matches!(error_of(&gnu.end()), ArchiveError::NameTooLong { .. }));
    let pax = Fixture::default().entry(EntryType::XHeader, "l", "", 0, &vec![b'a'; 2_000_000]).file("x", b"");
    assert!(matches!(error_of(&pax.end()), ArchiveError::NameTooLong { .. }));
    let deep = vec!["d"; 400].join("/");
    let deep = Fixture::default().entry(EntryType::GNULongName, "l", "", 0, deep.as_bytes()).file("x", b"");
    assert!(matches!(error_of(&deep.end()), ArchiveError::TooDeep(_)));
}

#[test]
fn truncated_archives() {
    let whole = good();
    for bytes in
        [whole[..2000].to_vec(), gzip(&whole)[..150].to_vec(), xz(&whole)[..120].to_vec(), deb(&whole)[..2500].to_vec()]
    {
        let error = error_of(&bytes);
        assert!(matches!(error, ArchiveError::Read(_) | ArchiveError::Truncated(_)), "{error:?}");
    }
    assert!(matches!(error_of(&deb(&whole)[..60]), ArchiveError::Read(_) | ArchiveError::Deb(_)));
    assert!(matches!(error_of(b"#!/bin/sh, not an archive at all\n".repeat(40).as_slice()), ArchiveError::Read(_)));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn no_damage_makes_it_panic(position in 0usize..4000, value: u8, tail in proptest::collection::vec(0u8.., 0..600)) {
        let limits = Limits { total_bytes: 1 << 20, ..Limits::default() };
        let mut bytes = good();
        let position = position % bytes.len();
        bytes[position] = value;
        let _ = unpack_bytes(&bytes, 0, &limits);
        let mut packed = deb(&gzip(&bytes));
        let position = position % packed.len();
        packed[position] = value;
        let _ = unpack_bytes(&packed, 0, &limits);
        let _ = unpack_bytes(&tail, 0, &limits);
    }
}

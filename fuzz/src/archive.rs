//! Any bytes as an archive: it is unpacked within limits or refused, and what is unpacked is a valid tree.

use osbuild::io::store::{Node, Store};
use osbuild::tools::archive::{unpack_within, Limits};
use std::io::Write;

const LIMIT_BYTES: u64 = 1 << 20;

pub fn run(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(folder.path()).expect("a store");
    let blob = store.put_bytes(bytes).expect("kept");
    let limits = Limits { total_bytes: LIMIT_BYTES, file_bytes: LIMIT_BYTES, entries: 1000, ..Limits::default() };
    if let Ok(tree) = unpack_within(&store, &blob, 0, None, &limits).map(|unpacked| unpacked.tree) {
        let entries = store.walk(&tree).expect("every path of a tree is valid");
        assert!(entries.len() as u64 <= limits.entries, "folders that a path implies count too");
        for entry in entries {
            if let Node::File { digest, .. } = entry.node {
                assert!(digest.size_bytes <= LIMIT_BYTES && store.has(&digest), "{}", entry.path);
            }
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let tar = tar();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    xz.write_all(&tar).and_then(|()| gzip.write_all(&tar)).and_then(|()| bzip2.write_all(&tar)).expect("written");
    let zstd = zstd::encode_all(tar.as_slice(), 1).expect("packed");
    let packed = [xz.finish().expect("packed"), gzip.finish().expect("packed"), bzip2.finish().expect("packed"), zstd];
    let debs: Vec<Vec<u8>> = packed.iter().map(|data| deb(data)).collect();
    [vec![tar], packed.to_vec(), debs].concat()
}

/// Folder, file, links of both kinds, a long name and an extended header.
fn tar() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, content: &[u8], target: Option<&str>| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        match target {
            Some(target) => builder.append_link(&mut header, path, target),
            None => builder.append_data(&mut header, path, content),
        }
        .expect("appended");
    };
    add("a/", tar::EntryType::Directory, b"", None);
    add("a/file", tar::EntryType::Regular, b"content", None);
    add("a/link", tar::EntryType::Symlink, b"", Some("file"));
    add("a/same", tar::EntryType::Link, b"", Some("a/file"));
    add(&format!("a/{}", "long/".repeat(30)), tar::EntryType::Directory, b"", None);
    builder.append_pax_extensions([("path", b"a/renamed".as_slice())]).expect("appended");
    let mut header = tar::Header::new_ustar();
    header.set_size(3);
    header.set_cksum();
    builder.append(&header, b"abc".as_slice()).expect("appended");
    builder.into_inner().expect("finished")
}

fn deb(data: &[u8]) -> Vec<u8> {
    let member = |name: &str, content: &[u8]| {
        let mut bytes =
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100644, content.len()).into_bytes();
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
        bytes
    };
    [b"!<arch>\n".to_vec(), member("debian-binary", b"2.0\n"), member("control.tar", b""), member("data.tar", data)]
        .concat()
}

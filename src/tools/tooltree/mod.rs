//! Debian packages in the store in, one tree that tasks run on out.
//!
//! The packages are unpacked side by side: no maintainer script runs. What those would have done and
//! tools need is done here: `/bin`, `/sbin`, `/lib*` are merged into `/usr`, users and name services get
//! fixed files, certificates are bundled, and links (`awk`, `cc`) come from the tool tree's configuration.
//! Documentation, translations and the like are left out.
//!
//! Invariant: two packages with different content at one path are an error, without exception.

pub mod step;

use super::archive::{self, ArchiveError};
use crate::io::store::{Entry, Node, Store, StoreError, TreeBuilder};
use crate::model::path::InvalidPath;
use crate::model::{Digest, RelPath};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Folders that are links into `/usr`.
const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// What no task reads.
const DROPPED: [&str; 10] = [
    "usr/share/doc",
    "usr/share/doc-base",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/bug",
    "usr/share/menu",
    "usr/share/applications",
    "usr/share/icons",
];

/// Mount points of the sandbox, and folders programs expect.
const FOLDERS: [&str; 13] =
    ["dev", "etc", "proc", "root", "run", "srv", "sys", "tmp", "usr/bin", "usr/sbin", "var/tmp", "var/lib", "work"];

const FILES: [(&str, &str); 4] = [
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nbuild:x:1000:1000:build:/nonexistent:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"),
    ("etc/group", "root:x:0:\ntty:x:5:\nbuild:x:1000:\nnogroup:x:65534:\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
    ("etc/hosts", "127.0.0.1 localhost osbuild\n"),
];

const CERTIFICATES: &str = "usr/share/ca-certificates/mozilla";
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
const LIMIT_CERTIFICATE_BYTES: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ToolTreeError {
    #[error("package `{package}` cannot be unpacked")]
    Archive {
        package: String,
        #[source]
        source: ArchiveError,
    },
    #[error("packages `{first}` and `{second}` both have `/{path}`, with different content")]
    Conflict { path: RelPath, first: String, second: String },
    #[error(
        "package `{package}` has `/{path}`, where the link to `{target}` should be; remove the link from the tool tree"
    )]
    LinkConflict { path: RelPath, package: String, target: String },
    #[error(transparent)]
    Path(#[from] InvalidPath),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is at a path and which package it came from.
type Contents = BTreeMap<RelPath, (Node, String)>;

/// The tree of `debs` (a name for messages and the .deb) with `links` (path to target) added.
pub fn compose(
    store: &Store,
    debs: &[(String, Digest)],
    links: &BTreeMap<RelPath, String>,
) -> Result<Digest, ToolTreeError> {
    let unpacked = debs.par_iter().map(|(package, deb)| {
        let archive = |source| ToolTreeError::Archive { package: package.clone(), source };
        let tree = archive::unpack(store, deb, 0, None).map_err(archive)?.tree;
        Ok((package, store.walk(&tree)?))
    });
    let unpacked: Vec<(&String, Vec<Entry>)> = unpacked.collect::<Result<_, ToolTreeError>>()?;
    let mut contents = Contents::new();
    for (package, entries) in unpacked {
        for entry in entries {
            add(&mut contents, entry, package)?;
        }
    }
    add_links(&mut contents, links)?;
    add_certificates(store, &mut contents)?;
    add_base(store, &mut contents)?;
    build(store, contents)
}

/// Where an entry of a package belongs; none when it is left out.
fn placed(path: &RelPath, node: &Node) -> Result<Option<RelPath>, InvalidPath> {
    let top = path.components().next().unwrap_or_default();
    let is_merged = MERGED.contains(&top);
    // A package may ship the folders, or even the links, that merging replaces.
    if is_merged && path.as_str() == top && !matches!(node, Node::File { .. }) {
        return Ok(None);
    }
    let path = if is_merged { RelPath::new(&format!("usr/{path}"))? } else { path.clone() };
    let below =
        |folder: &str| path.as_str().strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    Ok(if DROPPED.iter().any(|folder| below(folder)) { None } else { Some(path) })
}

fn add(contents: &mut Contents, entry: Entry, package: &str) -> Result<(), ToolTreeError> {
    let Some(path) = placed(&entry.path, &entry.node)? else { return Ok(()) };
    let Some((present, first)) = contents.get(&path) else {
        contents.insert(path, (entry.node, package.to_owned()));
        return Ok(());
    };
    let same = match (present, &entry.node) {
        (Node::Folder(_), Node::Folder(_)) => true,
        (present, node) => present == node,
    };
    if same {
        return Ok(());
    }
    Err(ToolTreeError::Conflict { first: first.clone(), second: package.to_owned(), path })
}

fn add_links(contents: &mut Contents, links: &BTreeMap<RelPath, String>) -> Result<(), ToolTreeError> {
    for (path, target) in links {
        let node = Node::Symlink { target: target.clone() };
        let Some(path) = placed(path, &node)? else { continue };
        if let Some((_, package)) = contents.get(&path).filter(|(present, _)| *present != node) {
            return Err(ToolTreeError::LinkConflict { path, package: package.clone(), target: target.clone() });
        }
        contents.insert(path, (node, "links".to_owned()));
    }
    Ok(())
}

/// All certificates in one file, in the order of their names, as the package's script would make it.
fn add_certificates(store: &Store, contents: &mut Contents) -> Result<(), ToolTreeError> {
    let mut bundle = Vec::new();
    for (path, (node, _)) in contents.iter() {
        let Node::File { digest, .. } = node else { continue };
        if path.as_str().starts_with(CERTIFICATES) && path.as_str().ends_with(".crt") {
            bundle.extend(store.read(digest, LIMIT_CERTIFICATE_BYTES)?);
        }
    }
    let path = RelPath::new(BUNDLE)?;
    if !bundle.is_empty() && !contents.contains_key(&path) {
        let digest = store.put_bytes(&bundle)?;
        contents.insert(path, (Node::File { digest, executable: false }, "certificates".to_owned()));
    }
    Ok(())
}

fn add_base(store: &Store, contents: &mut Contents) -> Result<(), ToolTreeError> {
    for (path, text) in FILES {
        let digest = store.put_bytes(text.as_bytes())?;
        let node = Node::File { digest, executable: false };
        contents.entry(RelPath::new(path)?).or_insert((node, "base".to_owned()));
    }
    Ok(())
}

fn build(store: &Store, contents: Contents) -> Result<Digest, ToolTreeError> {
    let mut tree = TreeBuilder::new();
    for folder in FOLDERS {
        tree.insert_folder(&RelPath::new(folder)?)?;
    }
    for name in MERGED {
        tree.insert_folder(&RelPath::new(&format!("usr/{name}"))?)?;
        tree.insert(&RelPath::new(name)?, Node::Symlink { target: format!("usr/{name}") })?;
    }
    for (path, (node, _)) in contents {
        match node {
            Node::Folder(_) => tree.insert_folder(&path)?,
            node => tree.insert(&path, node)?,
        }
    }
    Ok(tree.finish(store)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::archive::tests::deb;

    fn package(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            header.set_mode(0o755);
            if let Some(target) = content.strip_prefix("-> ") {
                header.set_entry_type(tar::EntryType::Symlink);
                builder.append_link(&mut header, path, target).expect("in memory");
            } else {
                header.set_size(content.len() as u64);
                builder.append_data(&mut header, path, content.as_bytes()).expect("in memory");
            }
        }
        deb(&builder.into_inner().expect("in memory"))
    }

    fn compose_packages(packages: &[&[(&str, &str)]], links: &[(&str, &str)]) -> Result<Vec<String>, ToolTreeError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path()).expect("a store");
        let debs = packages
            .iter()
            .zip(["one", "two", "three"])
            .map(|(entries, name)| (name.to_owned(), store.put_bytes(&package(entries)).expect("kept")));
        let debs: Vec<_> = debs.collect();
        let links = links.iter().map(|(path, target)| (RelPath::new(path).expect("a path"), target.to_string()));
        let tree = compose(&store, &debs, &links.collect())?;
        let line = |entry: Entry| match entry.node {
            Node::Folder(_) => None,
            Node::Symlink { target } => Some(format!("{} -> {target}", entry.path)),
            Node::File { digest, .. } if entry.path.as_str().starts_with("etc/") && digest.size_bytes > 9 => None,
            Node::File { .. } => Some(entry.path.to_string()),
        };
        Ok(store.walk(&tree).expect("walked").into_iter().filter_map(line).collect())
    }

    #[test]
    fn usr_is_merged_and_documentation_left_out() {
        let one: &[_] =
            &[("bin/sh", "-> dash"), ("bin/dash", "x"), ("lib/ld.so", "x"), ("usr/share/doc/one/README", "x")];
        let two: &[_] =
            &[("lib", "-> usr/lib"), ("usr/bin/dash", "x"), ("usr/share/docs", "x"), ("lib64/y", "-> /lib/y")];
        let names = compose_packages(&[one, two], &[("bin/awk", "mawk")]).expect("composed");
        let expected = [
            "bin -> usr/bin",
            "lib -> usr/lib",
            "lib32 -> usr/lib32",
            "lib64 -> usr/lib64",
            "libx32 -> usr/libx32",
            "sbin -> usr/sbin",
            "usr/bin/awk -> mawk",
            "usr/bin/dash",
            "usr/bin/sh -> dash",
            "usr/lib/ld.so",
            "usr/lib64/y -> /lib/y",
            "usr/share/docs",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn packages_and_links_that_disagree_are_named() {
        let error = compose_packages(&[&[("bin/a", "x")], &[("usr/bin/a", "y")]], &[]).expect_err("a conflict");
        assert_eq!(error.to_string(), "packages `one` and `two` both have `/usr/bin/a`, with different content");
        let error = compose_packages(&[&[("bin/a", "x")]], &[("usr/bin/a", "b")]).expect_err("a conflict");
        assert!(matches!(error, ToolTreeError::LinkConflict { .. }));
    }

    #[test]
    fn certificates_are_bundled_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path()).expect("a store");
        let certificates = package(&[
            ("usr/share/ca-certificates/mozilla/b.crt", "B\n"),
            ("usr/share/ca-certificates/mozilla/a.crt", "A\n"),
        ]);
        let deb = store.put_bytes(&certificates).expect("kept");
        let tree = compose(&store, &[("ca".to_owned(), deb)], &BTreeMap::new()).expect("composed");
        let bundle = store.lookup(&tree, &RelPath::new(BUNDLE).expect("a path")).expect("looked up");
        assert_eq!(bundle, Some(Node::File { digest: Digest::of(b"A\nB\n"), executable: false }));
    }
}

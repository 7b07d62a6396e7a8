//! `.crate` files in the store in, the folder that cargo reads instead of a registry out.
//!
//! Each crate becomes `NAME-VERSION/`, as cargo's directory sources have it, with a `.cargo-checksum.json`
//! that names the crate's SHA-256 and leaves out the files': they are addressed by content already.
//! Invariant: the result depends on the crates alone, not on their order.

use super::archive::{self, ArchiveError};
use crate::io::store::{Node, Store, StoreError, TreeBuilder};
use crate::model::path::InvalidPath;
use crate::model::{Digest, RelPath};
use rayon::prelude::*;

#[derive(Debug, thiserror::Error)]
pub enum VendorError {
    #[error("crate {name} {version} cannot be unpacked")]
    Archive {
        name: String,
        version: String,
        #[source]
        source: ArchiveError,
    },
    #[error("crate {name} {version} is not what it says: {reason}")]
    Invalid { name: String, version: String, reason: &'static str },
    #[error(transparent)]
    Path(#[from] InvalidPath),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The vendor folder of `crates`: name, version and the `.crate` file.
pub fn compose(store: &Store, crates: &[(String, String, Digest)]) -> Result<Digest, VendorError> {
    let folders = crates.par_iter().map(|(name, version, blob)| folder(store, name, version, blob));
    let folders: Vec<Digest> = folders.collect::<Result<_, _>>()?;
    let mut tree = TreeBuilder::new();
    for ((name, version, _), folder) in crates.iter().zip(folders) {
        tree.insert(&RelPath::new(&format!("{name}-{version}"))?, Node::Folder(folder))?;
    }
    Ok(tree.finish(store)?)
}

fn folder(store: &Store, name: &str, version: &str, blob: &Digest) -> Result<Digest, VendorError> {
    let invalid = |reason| VendorError::Invalid { name: name.to_owned(), version: version.to_owned(), reason };
    let outer = archive::unpack(store, blob, 0, None).map_err(|source| VendorError::Archive {
        name: name.to_owned(),
        version: version.to_owned(),
        source,
    })?;
    let mut entries = store.load_tree(&outer.tree)?.entries;
    let own = entries.remove(&format!("{name}-{version}")).filter(|_| entries.is_empty());
    let Some(Node::Folder(own)) = own else {
        return Err(invalid("it does not hold just the folder of its name and version"));
    };
    let mut tree = store.load_tree(&own)?;
    if !tree.entries.contains_key("Cargo.toml") {
        return Err(invalid("it has no Cargo.toml"));
    }
    let checksum = format!("{{\"files\":{{}},\"package\":\"{}\"}}", blob.hex());
    let digest = store.put_bytes(checksum.as_bytes())?;
    tree.entries.insert(".cargo-checksum.json".to_owned(), Node::File { digest, executable: false });
    Ok(store.put_tree(&tree)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crate_file(folder: &str, names: &[&str]) -> Vec<u8> {
        let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut builder = tar::Builder::new(encoder);
        for name in names {
            let mut header = tar::Header::new_gnu();
            header.set_size(1);
            header.set_mode(0o644);
            builder.append_data(&mut header, format!("{folder}/{name}"), &b"x"[..]).expect("in memory");
        }
        builder.into_inner().and_then(flate2::write::GzEncoder::finish).expect("in memory")
    }

    #[test]
    fn crates_become_a_directory_source() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path()).expect("a store");
        let put = |folder: &str, names: &[&str]| store.put_bytes(&crate_file(folder, names)).expect("kept");
        let a = ("a".to_owned(), "1.0.0+x".to_owned(), put("a-1.0.0+x", &["Cargo.toml", "src/lib.rs"]));
        let b = ("b".to_owned(), "2.0.0".to_owned(), put("b-2.0.0", &["Cargo.toml"]));
        let tree = compose(&store, &[b.clone(), a.clone()]).expect("composed");
        assert_eq!(compose(&store, &[a.clone(), b]).expect("composed"), tree);
        let path = RelPath::new("a-1.0.0+x/.cargo-checksum.json").expect("a path");
        let Some(Node::File { digest, .. }) = store.lookup(&tree, &path).expect("looked up") else {
            panic!("no checksum file");
        };
        let text = String::from_utf8(store.read(&digest, 1000).expect("read")).expect("text");
        assert_eq!(text, format!("{{\"files\":{{}},\"package\":\"{}\"}}", a.2.hex()));

        let wrong = ("c".to_owned(), "1.0.0".to_owned(), put("d-1.0.0", &["Cargo.toml"]));
        assert!(matches!(compose(&store, &[wrong]), Err(VendorError::Invalid { .. })));
    }
}

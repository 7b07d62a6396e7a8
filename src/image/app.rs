//! The step `app-package`: an app's manifest, image and verity tree in; the file for the device out.
//!
//! Source: `osbuild_format::app::package`. Invariant: what the manifest says of the image is what was measured here, and
//! the envelope has no signature yet, for keys take no part in a build.

use super::step::{input, output, path, ImageError};
use crate::io::file;
use crate::io::store::{Node, Store, StoreError};
use crate::model::{Digest, RelPath};
use osbuild_format::app::{package, ImageFacts, Manifest};
use osbuild_format::dsse;
use osbuild_format::verity::BLOCK_BYTES;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{self, Write};

const LIMIT_ROOT_HASH_BYTES: u64 = 128;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// With no image's facts in it.
    manifest: Manifest,
    /// Of the verity tree, in hexadecimal digits.
    salt: String,
}

/// Inputs `image.erofs`, `verity` and `root-hash`; outputs `package.app` and `digest`, the hexadecimal SHA-256 of the
/// manifest and a line feed.
pub fn step(store: &Store, inputs: &Digest, parameters: &str) -> Result<BTreeMap<RelPath, Node>, ImageError> {
    let Parameters { mut manifest, salt } = serde_json::from_str(parameters)?;
    let (image, verity) = (input(store, inputs, "image.erofs")?, input(store, inputs, "verity")?);
    let root_hash = store.read(&input(store, inputs, "root-hash")?, LIMIT_ROOT_HASH_BYTES)?;
    manifest.image = ImageFacts {
        data_blocks: image.size_bytes / u64::from(BLOCK_BYTES),
        root_hash: String::from_utf8_lossy(&root_hash).trim().to_owned(),
        salt,
    };
    let payload = manifest.to_json()?;
    let head = package::head(dsse::unsigned(osbuild_format::app::PAYLOAD_TYPE, &payload).as_bytes())?;

    let scratch = store.temporary_folder()?;
    let place = scratch.path().join("package.app");
    let mut file = file::create(&place).map_err(StoreError::from)?;
    let mut write = || -> Result<(), ImageError> {
        file.write_all(&head).map_err(ImageError::Write)?;
        for part in [&image, &verity] {
            // A damaged image would be signed as a whole one.
            store.check(part)?;
            io::copy(&mut store.open_blob(part)?, &mut file).map_err(ImageError::Write)?;
        }
        Ok(())
    };
    write()?;
    let digest = store.put_file(&place)?;
    package::check_size(&manifest, digest.size_bytes)?;
    let app = (path("package.app"), Node::File { digest, executable: false });
    let name = format!("{}\n", Digest::of(&payload).hex());
    Ok(BTreeMap::from([app, output(store, "digest", name.as_bytes())?]))
}

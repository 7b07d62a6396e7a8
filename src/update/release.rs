//! An image folder, or a full payload of a repository, in; what of a release travels, and what payloads say of it, out.
//!
//! Invariant: the bytes are those that the release key vouches for, in a manifest or in a payload's header.

use super::delta::Images;
use super::repository::target::{Described, HEAD_BYTES};
use crate::io::file::{self, at, FileError};
use crate::release::image::{ESP, ROOT, VERITY};
use crate::release::keys::PublicKeys;
use crate::release::manifest::Statement;
use crate::release::verify::{self, VerifyError};
use osbuild_format::dsse::VerifyingKey;
use osbuild_format::payload::{self, apply, ImageName, SegmentError, Sources};
use osbuild_format::verity::{Superblock, VeritySuperblockError, SUPERBLOCK_BYTES};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Of one image; the generator's numbers have 32 bits.
const LIMIT_IMAGE_BYTES: u64 = u32::MAX as u64;

/// The images of a release that travel, with their description.
#[derive(Clone, Debug)]
pub struct ReleaseImages {
    pub product: String,
    pub machine: String,
    pub release: payload::Release,
    pub root: Vec<u8>,
    pub esp: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Unsound(#[from] VerifyError),
    #[error("`{VERITY}` cannot be used")]
    Verity(#[from] VeritySuperblockError),
    #[error("the full payload of {version} cannot be read")]
    Segment {
        version: String,
        #[source]
        source: SegmentError,
    },
    #[error("the full payload of {version} does not make the {image} that its header names")]
    Differs { version: String, image: &'static str },
    #[error("`{0}` was changed while it was read")]
    Changed(&'static str),
    #[error("it is a delta, and what it starts from is not here")]
    Delta,
}

impl ReleaseImages {
    /// Everything in `folder` is verified first, as `osbuild verify` does it.
    pub fn of_folder(folder: &Path, keys: &PublicKeys) -> Result<ReleaseImages, ReleaseError> {
        verify::folder(folder, keys, false)?;
        let statement = verify::manifest(folder, keys)?;
        let read = |name| vouched(&statement, name, file::read(&folder.join(name), LIMIT_IMAGE_BYTES)?);
        let (root, esp) = (read(ROOT)?, read(ESP)?);
        let predicate = statement.predicate;
        let superblock = Superblock::parse(&file::read_start(&folder.join(VERITY), SUPERBLOCK_BYTES as u64)?)?;
        let release = payload::Release {
            version: predicate.version,
            epoch: predicate.security_epoch,
            esp: described(&esp),
            root: described(&root),
            root_hash: predicate.root_hash,
            salt: hex::encode(superblock.salt),
        };
        Ok(ReleaseImages { product: predicate.product, machine: predicate.machine, release, root, esp })
    }

    /// What a full payload makes.
    pub fn of_payload(path: &Path, key: &VerifyingKey) -> Result<ReleaseImages, super::UpdateError> {
        let file = file::open(path)?;
        let length = file.metadata().map_err(at("look at", path))?.len();
        let described = Described::read(&file::read_start(path, HEAD_BYTES as u64)?, length, key)?;
        let segments_at = length - described.header.stored_bytes();
        Ok(Self::applied(&file, path, segments_at, described.header)?)
    }

    fn applied(file: &File, path: &Path, segments_at: u64, header: payload::Header) -> Result<Self, ReleaseError> {
        let version = header.to.version.clone();
        if header.from.is_some() {
            return Err(ReleaseError::Delta);
        }
        let (mut root, mut esp) = (Vec::new(), Vec::new());
        for (at_byte, _, segment) in header.places() {
            let mut stored = vec![0; segment.stored_bytes as usize];
            file.read_exact_at(&mut stored, segments_at + at_byte).map_err(at("read", path))?;
            let written = Images { root: &root, esp: &esp };
            let output = apply(segment, &stored, Sources { old: None, written: Some(&written) })
                .map_err(|source| ReleaseError::Segment { version: version.clone(), source })?;
            match segment.image {
                ImageName::Root => root.extend_from_slice(&output),
                ImageName::Esp => esp.extend_from_slice(&output),
            }
        }
        let payload::Header { product, machine, to, .. } = header;
        for (image, bytes, wanted) in [("root", &root, &to.root), ("ESP", &esp, &to.esp)] {
            if described(bytes) != *wanted {
                return Err(ReleaseError::Differs { version, image });
            }
        }
        Ok(ReleaseImages { product, machine, release: to, root, esp })
    }

    /// `gateway 1.2.0`
    pub fn title(&self) -> String {
        format!("{} {}", self.product, self.release.version)
    }

    pub fn images(&self) -> Images<'_> {
        Images { root: &self.root, esp: &self.esp }
    }
}

/// `bytes` of the file `name`, when the manifest means them: the file may have changed since it was verified.
fn vouched(statement: &Statement, name: &'static str, bytes: Vec<u8>) -> Result<Vec<u8>, ReleaseError> {
    let found = hex::encode(Sha256::digest(&bytes));
    let subject = statement.subject.iter().find(|subject| subject.name == name);
    match subject.is_some_and(|subject| subject.digest.get("sha256") == Some(&found)) {
        true => Ok(bytes),
        false => Err(ReleaseError::Changed(name)),
    }
}

pub(super) fn described(bytes: &[u8]) -> payload::Image {
    payload::Image { size_bytes: bytes.len() as u64, sha256: hex::encode(Sha256::digest(bytes)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::manifest::Subject;
    use std::collections::BTreeMap;

    #[test]
    fn a_file_that_changes_after_it_was_verified_is_not_signed() {
        let sha256 = hex::encode(Sha256::digest(b"root"));
        let subject = Subject { name: ROOT.to_owned(), digest: BTreeMap::from([("sha256".to_owned(), sha256)]) };
        let predicate = serde_json::from_value(serde_json::json!({"product": "p", "version": "1.0.0", "machine": "m",
            "architecture": "x86_64", "keys": "development", "production": false, "root_hash": "", "command_line": "",
            "size_bytes": {}, "partition_bytes": {}, "packages": [], "sources": {}, "actions": {}}));
        let mut statement = Statement::new(&BTreeMap::new(), predicate.unwrap());
        statement.subject = vec![subject];
        assert_eq!(vouched(&statement, ROOT, b"root".to_vec()).unwrap(), b"root");
        assert!(matches!(vouched(&statement, ROOT, b"r00t".to_vec()), Err(ReleaseError::Changed(ROOT))));
        assert!(matches!(vouched(&statement, ESP, b"root".to_vec()), Err(ReleaseError::Changed(ESP))));
    }
}

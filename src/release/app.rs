//! An app's file and a key in, the same file with this key's signature out; and capability tokens.
//!
//! Invariant: only a file whose image is what its manifest says is signed, and it is replaced in one step; what the
//! signature covers, the manifest, stays byte for byte.

use super::signer::{SignError, Signer};
use crate::image::verity::{self, Extent, VerityError};
use crate::io::file::{self, at, FileError};
use osbuild_format::app::package::PackageError;
use osbuild_format::app::token::{self, Token};
use osbuild_format::app::{package, Manifest, ManifestError, PAYLOAD_TYPE};
use osbuild_format::dsse::{self, DsseError};
use osbuild_format::verity::BLOCK_BYTES;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

#[derive(Debug, thiserror::Error)]
pub enum AppFileError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("`{path}` is not an app's file")]
    Package {
        path: String,
        #[source]
        source: PackageError,
    },
    #[error("the envelope in `{path}` is not valid")]
    Envelope {
        path: String,
        #[source]
        source: DsseError,
    },
    #[error("the manifest in `{path}` is not valid")]
    Manifest {
        path: String,
        #[source]
        source: ManifestError,
    },
    #[error("the image in `{path}` is not what its manifest says")]
    Image {
        path: String,
        #[source]
        source: VerityError,
    },
    #[error("the root hash in the manifest of `{0}` is not one")]
    RootHash(String),
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// What is in an app's file, all of it checked but for who signed it.
#[derive(Debug)]
pub struct AppFile {
    file: File,
    pub manifest: Manifest,
    /// The manifest's bytes, whose SHA-256 is the app's content address.
    pub payload: Vec<u8>,
}

impl AppFile {
    pub fn open(path: &Path) -> Result<AppFile, AppFileError> {
        let name = || path.display().to_string();
        let head = file::read_start(path, package::IMAGE_OFFSET)?;
        let wrong = |source| AppFileError::Package { path: name(), source };
        let envelope = package::envelope(&head).map_err(wrong)?;
        let payload = dsse::read_vouched(envelope, PAYLOAD_TYPE)
            .map_err(|source| AppFileError::Envelope { path: name(), source })?;
        let manifest =
            Manifest::from_json(&payload).map_err(|source| AppFileError::Manifest { path: name(), source })?;
        let file = file::open(path)?;
        let length = file.metadata().map_err(at("look at", path))?.len();
        package::check_size(&manifest, length).map_err(wrong)?;
        let root_hash = hex::decode(&manifest.image.root_hash).ok().and_then(|hash| hash.try_into().ok());
        let root_hash: [u8; 32] = root_hash.ok_or_else(|| AppFileError::RootHash(name()))?;
        let bytes = manifest.image.data_blocks * u64::from(BLOCK_BYTES);
        let data = Extent { file: &file, start: package::IMAGE_OFFSET, bytes };
        let end = package::IMAGE_OFFSET + bytes;
        let hashes = Extent { file: &file, start: end, bytes: length - end };
        verity::check(data, hashes, &root_hash, manifest.image.data_blocks)
            .map_err(|source| AppFileError::Image { path: name(), source })?;
        Ok(AppFile { file, manifest, payload })
    }

    /// Writes it to `to`, which may be where it came from, signed by `key` alone.
    pub fn write_signed(&mut self, to: &Path, key: &Signer) -> Result<(), AppFileError> {
        let what = format!("app {} {}", self.manifest.id, self.manifest.version);
        let envelope = key.sign_statement(&what, PAYLOAD_TYPE, &self.payload)?;
        self.write(to, &envelope)
    }

    /// Writes it to `to`, without any signature.
    pub fn write_unsigned(&mut self, to: &Path) -> Result<(), AppFileError> {
        self.write(to, &dsse::unsigned(PAYLOAD_TYPE, &self.payload))
    }

    fn write(&mut self, to: &Path, envelope: &str) -> Result<(), AppFileError> {
        let wrong = |source| AppFileError::Package { path: to.display().to_string(), source };
        let head = package::head(envelope.as_bytes()).map_err(wrong)?;
        self.file.seek(SeekFrom::Start(package::IMAGE_OFFSET)).map_err(at("read", to))?;
        let mut pending = file::Pending::create(to, 0o644)?;
        pending.file().write_all(&head).map_err(at("write", to))?;
        io::copy(&mut self.file, pending.file()).map_err(at("write", to))?;
        Ok(pending.commit()?)
    }
}

/// The envelope of a token that `key` signs.
pub fn sign_token(token: &Token, key: &Signer) -> Result<String, SignError> {
    key.sign_statement(&format!("token for device {}", token.device), token::PAYLOAD_TYPE, &token.to_json())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;
    use osbuild_format::app::ImageFacts;
    use serde_json::json;

    /// An app whose image is two blocks of nothing.
    pub fn example(folder: &Path) -> std::path::PathBuf {
        let data = vec![0; 8192];
        let path = folder.join("data");
        file::write_atomic(&path, &data, 0o644).unwrap();
        let salt = vec![7; 32];
        let extent = Extent { file: &file::open(&path).unwrap(), start: 0, bytes: 8192 };
        let verity = verity::build(extent, verity::uuid(&salt), salt.clone()).unwrap();
        let mut manifest: Manifest = serde_json::from_value(json!({
            "format": 1, "id": "meter", "version": "1.0.0", "title": "Meter", "architecture": "x86_64",
            "abi": {"runtime": 1}, "argv": ["/usr/bin/meter"],
            "image": {"data_blocks": 2, "root_hash": "", "salt": ""},
        }))
        .unwrap();
        let root_hash = hex::encode(verity.root_hash);
        manifest.image = ImageFacts { data_blocks: 2, root_hash, salt: hex::encode(salt) };
        let envelope = dsse::unsigned(PAYLOAD_TYPE, &manifest.to_json().unwrap());
        let bytes = [package::head(envelope.as_bytes()).unwrap(), data, verity.device].concat();
        let path = folder.join("meter.app");
        file::write_atomic(&path, &bytes, 0o644).unwrap();
        path
    }

    #[test]
    fn a_signature_is_put_in_and_replaced_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = example(folder.path());
        let unsigned = file::read(&path, 1 << 20).unwrap();
        for seed in [1, 2] {
            let key = SigningKey::from_bytes(&[seed; 32]);
            AppFile::open(&path).unwrap().write_signed(&path, &Signer::of_ed25519("app", key.clone())).unwrap();
            let signed = file::read(&path, 1 << 20).unwrap();
            let envelope = package::envelope(&signed[..]).unwrap();
            let id = dsse::key_id(&key.verifying_key());
            let payload = dsse::verify(envelope, PAYLOAD_TYPE, &key.verifying_key(), &id).unwrap();
            assert_eq!(payload, AppFile::open(&path).unwrap().payload);
        }
        AppFile::open(&path).unwrap().write_unsigned(&path).unwrap();
        assert_eq!(file::read(&path, 1 << 20).unwrap(), unsigned);
    }

    #[test]
    fn what_is_damaged_is_not_signed() {
        let folder = tempfile::tempdir().unwrap();
        let path = example(folder.path());
        let whole = file::read(&path, 1 << 20).unwrap();
        let image = usize::try_from(package::IMAGE_OFFSET).unwrap();
        for (at, wanted) in [(0, "is not an app's file"), (4100, "the envelope"), (image + 5000, "the image in")] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            file::write_atomic(&path, &bytes, 0o644).unwrap();
            let error = AppFile::open(&path).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        file::write_atomic(&path, &whole[..whole.len() - 1], 0o644).unwrap();
        assert!(matches!(AppFile::open(&path), Err(AppFileError::Package { .. })));
    }

    #[test]
    fn a_token_is_good_on_its_device_alone() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let device = "ab".repeat(32);
        let token =
            Token { format: token::FORMAT, device: device.clone(), sideload: true, downgrade: false, not_after: None };
        let envelope = sign_token(&token, &Signer::of_ed25519("capability", key.clone())).unwrap();
        let id = dsse::key_id(&key.verifying_key());
        let payload = dsse::verify(envelope.as_bytes(), token::PAYLOAD_TYPE, &key.verifying_key(), &id).unwrap();
        assert_eq!(Token::from_json(&payload, &device, 0).unwrap(), token);
        assert!(Token::from_json(&payload, &"cd".repeat(32), 0).is_err());
    }
}

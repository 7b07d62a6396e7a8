//! An app's file to what it says of itself, once somebody has vouched for it.
//!
//! Invariant: a [`Package`] is either part of the root, where dm-verity vouches for every byte and the device
//! configuration names its digest, or signed by a key that the device configuration trusts.

use crate::error::{AgentError, Doing};
use crate::file;
use osbuild_format::app::{abi, package, Manifest, PAYLOAD_TYPE};
use osbuild_format::dsse::{self, VerifyingKey};
use osbuild_format::hex;
use osbuild_format::verity::{self, Superblock};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Where a package comes from, and so who vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Image,
    Installed,
}

#[derive(Debug)]
pub struct Package {
    pub manifest: Manifest,
    /// SHA-256 of the manifest, 64 hexadecimal digits: the address of everything in the file.
    pub digest: String,
    pub path: PathBuf,
    pub origin: Origin,
}

#[derive(Debug, thiserror::Error)]
pub enum PackageProblem {
    #[error(transparent)]
    Format(#[from] package::PackageError),
    #[error("its manifest is not signed by a key that this device trusts")]
    Untrusted,
    #[error("its manifest cannot be taken out of its envelope: {0}")]
    Envelope(#[from] dsse::DsseError),
    #[error("{}", crate::error::chain(.0))]
    Manifest(#[from] osbuild_format::app::ManifestError),
    #[error("it is another app than the configuration names: its digest is {0}")]
    Digest(String),
    #[error("it is for another processor: {0}")]
    Architecture(String),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Abi(Vec<abi::AbiProblem>),
}

/// Who vouches for a file.
pub enum Vouched<'a> {
    /// The root does; the configuration knows the digest.
    ByRoot { digest: &'a str },
    /// One of these keys has to.
    BySigner(&'a [VerifyingKey]),
}

/// Reads the head of the file at `path`. What is behind it is checked block by block as it is read.
pub fn open(path: &Path, vouched: &Vouched) -> Result<Package, AgentError> {
    let named = || format!("use `{}`", path.display());
    let file = file::open(path).doing(named)?;
    let length = file.metadata().doing(named)?.len();
    let head = usize::try_from(package::IMAGE_OFFSET.min(length)).unwrap_or(0);
    let head = file::read_at(&file, 0, head).doing(named)?;
    let wrong = |problem: PackageProblem| AgentError::Wrong(format!("cannot use `{}`: {problem}", path.display()));
    let (manifest, digest) = read(&head, vouched).map_err(wrong)?;
    package::check_size(&manifest, length).map_err(|problem| wrong(problem.into()))?;
    let origin = match vouched {
        Vouched::ByRoot { .. } => Origin::Image,
        Vouched::BySigner(_) => Origin::Installed,
    };
    Ok(Package { manifest, digest, path: path.to_owned(), origin })
}

/// The manifest in a file's first bytes, and its digest.
pub fn read(head: &[u8], vouched: &Vouched) -> Result<(Manifest, String), PackageProblem> {
    let envelope = package::envelope(head)?;
    let payload = match vouched {
        Vouched::ByRoot { .. } => dsse::read_vouched(envelope, PAYLOAD_TYPE)?,
        Vouched::BySigner(keys) => signed(envelope, keys)?,
    };
    let digest = hex::encode(&Sha256::digest(&payload));
    if matches!(vouched, Vouched::ByRoot { digest: known } if **known != digest) {
        return Err(PackageProblem::Digest(digest));
    }
    let manifest = Manifest::from_json(&payload)?;
    if manifest.architecture != std::env::consts::ARCH {
        return Err(PackageProblem::Architecture(manifest.architecture));
    }
    match abi::missing(&manifest.abi) {
        missing if missing.is_empty() => Ok((manifest, digest)),
        missing => Err(PackageProblem::Abi(missing)),
    }
}

fn signed(envelope: &[u8], keys: &[VerifyingKey]) -> Result<Vec<u8>, PackageProblem> {
    for key in keys {
        match dsse::verify(envelope, PAYLOAD_TYPE, key, &dsse::key_id(key)) {
            Err(dsse::DsseError::Untrusted | dsse::DsseError::Uncovered) => {}
            other => return Ok(other?),
        }
    }
    Err(PackageProblem::Untrusted)
}

/// Keys as the device configuration has them; it was validated, so all are 32 bytes. One that is no point of the
/// curve is nobody's key.
pub fn keys(texts: &[String]) -> Vec<VerifyingKey> {
    let key = |text: &String| VerifyingKey::from_bytes(&hex::decode(text)?.try_into().ok()?).ok();
    texts.iter().filter_map(key).collect()
}

/// Compares every block of the file with its tree, so that an error is found now rather than when it is read.
pub fn check_whole(file: &File, manifest: &Manifest) -> Result<(), AgentError> {
    let image = &manifest.image;
    let salt = hex::decode(&image.salt).unwrap_or_default();
    let block = u64::from(verity::BLOCK_BYTES);
    let read = |index: u64| file::read_at(file, package::IMAGE_OFFSET + index * block, 4096);
    let hash = |bytes: &[u8]| Sha256::new_with_prefix(&salt).chain_update(bytes).finalize();
    let mut level: Vec<u8> = Vec::new();
    for index in 0..image.data_blocks {
        level.extend(hash(&read(index).doing(|| "read the app's image".to_owned())?));
    }
    // No hash covers it, and nothing reads it: all of it follows from what is signed, so that nothing hides there.
    let superblock = Superblock { uuid: verity::uuid(&salt), data_blocks: image.data_blocks, salt: salt.clone() };
    let mut wanted = superblock.to_bytes().to_vec();
    wanted.resize(4096, 0);
    if read(image.data_blocks).doing(|| "read the app's verity superblock".to_owned())? != wanted {
        return Err(AgentError::Wrong("the app's verity superblock is not that of its signed manifest".to_owned()));
    }
    // The tree follows from the data, so what the file has of it is compared level by level from the lowest, which is last.
    let mut end = image.data_blocks + 1 + verity::tree_blocks(image.data_blocks);
    while level.len() > 32 {
        level.resize(level.len().next_multiple_of(4096), 0);
        let blocks = level.len() as u64 / 4096;
        let mut above = Vec::new();
        for (index, wanted) in (end - blocks..end).zip(level.chunks(4096)) {
            if read(index).doing(|| "read the app's verity tree".to_owned())? != wanted {
                return Err(AgentError::Wrong("the app's image is not what its verity tree says".to_owned()));
            }
            above.extend(hash(wanted));
        }
        end -= blocks;
        level = above;
    }
    match hex::encode(&level) == image.root_hash {
        true => Ok(()),
        false => Err(AgentError::Wrong("the app's image is not what its signed manifest says".to_owned())),
    }
}

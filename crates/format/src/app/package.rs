//! The file of one app: a header, the signed manifest, the EROFS image and its verity tree; to and from bytes.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4096 | header: magic, version, length of the envelope; zeros |
//! | 4096 | 65536 | the manifest's DSSE envelope; zeros |
//! | 69632 | 4096 × data blocks | EROFS |
//! | after | 4096 | verity superblock |
//! | after | 4096 × tree blocks | verity tree |
//!
//! Invariant: the image's place and the file's size follow from the signed manifest alone, so nothing that is not signed
//! decides what is mounted.

use super::Manifest;
use crate::verity::{self, BLOCK_BYTES};

pub const MAGIC: &[u8; 8] = b"OSBUAPP\0";
pub const VERSION: u32 = 1;
pub const HEADER_BYTES: usize = 4096;
pub const ENVELOPE_BYTES: usize = 64 * 1024;
/// Where the image begins, and what a reader has to have read to know all about it.
pub const IMAGE_OFFSET: u64 = (HEADER_BYTES + ENVELOPE_BYTES) as u64;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    #[error("an app's file begins with {IMAGE_OFFSET} bytes of header and manifest, there are only {0}")]
    Short(usize),
    #[error("this is no app: the signature of the format is missing")]
    Magic,
    #[error("this reader knows version {VERSION} of the format, the file has: {0}")]
    Version(u32),
    #[error("the manifest's envelope has {0} bytes; the limit is {ENVELOPE_BYTES}")]
    Envelope(u64),
    #[error("there are bytes beside header and manifest that should be zero")]
    Padding,
    #[error("the manifest speaks of a file of {wanted} bytes, there are: {found}")]
    Size { wanted: u64, found: u64 },
}

/// The envelope's bytes from the first [`IMAGE_OFFSET`] bytes of a file.
pub fn envelope(head: &[u8]) -> Result<&[u8], PackageError> {
    let offset = usize::try_from(IMAGE_OFFSET).expect("a small constant");
    let head = head.get(..offset).ok_or(PackageError::Short(head.len()))?;
    let (header, area) = head.split_at(HEADER_BYTES);
    if &header[..8] != MAGIC {
        return Err(PackageError::Magic);
    }
    let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("4 bytes"));
    if number(8) != VERSION {
        return Err(PackageError::Version(number(8)));
    }
    let length = number(12);
    let used = usize::try_from(length).ok().filter(|used| (1..=ENVELOPE_BYTES).contains(used));
    let (envelope, rest) = area.split_at(used.ok_or(PackageError::Envelope(length.into()))?);
    // Nothing may hide in a file whose content is addressed by what is signed.
    match header[16..].iter().chain(rest).all(|byte| *byte == 0) {
        true => Ok(envelope),
        false => Err(PackageError::Padding),
    }
}

/// The first [`IMAGE_OFFSET`] bytes of a file with this envelope.
pub fn head(envelope: &[u8]) -> Result<Vec<u8>, PackageError> {
    let length = u32::try_from(envelope.len()).ok().filter(|_| (1..=ENVELOPE_BYTES).contains(&envelope.len()));
    let length = length.ok_or(PackageError::Envelope(envelope.len() as u64))?;
    let mut head = vec![0; usize::try_from(IMAGE_OFFSET).expect("a small constant")];
    head[..8].copy_from_slice(MAGIC);
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    head[12..16].copy_from_slice(&length.to_le_bytes());
    head[HEADER_BYTES..HEADER_BYTES + envelope.len()].copy_from_slice(envelope);
    Ok(head)
}

/// Bytes of the whole file.
pub fn file_bytes(manifest: &Manifest) -> u64 {
    let data = manifest.image.data_blocks;
    IMAGE_OFFSET + data * u64::from(BLOCK_BYTES) + verity::size_bytes(data)
}

/// Bytes from [`IMAGE_OFFSET`] on: image, superblock and tree.
pub fn image_bytes(manifest: &Manifest) -> u64 {
    file_bytes(manifest) - IMAGE_OFFSET
}

/// The size must be the one that the manifest leads to.
pub fn check_size(manifest: &Manifest, found: u64) -> Result<(), PackageError> {
    let wanted = file_bytes(manifest);
    match found == wanted {
        true => Ok(()),
        false => Err(PackageError::Size { wanted, found }),
    }
}

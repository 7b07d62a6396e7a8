//! Bytes and what signed metadata says of them in; whether they are the same out.
//!
//! Invariant: a file of which metadata gives a digest is equal to it only when every digest of a known algorithm is that of
//! the bytes, and at least one was known.

use crate::hex;
use crate::metadata::{MetaFile, TargetFile};
use sha2::{Digest, Sha256, Sha512};
use std::collections::BTreeMap;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error("it has {found} bytes, and should have: {wanted}")]
    Length { wanted: u64, found: u64 },
    #[error("it is longer than the {0} bytes that it should have")]
    TooLong(u64),
    #[error("its {algorithm} is not the one that was signed")]
    Hash { algorithm: &'static str },
    #[error("none of its digests is of an algorithm that is known here")]
    UnknownHashes,
}

/// Takes the bytes one part after the other.
pub struct Check {
    wanted_length: Option<u64>,
    length: u64,
    sha256: Option<(Sha256, String)>,
    sha512: Option<(Sha512, String)>,
}

impl Check {
    pub fn target(file: &TargetFile) -> Result<Check, Mismatch> {
        Check::new(Some(file.length), Some(&file.hashes))
    }

    pub fn metadata(file: &MetaFile) -> Result<Check, Mismatch> {
        Check::new(file.length, file.hashes.as_ref())
    }

    fn new(length: Option<u64>, hashes: Option<&BTreeMap<String, String>>) -> Result<Check, Mismatch> {
        let hash = |name| hashes.and_then(|hashes| hashes.get(name)).map(|digits| digits.to_ascii_lowercase());
        let sha256 = hash("sha256").map(|wanted| (Sha256::new(), wanted));
        let sha512 = hash("sha512").map(|wanted| (Sha512::new(), wanted));
        match hashes.is_some() && sha256.is_none() && sha512.is_none() {
            true => Err(Mismatch::UnknownHashes),
            false => Ok(Check { wanted_length: length, length: 0, sha256, sha512 }),
        }
    }

    /// Fails at the first byte too many.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), Mismatch> {
        self.length += bytes.len() as u64;
        if let Some(wanted) = self.wanted_length.filter(|wanted| self.length > *wanted) {
            return Err(Mismatch::TooLong(wanted));
        }
        if let Some((hash, _)) = &mut self.sha256 {
            hash.update(bytes);
        }
        if let Some((hash, _)) = &mut self.sha512 {
            hash.update(bytes);
        }
        Ok(())
    }

    pub fn finish(self) -> Result<(), Mismatch> {
        let found = self.length;
        if let Some(wanted) = self.wanted_length.filter(|wanted| *wanted != found) {
            return Err(Mismatch::Length { wanted, found });
        }
        if self.sha256.is_some_and(|(hash, wanted)| hex::encode(&hash.finalize()) != wanted) {
            return Err(Mismatch::Hash { algorithm: "SHA-256" });
        }
        if self.sha512.is_some_and(|(hash, wanted)| hex::encode(&hash.finalize()) != wanted) {
            return Err(Mismatch::Hash { algorithm: "SHA-512" });
        }
        Ok(())
    }
}

/// All at once.
pub fn check_metadata(file: &MetaFile, bytes: &[u8]) -> Result<(), Mismatch> {
    let mut check = Check::metadata(file)?;
    check.update(bytes)?;
    check.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &TargetFile, bytes: &[u8]) -> Result<(), Mismatch> {
        let mut check = Check::target(file)?;
        bytes.chunks(2).try_for_each(|part| check.update(part))?;
        check.finish()
    }

    #[test]
    fn every_known_digest_and_the_length_have_to_be_right() {
        let mut file = TargetFile::of(b"target", None);
        assert_eq!(check(&file, b"target"), Ok(()));
        assert_eq!(check(&file, b"targeT"), Err(Mismatch::Hash { algorithm: "SHA-256" }));
        assert_eq!(check(&file, b"targ"), Err(Mismatch::Length { wanted: 6, found: 4 }));
        assert_eq!(check(&file, b"target and more"), Err(Mismatch::TooLong(6)));
        file.hashes.insert("sha512".to_owned(), "00".repeat(64));
        assert_eq!(check(&file, b"target"), Err(Mismatch::Hash { algorithm: "SHA-512" }));
        file.hashes = BTreeMap::from([("md5".to_owned(), "00".repeat(16))]);
        assert_eq!(check(&file, b"target"), Err(Mismatch::UnknownHashes));
    }

    #[test]
    fn metadata_without_length_and_digest_may_have_any() {
        assert_eq!(check_metadata(&MetaFile::version(1), b"anything"), Ok(()));
    }
}

//! A content address: SHA-256 and size in bytes, as in the Remote Execution API (`Digest` message).
//!
//! Invariant: the hash is that of exactly `size_bytes` bytes; text form is `<64 hex digits>/<size>`.

use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// SHA-256 (32 bytes) and length of a blob. REAPI v2, message `Digest`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    pub sha256: [u8; 32],
    pub size_bytes: u64,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a digest: expected 64 lower-case hex digits, a slash and a size")]
pub struct InvalidDigest(pub String);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Digest { sha256: Sha256::digest(bytes).into(), size_bytes: bytes.len() as u64 }
    }

    /// 64 lower-case hex digits.
    pub fn hex(&self) -> String {
        hex::encode(self.sha256)
    }

    /// From 64 hex digits and a size.
    pub fn from_hex(hex_digits: &str, size_bytes: u64) -> Result<Self, InvalidDigest> {
        let mut sha256 = [0; 32];
        let lower = hex_digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !lower || hex::decode_to_slice(hex_digits, &mut sha256).is_err() {
            return Err(InvalidDigest(hex_digits.to_owned()));
        }
        Ok(Digest { sha256, size_bytes })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.hex(), self.size_bytes)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;
    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let invalid = || InvalidDigest(text.to_owned());
        let (hash, size) = text.split_once('/').ok_or_else(invalid)?;
        if size.len() > 1 && size.starts_with('0') || !size.bytes().all(|b| b.is_ascii_digit()) {
            return Err(invalid());
        }
        Digest::from_hex(hash, size.parse().map_err(|_| invalid())?).map_err(|_| invalid())
    }
}

/// Digests bytes as they stream past.
#[derive(Default)]
pub struct Digester {
    hash: Sha256,
    size_bytes: u64,
}

impl Digester {
    pub fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.size_bytes += bytes.len() as u64;
    }

    pub fn finish(self) -> Digest {
        Digest { sha256: self.hash.finalize().into(), size_bytes: self.size_bytes }
    }
}

impl std::io::Write for Digester {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_rejects_what_it_would_not_print() {
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad/3");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        for bad in ["", "abc/3", "BA7816BF/3", &format!("{}/03", digest.hex()), &format!("{}/+3", digest.hex())] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}

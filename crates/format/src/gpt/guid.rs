//! GUIDs: text and fields to the 16 bytes on disk, and GUIDs that depend on content alone.
//!
//! Invariant: the bytes are those on disk: the first three fields little-endian (UEFI 2.10 appendix A).

use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// A GUID as its 16 bytes on disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid(pub [u8; 16]);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a GUID: expected 32 hex digits in groups of 8-4-4-4-12")]
pub struct InvalidGuid(pub String);

/// Separates these GUIDs from any other use of SHA-256; a change is a new format.
const CONTEXT: &[u8] = b"osbuild partition guid 1";

impl Guid {
    pub const ZERO: Guid = Guid([0; 16]);

    /// From the fields of the text form.
    pub(super) const fn fixed(a: u32, b: u16, c: u16, d: u16, e: u64) -> Guid {
        let (a, b, c) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
        let (d, e) = (d.to_be_bytes(), e.to_be_bytes());
        Guid([a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], e[2], e[3], e[4], e[5], e[6], e[7]])
    }

    /// The GUID of a disk or partition: version 8 of RFC 9562 over SHA-256 of the context, the product, the
    /// label and the content's SHA-256, each preceded by its length as 8 little-endian bytes.
    ///
    /// `content` is the digest of the unsigned payload, so that who signs does not change the table.
    pub fn derive(product: &str, label: &str, content: &[u8]) -> Guid {
        let mut hash = Sha256::new();
        for part in [CONTEXT, product.as_bytes(), label.as_bytes(), content] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        let mut text_order = [0; 16];
        text_order.copy_from_slice(&digest[..16]);
        text_order[6] = text_order[6] & 0x0f | 0x80;
        text_order[8] = text_order[8] & 0x3f | 0x80;
        Guid(swapped(text_order))
    }
}

/// Between the order of the text form and the order on disk.
fn swapped(bytes: [u8; 16]) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = bytes;
    let mut result = [d, c, b, a, f, e, h, g, 0, 0, 0, 0, 0, 0, 0, 0];
    result[8..].copy_from_slice(&rest);
    result
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in swapped(self.0).iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Guid {
    type Err = InvalidGuid;
    /// Either case is accepted: firmware writes upper case, Linux lower case.
    fn from_str(text: &str) -> Result<Self, InvalidGuid> {
        let invalid = || InvalidGuid(text.chars().take(80).collect());
        let groups: Vec<&str> = text.split('-').collect();
        if groups.iter().map(|g| g.len()).ne([8, 4, 4, 4, 12]) {
            return Err(invalid());
        }
        let digits = groups.concat();
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16).ok_or_else(invalid);
            *byte = (digit(0)? * 16 + digit(1)?) as u8;
        }
        Ok(Guid(swapped(bytes)))
    }
}

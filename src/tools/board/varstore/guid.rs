//! EFI GUIDs: text to the 16 bytes that firmware stores, and back.
//!
//! Invariant: the bytes are in EFI order: the first three fields little-endian (UEFI 2.10, appendix A).

use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid(pub [u8; 16]);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a GUID: expected the form 01234567-89ab-cdef-0123-456789abcdef")]
pub struct InvalidGuid(pub String);

impl Guid {
    /// From the five fields of the text form.
    pub const fn new(first: u32, second: u16, third: u16, rest: [u8; 8]) -> Guid {
        let (a, b, c) = (first.to_le_bytes(), second.to_le_bytes(), third.to_le_bytes());
        let r = rest;
        Guid([a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7]])
    }
}

/// `EFI_GLOBAL_VARIABLE`: PK, KEK, Boot####, BootOrder.
pub const GLOBAL_VARIABLE: Guid =
    Guid::new(0x8be4df61, 0x93ca, 0x11d2, [0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c]);
/// `EFI_IMAGE_SECURITY_DATABASE_GUID`: db and dbx.
pub const IMAGE_SECURITY_DATABASE: Guid =
    Guid::new(0xd719b2cb, 0x3d3a, 0x4596, [0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f]);
/// EDK II's `gEfiSecureBootEnableDisableGuid`.
pub const SECURE_BOOT_ENABLE: Guid =
    Guid::new(0xf0a30bc7, 0xaf08, 0x4556, [0x99, 0xc4, 0x00, 0x10, 0x09, 0xc9, 0x3a, 0x44]);
/// EDK II's `gEfiCustomModeEnableGuid`.
pub const CUSTOM_MODE_ENABLE: Guid =
    Guid::new(0xc076ec0c, 0x7028, 0x4399, [0xa0, 0x72, 0x71, 0xee, 0x5c, 0x44, 0x8b, 0x9f]);
/// `EFI_CERT_X509_GUID`: the type of a signature list that holds certificates.
pub const CERT_X509: Guid = Guid::new(0xa5c059a1, 0x94e4, 0x4aa7, [0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72]);
/// The boot loader interface: LoaderDevicePartUUID and the stub's measurements.
pub const LOADER: Guid = Guid::new(0x4a67b082, 0x0a4c, 0x41cf, [0xb6, 0xc7, 0x44, 0x0b, 0x29, 0xbb, 0x8c, 0x4f]);

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = &self.0;
        let first = u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        let (second, third) = (u16::from_le_bytes([b[4], b[5]]), u16::from_le_bytes([b[6], b[7]]));
        write!(f, "{first:08x}-{second:04x}-{third:04x}-{}-{}", hex::encode(&b[8..10]), hex::encode(&b[10..]))
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Guid {
    type Err = InvalidGuid;
    fn from_str(text: &str) -> Result<Guid, InvalidGuid> {
        let invalid = || InvalidGuid(text.to_owned());
        let lengths: Vec<usize> = text.split('-').map(str::len).collect();
        if lengths != [8, 4, 4, 4, 12] {
            return Err(invalid());
        }
        let mut bytes = [0; 16];
        hex::decode_to_slice(text.replace('-', ""), &mut bytes).map_err(|_| invalid())?;
        bytes[..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        Ok(Guid(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_agree() {
        let text = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
        assert_eq!(text.parse(), Ok(GLOBAL_VARIABLE));
        assert_eq!(GLOBAL_VARIABLE.to_string(), text);
        assert_eq!(hex::encode(GLOBAL_VARIABLE.0), "61dfe48bca93d211aa0d00e098032b8c");
        for bad in ["", "8be4df61", "8be4df6193ca11d2aa0d00e098032b8c", "8be4df61-93ca-11d2-aa0d-00e098032bxx"] {
            assert!(bad.parse::<Guid>().is_err(), "{bad}");
        }
    }
}

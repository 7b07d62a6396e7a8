//! The dm-verity superblock that precedes the hash tree, to and from its 512 bytes; and what the tree is made of.
//!
//! Invariant: only what this project writes is accepted: version 1, SHA-256, blocks of 4096 bytes.
//! Layout: cryptsetup's on-disk format, docs "DMVerity" wiki page, section "Verity superblock format".

mod tree;

pub use tree::{levels, size_bytes, tree_blocks, Hasher, HASHES_PER_BLOCK, HASH_BYTES};

use sha2::{Digest, Sha256};

/// Bytes the superblock takes at the start of the hash device; the tree starts at block 1.
pub const SUPERBLOCK_BYTES: usize = 512;
pub const BLOCK_BYTES: u32 = 4096;
const SIGNATURE: &[u8; 8] = b"verity\0\0";
const SALT_LIMIT_BYTES: usize = 256;
/// 2^36 blocks are 256 TiB: more is damage, not a root file system.
const LIMIT_BLOCKS: u64 = 1 << 36;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    pub uuid: [u8; 16],
    /// Blocks of [`BLOCK_BYTES`] that the tree covers.
    pub data_blocks: u64,
    /// At most 256 bytes.
    pub salt: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum VeritySuperblockError {
    #[error("a verity superblock has {SUPERBLOCK_BYTES} bytes, there are only {0}")]
    Short(usize),
    #[error("there is no verity superblock: the signature is missing")]
    Signature,
    #[error("the verity superblock has a `{field}` that is not supported: {value}")]
    Unsupported { field: &'static str, value: String },
}

impl Superblock {
    /// Reads the first [`SUPERBLOCK_BYTES`] of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, VeritySuperblockError> {
        let bytes = bytes.get(..SUPERBLOCK_BYTES).ok_or(VeritySuperblockError::Short(bytes.len()))?;
        if &bytes[..8] != SIGNATURE {
            return Err(VeritySuperblockError::Signature);
        }
        expect("version", u32_at(bytes, 8), 1)?;
        expect("hash_type", u32_at(bytes, 12), 1)?;
        let algorithm: Vec<u8> = bytes[32..64].iter().copied().take_while(|b| *b != 0).collect();
        if algorithm != b"sha256" {
            let value = String::from_utf8_lossy(&algorithm).into_owned();
            return Err(VeritySuperblockError::Unsupported { field: "algorithm", value });
        }
        expect("data_block_size", u32_at(bytes, 64), BLOCK_BYTES)?;
        expect("hash_block_size", u32_at(bytes, 68), BLOCK_BYTES)?;
        let data_blocks = u64::from_le_bytes(bytes[72..80].try_into().expect("8 bytes"));
        if data_blocks == 0 || data_blocks > LIMIT_BLOCKS {
            let value = data_blocks.to_string();
            return Err(VeritySuperblockError::Unsupported { field: "data_blocks", value });
        }
        let salt_size = usize::from(u16::from_le_bytes([bytes[80], bytes[81]]));
        if salt_size > SALT_LIMIT_BYTES {
            let value = salt_size.to_string();
            return Err(VeritySuperblockError::Unsupported { field: "salt_size", value });
        }
        let uuid = bytes[16..32].try_into().expect("16 bytes");
        Ok(Superblock { uuid, data_blocks, salt: bytes[88..88 + salt_size].to_vec() })
    }

    /// Panics when the salt is longer than 256 bytes, which no caller's input decides.
    pub fn to_bytes(&self) -> [u8; SUPERBLOCK_BYTES] {
        assert!(self.salt.len() <= SALT_LIMIT_BYTES, "the salt has at most 256 bytes");
        let mut bytes = [0; SUPERBLOCK_BYTES];
        bytes[..8].copy_from_slice(SIGNATURE);
        bytes[8..12].copy_from_slice(&1u32.to_le_bytes());
        bytes[12..16].copy_from_slice(&1u32.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.uuid);
        bytes[32..38].copy_from_slice(b"sha256");
        bytes[64..68].copy_from_slice(&BLOCK_BYTES.to_le_bytes());
        bytes[68..72].copy_from_slice(&BLOCK_BYTES.to_le_bytes());
        bytes[72..80].copy_from_slice(&self.data_blocks.to_le_bytes());
        let salt_size = u16::try_from(self.salt.len()).expect("at most 256");
        bytes[80..82].copy_from_slice(&salt_size.to_le_bytes());
        bytes[88..88 + self.salt.len()].copy_from_slice(&self.salt);
        bytes
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn expect(field: &'static str, value: u32, wanted: u32) -> Result<(), VeritySuperblockError> {
    if value == wanted {
        return Ok(());
    }
    Err(VeritySuperblockError::Unsupported { field, value: value.to_string() })
}

/// The UUID that belongs to a salt: the root hash does not cover the UUID, but it does cover the salt.
pub fn uuid(salt: &[u8]) -> [u8; 16] {
    let hash = Sha256::digest([b"osbuild verity ", salt].concat());
    let mut uuid: [u8; 16] = hash[..16].try_into().expect("16 bytes");
    // RFC 9562, version 8.
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> Superblock {
        Superblock { uuid: [7; 16], data_blocks: 1234, salt: (0..32).collect() }
    }

    #[test]
    fn each_field_is_checked() {
        for (at, value, field) in [
            (8, 2, "version"),
            (12, 0, "hash_type"),
            (32, b'x', "algorithm"),
            (65, 2, "data_block_size"),
            (69, 2, "hash_block_size"),
            (79, 1, "data_blocks"),
            (81, 2, "salt_size"),
        ] {
            let mut bytes = example().to_bytes();
            bytes[at] = value;
            let error = Superblock::parse(&bytes).expect_err(field);
            assert!(matches!(error, VeritySuperblockError::Unsupported { field: f, .. } if f == field), "{error}");
        }
        assert_eq!(Superblock::parse(&[0; 512]), Err(VeritySuperblockError::Signature));
        assert_eq!(Superblock::parse(&[0; 511]), Err(VeritySuperblockError::Short(511)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), whole: bool) {
            if whole && bytes.len() >= 80 {
                let good = example().to_bytes();
                bytes[..80].copy_from_slice(&good[..80]);
            }
            if let Ok(superblock) = Superblock::parse(&bytes) {
                prop_assert!(superblock.salt.len() <= 256);
            }
        }

        #[test]
        fn what_is_written_is_read(uuid: [u8; 16], data_blocks in 1u64..LIMIT_BLOCKS, salt in proptest::collection::vec(any::<u8>(), 0..=256)) {
            let superblock = Superblock { uuid, data_blocks, salt };
            prop_assert_eq!(Superblock::parse(&superblock.to_bytes()), Ok(superblock));
        }
    }
}

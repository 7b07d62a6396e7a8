//! A salt and blocks in, their hashes out; and how many blocks of hashes there are over how many of data.
//!
//! Layout: the kernel's Documentation/admin-guide/device-mapper/verity.rst, "On-disk format", hash type 1: each hash covers the
//! salt and then the block. Invariant: builder and device make the tree of these alone, each in its own order: one reads on all
//! processors, the other with little memory.

use super::BLOCK_BYTES;
use sha2::{Digest, Sha256};

pub const HASH_BYTES: usize = 32;
const BLOCK: usize = BLOCK_BYTES as usize;
/// What a block of the tree holds.
pub const HASHES_PER_BLOCK: usize = BLOCK / HASH_BYTES;

/// SHA-256 that has taken the salt.
#[derive(Clone)]
pub struct Hasher(Sha256);

impl Hasher {
    pub fn new(salt: &[u8]) -> Self {
        Self(Sha256::new_with_prefix(salt))
    }

    pub fn hash(&self, block: &[u8]) -> [u8; HASH_BYTES] {
        self.0.clone().chain_update(block).finalize().into()
    }

    /// Fills the start of `hashes` with those of the whole blocks of `bytes`, one after the other.
    pub fn fill(&self, bytes: &[u8], hashes: &mut [u8]) {
        for (block, hash) in bytes.chunks_exact(BLOCK).zip(hashes.chunks_exact_mut(HASH_BYTES)) {
            hash.copy_from_slice(&self.hash(block));
        }
    }
}

/// Blocks of each level of the tree over `data_blocks`, from the lowest up; none where there is one block of data.
pub fn levels(data_blocks: u64) -> Vec<u64> {
    let mut levels = Vec::new();
    let mut below = data_blocks;
    while below > 1 {
        below = below.div_ceil(HASHES_PER_BLOCK as u64);
        levels.push(below);
    }
    levels
}

/// Blocks of the tree over `data_blocks`, without the superblock's.
pub fn tree_blocks(data_blocks: u64) -> u64 {
    levels(data_blocks).iter().sum()
}

/// Bytes of the superblock's block and the tree.
pub fn size_bytes(data_blocks: u64) -> u64 {
    (1 + tree_blocks(data_blocks)) * u64::from(BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_level_holds_the_hashes_of_the_one_below() {
        for (data, wanted) in [(1, &[][..]), (2, &[1]), (128, &[1]), (129, &[2, 1]), (16_385, &[129, 2, 1])] {
            assert_eq!(levels(data), wanted, "{data} blocks");
        }
        assert_eq!(size_bytes(129), 4 * 4096);
    }

    #[test]
    fn each_whole_block_has_the_hash_of_salt_and_block() {
        let bytes: Vec<u8> = (0..3 * BLOCK).map(|at| (at / 7 % 251) as u8).collect();
        let mut hashes = [0; 3 * HASH_BYTES];
        Hasher::new(b"salt").fill(&bytes[..3 * BLOCK - 1], &mut hashes);
        for (block, hash) in bytes.chunks(BLOCK).zip(hashes.chunks(HASH_BYTES)).take(2) {
            assert_eq!(hash, &Sha256::digest([b"salt", block].concat())[..]);
        }
        assert_eq!(hashes[2 * HASH_BYTES..], [0; HASH_BYTES]);
    }

    proptest! {
        /// Every block of a level has its hash in the level above.
        #[test]
        fn a_tree_holds_every_hash(data in 1..=1_u64 << 22) {
            let (tree, least) = (tree_blocks(data), data.div_ceil(128));
            let most = least + least / 64 + 4;
            prop_assert!((least..=most).contains(&tree) || (data, tree) == (1, 0), "{}", tree);
            prop_assert!(tree_blocks(data + 1) >= tree);
        }
    }
}

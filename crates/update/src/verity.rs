//! A root on its partition in, its verity tree on the other and its root hash out.
//!
//! Layout: the kernel's Documentation/admin-guide/device-mapper/verity.rst, "On-disk format", hash type 1. Invariant: the bytes
//! are those that the builder makes; memory does not grow with the root.

use crate::device::{Area, Storage};
use osbuild_format::verity::{self, Hasher, Superblock, BLOCK_BYTES, HASHES_PER_BLOCK, HASH_BYTES, SUPERBLOCK_BYTES};
use std::io;

const BLOCK: usize = BLOCK_BYTES as usize;
/// Blocks that are read at a time: as many as fill one block of hashes.
const CHUNK_BYTES: usize = BLOCK * HASHES_PER_BLOCK;

/// What was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    pub root_hash: [u8; HASH_BYTES],
    /// SHA-256 of all that was written, in the order of its place.
    pub sha256: [u8; HASH_BYTES],
    pub size_bytes: u64,
}

/// Hashes `data_blocks` blocks of `data` and writes superblock and tree to `hashes`; nothing is flushed.
pub fn rebuild(storage: &mut dyn Storage, data: Area, data_blocks: u64, salt: &[u8], hashes: Area) -> io::Result<Tree> {
    let hasher = Hasher::new(salt);
    let levels = verity::levels(data_blocks);
    let starts = starts(&levels);
    let superblock = Superblock { uuid: verity::uuid(salt), data_blocks, salt: salt.to_vec() }.to_bytes();
    let mut first = vec![0; BLOCK];
    first[..SUPERBLOCK_BYTES].copy_from_slice(&superblock);
    storage.write_at(hashes, 0, &first)?;
    let (mut from, mut from_start, mut blocks) = (data, 0, data_blocks);
    let mut chunk = vec![0; CHUNK_BYTES];
    for (level, start) in levels.iter().zip(&starts) {
        for place in 0..*level {
            let first = place * HASHES_PER_BLOCK as u64;
            let count = (blocks - first).min(HASHES_PER_BLOCK as u64);
            let part = &mut chunk[..usize::try_from(count).expect("at most 128") * BLOCK];
            storage.read_at(from, (from_start + first) * u64::from(BLOCK_BYTES), part)?;
            let mut block = vec![0; BLOCK];
            hasher.fill(part, &mut block);
            storage.write_at(hashes, (start + place) * u64::from(BLOCK_BYTES), &block)?;
        }
        (from, from_start, blocks) = (hashes, *start, *level);
    }
    let mut top = vec![0; BLOCK];
    storage.read_at(from, from_start * u64::from(BLOCK_BYTES), &mut top)?;
    let size_bytes = verity::size_bytes(data_blocks);
    let sha256 = crate::digest::of(storage, hashes, size_bytes)?;
    Ok(Tree { root_hash: hasher.hash(&top), sha256, size_bytes })
}

/// The first block of each level: the top one follows the superblock, the lowest comes last.
fn starts(levels: &[u64]) -> Vec<u64> {
    let mut next = 1;
    let mut starts: Vec<u64> = levels
        .iter()
        .rev()
        .map(|level| {
            let start = next;
            next += level;
            start
        })
        .collect();
    starts.reverse();
    starts
}

#[cfg(test)]
mod tests {
    use super::*;
    use osbuild_format::command_line::Slot;
    use sha2::{Digest, Sha256};

    const ROOT: Area = Area::Root(Slot::A);
    const HASHES: Area = Area::Verity(Slot::A);

    struct Memory {
        root: Vec<u8>,
        hashes: Vec<u8>,
    }

    impl Storage for Memory {
        fn size_bytes(&self, area: Area) -> io::Result<u64> {
            Ok(if area == ROOT { self.root.len() } else { self.hashes.len() } as u64)
        }

        fn read_at(&self, area: Area, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
            let all = if area == ROOT { &self.root } else { &self.hashes };
            let part = all.get(offset as usize..offset as usize + bytes.len());
            bytes.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        }

        fn write_at(&mut self, area: Area, offset: u64, bytes: &[u8]) -> io::Result<()> {
            assert_eq!(area, HASHES);
            let part = self.hashes.get_mut(offset as usize..offset as usize + bytes.len());
            part.ok_or(io::ErrorKind::StorageFull)?.copy_from_slice(bytes);
            Ok(())
        }

        fn flush(&mut self, _: Area) -> io::Result<()> {
            Ok(())
        }

        fn drop_caches(&mut self, _: Area) -> io::Result<()> {
            Ok(())
        }
    }

    /// The same data as the builder's tests have, whose trees are those of `veritysetup`.
    const PINNED: [(usize, &str, &str); 3] = [
        (
            1,
            "aa2b2e29ac992d672493ec843a52c033ec09780eb25f8eea32a17d5c35c87573",
            "c11c03518085770a1d6e2a44dfd13bd4a1a0922437a1226d1771ac73e9032d01",
        ),
        (
            100,
            "771062c6024066c41d16fb7cf3ee64687ce5c06114688e2e48ba05ddc5ce3026",
            "dc716527da30519e16af6ca79559d6473376bcfdfc9e0ee2a95bb584738c4fcd",
        ),
        (
            1000,
            "409b92199f775e4df6ec0ffc2ce9f1e442f459b32163b16c34090c1113ab953c",
            "53b8ee8989f87723463de820197ecbf6af3f3a92e63c33ee0675ccd70b839c7b",
        ),
    ];

    #[test]
    fn the_tree_is_the_one_that_veritysetup_makes() {
        for (blocks, root_hash, device) in PINNED {
            let root = (0..blocks * BLOCK).map(|at| (at / 7 % 251) as u8).collect();
            let size = verity::size_bytes(blocks as u64) as usize;
            let mut memory = Memory { root, hashes: vec![0xee; size] };
            let tree = rebuild(&mut memory, ROOT, blocks as u64, &[0xab; 32], HASHES).expect("built");
            assert_eq!(osbuild_format::hex::encode(&tree.root_hash), root_hash, "{blocks} blocks");
            assert_eq!(tree.sha256, <[u8; 32]>::from(Sha256::digest(&memory.hashes)));
            assert_eq!(memory.hashes[16..32], verity::uuid(&[0xab; 32]));
            // Theirs has a UUID that the command line gave.
            let given = osbuild_format::hex::decode("11111111222233334444555555555555").expect("hex");
            memory.hashes[16..32].copy_from_slice(&given);
            assert_eq!(osbuild_format::hex::encode(&Sha256::digest(&memory.hashes)), device, "{blocks} blocks");
        }
    }
}

//! A root filesystem in, its dm-verity hash device and root hash out; and the check of both.
//!
//! Layout: the kernel's Documentation/admin-guide/device-mapper/verity.rst, section "On-disk format", hash type 1:
//! each hash covers the salt and then the block. Invariant: the bytes are those that `veritysetup format` writes.

use super::step::{input, output, ImageError};
use crate::io::store::{Node, Store};
use crate::model::machine::PartitionSizes;
use crate::model::{Digest, RelPath};
use osbuild_format::verity::{
    levels, Hasher, Superblock, VeritySuperblockError, BLOCK_BYTES, HASH_BYTES, SUPERBLOCK_BYTES,
};
use rayon::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

const BLOCK: usize = BLOCK_BYTES as usize;
/// Blocks that one thread reads at a time: 256 KiB, which stay in its processor's cache until they are hashed.
const CHUNK_BLOCKS: usize = 64;
const LIMIT_BYTES: u64 = PartitionSizes::ROOT_MOST_BYTES;

#[derive(Debug, thiserror::Error)]
pub enum VerityError {
    #[error("the data has {0} bytes: it must have whole blocks of {BLOCK_BYTES}, at least one, and at most {LIMIT_BYTES} bytes")]
    Size(u64),
    #[error("cannot read the data")]
    Read(#[source] std::io::Error),
    #[error(transparent)]
    Superblock(#[from] VeritySuperblockError),
    #[error("block {0} of the root is not what its hash says")]
    Data(u64),
    #[error("block {0} of the verity tree is not what the root makes it")]
    Tree(u64),
    #[error("the UUID in the verity superblock is not the one of its salt")]
    Uuid,
    #[error("the verity superblock speaks of {found} blocks, the signed kernel of {signed}")]
    Blocks { found: u64, signed: u64 },
    #[error("the verity tree leads to the root hash {found}, not to {wanted}")]
    RootHash { found: String, wanted: String },
}

/// A hash device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verity {
    pub root_hash: [u8; HASH_BYTES],
    /// The superblock's block and the tree, from its top level down.
    pub device: Vec<u8>,
}

/// Bytes of a file.
#[derive(Clone, Copy, Debug)]
pub struct Extent<'a> {
    pub file: &'a File,
    pub start: u64,
    pub bytes: u64,
}

impl Extent<'_> {
    fn read(&self, at: u64, length: usize) -> Result<Vec<u8>, VerityError> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, self.start + at).map_err(VerityError::Read)?;
        Ok(bytes)
    }
}

/// Hashes `data`, on all processors.
pub fn build(data: Extent, uuid: [u8; 16], salt: Vec<u8>) -> Result<Verity, VerityError> {
    let whole = data.bytes.is_multiple_of(u64::from(BLOCK_BYTES));
    if !whole || data.bytes == 0 || data.bytes > LIMIT_BYTES {
        return Err(VerityError::Size(data.bytes));
    }
    let blocks = data.bytes / u64::from(BLOCK_BYTES);
    let hasher = Hasher::new(&salt);
    let mut level = lowest_level(data, blocks, &hasher)?;
    let mut levels = Vec::new();
    while level.len() > HASH_BYTES {
        level.resize(level.len().next_multiple_of(BLOCK), 0);
        let above = level_above(&level, &hasher);
        levels.push(std::mem::replace(&mut level, above));
    }
    let mut device = Superblock { uuid, data_blocks: blocks, salt }.to_bytes().to_vec();
    device.resize(BLOCK, 0);
    levels.iter().rev().for_each(|level| device.extend(level));
    Ok(Verity { root_hash: level.try_into().expect("one hash is left"), device })
}

/// The hashes of all blocks of `data`, one after the other.
fn lowest_level(data: Extent, blocks: u64, hasher: &Hasher) -> Result<Vec<u8>, VerityError> {
    let mut level = vec![0; blocks as usize * HASH_BYTES];
    let chunks = level.par_chunks_mut(CHUNK_BLOCKS * HASH_BYTES).enumerate();
    // A new buffer for each chunk would cost a twentieth of the hashing.
    let buffer = || vec![0; CHUNK_BLOCKS * BLOCK];
    let read: std::io::Result<()> = chunks.try_for_each_init(buffer, |buffer, (chunk, hashes)| {
        let bytes = &mut buffer[..hashes.len() / HASH_BYTES * BLOCK];
        let at = data.start + (chunk * CHUNK_BLOCKS * BLOCK) as u64;
        data.file.read_exact_at(bytes, at)?;
        hasher.fill(bytes, hashes);
        Ok(())
    });
    read.map_err(VerityError::Read)?;
    Ok(level)
}

/// The hashes of the blocks of a level.
fn level_above(level: &[u8], hasher: &Hasher) -> Vec<u8> {
    let mut above = vec![0; level.len() / BLOCK * HASH_BYTES];
    let chunks = level.par_chunks(CHUNK_BLOCKS * BLOCK).zip(above.par_chunks_mut(CHUNK_BLOCKS * HASH_BYTES));
    chunks.for_each(|(blocks, hashes)| hasher.fill(blocks, hashes));
    above
}

/// Checks `blocks` blocks of `data`, and that `hashes` is exactly the tree over them that `root_hash` names.
/// `blocks` must come from where `root_hash` comes from: a tree's own blocks lead to the same hash as the data, so
/// the superblock, which no hash covers, must not choose. What follows the data and the tree is the caller's to
/// check; the tree's length is returned.
pub fn check(data: Extent, hashes: Extent, root_hash: &[u8; HASH_BYTES], blocks: u64) -> Result<u64, VerityError> {
    let superblock = Superblock::parse(&hashes.read(0, SUPERBLOCK_BYTES)?)?;
    if superblock.uuid != uuid(&superblock.salt) {
        return Err(VerityError::Uuid);
    }
    if superblock.data_blocks != blocks {
        return Err(VerityError::Blocks { found: superblock.data_blocks, signed: blocks });
    }
    let bytes = blocks.saturating_mul(u64::from(BLOCK_BYTES));
    if bytes > data.bytes {
        return Err(VerityError::Size(bytes));
    }
    let made = build(Extent { bytes, ..data }, superblock.uuid, superblock.salt)?;
    let found = hashes.read(0, made.device.len().min(usize::try_from(hashes.bytes).unwrap_or(usize::MAX)))?;
    if found != made.device || made.root_hash != *root_hash {
        return Err(difference(&found, &made, superblock.data_blocks, root_hash));
    }
    Ok(made.device.len() as u64)
}

/// Which block is to blame: one of the tree when only the tree differs, one of the data when its hash does.
fn difference(found: &[u8], made: &Verity, data_blocks: u64, root_hash: &[u8; HASH_BYTES]) -> VerityError {
    let lowest_start = made.device.len() - lowest_level_bytes(data_blocks);
    let differs = |&index: &usize| found.get(index) != made.device.get(index);
    if made.root_hash == *root_hash {
        let block = (0..made.device.len()).find(differs).map_or(0, |index| index / BLOCK);
        return VerityError::Tree(block as u64);
    }
    match (lowest_start..made.device.len()).find(differs) {
        Some(index) => VerityError::Data(((index - lowest_start) / HASH_BYTES) as u64),
        None => VerityError::RootHash { found: hex::encode(made.root_hash), wanted: hex::encode(root_hash) },
    }
}

fn lowest_level_bytes(data_blocks: u64) -> usize {
    levels(data_blocks).first().map_or(0, |blocks| *blocks as usize * BLOCK)
}

pub use osbuild_format::verity::uuid;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// Hex.
    salt: String,
}

/// The step: `root.erofs` in, `verity` (the hash device) and `root-hash` (64 hex digits and a line feed) out.
pub fn step(store: &Store, inputs: &Digest, parameters: &str) -> Result<BTreeMap<RelPath, Node>, ImageError> {
    let parameters: Parameters = serde_json::from_str(parameters)?;
    let invalid = |name, value: &str| ImageError::Parameter { name, value: value.to_owned() };
    let salt = hex::decode(&parameters.salt).ok().filter(|salt| salt.len() <= 256);
    let salt = salt.ok_or_else(|| invalid("salt", &parameters.salt))?;
    let root = input(store, inputs, "root.erofs")?;
    // A tree over damaged blocks would be kept as the one of the whole root.
    store.check(&root)?;
    let file = store.open_blob(&root)?;
    let verity = build(Extent { file: &file, start: 0, bytes: root.size_bytes }, uuid(&salt), salt)?;
    let root_hash = format!("{}\n", hex::encode(verity.root_hash));
    Ok(BTreeMap::from([output(store, "verity", &verity.device)?, output(store, "root-hash", root_hash.as_bytes())?]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};
    use std::io::Write;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        file
    }

    fn extent(file: &File) -> Extent<'_> {
        Extent { file, start: 0, bytes: file.metadata().expect("a size").len() }
    }

    fn example(blocks: usize) -> Vec<u8> {
        (0..blocks * BLOCK).map(|i| (i / 7 % 251) as u8).collect()
    }

    #[test]
    fn the_tree_is_the_one_that_veritysetup_makes() {
        // veritysetup 2.6.1 format DATA HASH --salt=abab... (32 bytes) --uuid=11111111-2222-3333-4444-555555555555
        for (blocks, root_hash, device) in PINNED {
            let uuid = hex::decode("11111111222233334444555555555555").expect("hex").try_into().expect("16 bytes");
            let data = file(&example(blocks));
            let verity = build(extent(&data), uuid, vec![0xab; 32]).expect("built");
            assert_eq!(hex::encode(verity.root_hash), root_hash, "{blocks} blocks");
            assert_eq!(hex::encode(Sha256::digest(&verity.device)), device, "{blocks} blocks");
        }
    }

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
    fn one_changed_bit_is_found_and_named() {
        let data = example(300);
        let verity = build(extent(&file(&data)), uuid(&[2; 32]), vec![2; 32]).expect("built");
        let good = (file(&data), file(&verity.device));
        assert_eq!(
            check(extent(&good.0), extent(&good.1), &verity.root_hash, 300).expect("sound"),
            verity.device.len() as u64
        );
        for block in [0, 17, 299] {
            let mut changed = data.clone();
            changed[block * BLOCK + 5] ^= 0x10;
            let error = check(extent(&file(&changed)), extent(&good.1), &verity.root_hash, 300).expect_err("changed");
            assert!(matches!(error, VerityError::Data(found) if found == block as u64), "{error}");
        }
        for block in 1..verity.device.len() / BLOCK {
            let mut changed = verity.device.clone();
            changed[block * BLOCK + 1] ^= 1;
            let error = check(extent(&good.0), extent(&file(&changed)), &verity.root_hash, 300).expect_err("changed");
            assert!(matches!(error, VerityError::Tree(found) if found == block as u64), "{error}");
        }
    }

    /// The top of the tree put in the place of the data: it leads to the same root hash.
    #[test]
    fn a_tree_does_not_pass_for_the_data_it_was_made_of() {
        let data = example(100);
        let verity = build(extent(&file(&data)), uuid(&[2; 32]), vec![2; 32]).expect("built");
        let top = verity.device[BLOCK..2 * BLOCK].to_vec();
        let forged = build(extent(&file(&top)), uuid(&[2; 32]), vec![2; 32]).expect("built");
        assert_eq!(forged.root_hash, verity.root_hash, "this is why the number of blocks is signed");
        let device = file(&forged.device);
        let error = check(extent(&file(&top)), extent(&device), &verity.root_hash, 100).expect_err("forged");
        assert!(matches!(error, VerityError::Blocks { found: 1, signed: 100 }), "{error}");
    }

    #[test]
    fn each_bit_of_the_superblock_counts() {
        let data = file(&example(3));
        let verity = build(extent(&data), uuid(&[2; 32]), vec![2; 32]).expect("built");
        for bit in 0..BLOCK * 8 {
            let mut changed = verity.device.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let result = check(extent(&data), extent(&file(&changed)), &verity.root_hash, 3);
            assert!(result.is_err(), "bit {} of byte {}", bit % 8, bit / 8);
        }
    }

    #[test]
    fn data_that_is_not_whole_blocks_is_refused() {
        for bytes in [0, 1, 4097] {
            assert!(matches!(build(extent(&file(&vec![0; bytes])), [0; 16], vec![]), Err(VerityError::Size(_))));
        }
    }
}

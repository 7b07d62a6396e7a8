//! An EROFS and a layout in, the same files at the places of the layout out.
//!
//! Invariant: only numbers that say where something is change, and the superblock's checksum; what no file has is zero.
//! An image at its own places is the image itself.

use super::layout::{Layout, Place};
use super::read::{placed, Placed};
use super::space::Space;
use super::{ErofsError, BLOCK_BYTES, SLOT_BYTES, SUPERBLOCK, SUPERBLOCK_BYTES};
use std::collections::BTreeMap;
use std::ops::Range;

/// `EROFS_FEATURE_COMPAT_SB_CHKSUM`.
const HAS_CHECKSUM: u32 = 1;
/// Of an image that follows another one, an eighth may be holes, and no less than these.
const LEAST_HOLES: u64 = 16;

#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error(transparent)]
    Erofs(#[from] ErofsError),
    #[error("the layout cannot be read")]
    Layout(#[from] serde_json::Error),
    #[error("the files of this root cannot be moved: {0}")]
    Unmovable(&'static str),
    #[error("the layout has no place for `{0}`")]
    Missing(String),
    #[error("the layout has a place for `{0}`, which the root does not have")]
    Extra(String),
    #[error("the layout's place for {what} of `{path}` is taken or too small")]
    Taken { path: String, what: &'static str },
    #[error("there is no room for `{0}` unless an eighth of the root file system is holes")]
    Full(String),
}

impl Placed {
    /// `/` and the path.
    pub(super) fn key(&self) -> String {
        format!("/{}", self.path)
    }

    /// Whole blocks that belong to this file, from the first one on.
    pub(super) fn blocks(&self) -> Range<u64> {
        let bytes = self.size_bytes - self.tail_bytes;
        match self.extents.first() {
            Some(first) if bytes > 0 => first.start / BLOCK_BYTES..(first.start + bytes).div_ceil(BLOCK_BYTES),
            _ => 0..0,
        }
    }

    /// Byte at which the blocks begin.
    pub(super) fn block(&self) -> Option<u64> {
        let blocks = self.blocks();
        (!blocks.is_empty()).then_some(blocks.start * BLOCK_BYTES)
    }

    /// Of the inode, its attributes and the end of the file behind them.
    pub(super) fn inode_bytes(&self) -> u64 {
        self.inode.end - self.inode.start + self.tail_bytes
    }
}

/// The files of an image that can be moved, with the root's first.
pub(super) fn movable(image: &[u8]) -> Result<Vec<Placed>, PlaceError> {
    let files = placed(image)?;
    let word = |at: u64| number(image, SUPERBLOCK + at, 4);
    let reason = match files.iter().any(|file| file.is_chunked) {
        _ if image.get(SUPERBLOCK as usize + 12) != Some(&12) => "its blocks are not of 4096 bytes",
        _ if image.get(SUPERBLOCK as usize + 13) != Some(&0) || word(80) != 0 => "its superblock has extensions",
        _ if word(40) != 0 => "its inodes do not begin in the first block",
        // What is behind that number is not in the list of files.
        _ if word(44) != 0 => "files share attributes",
        true => "a file is kept in chunks",
        false => return Ok(files),
    };
    Err(PlaceError::Unmovable(reason))
}

/// How many blocks the files of `image` may spread over.
pub(super) fn limit_blocks(image: &[u8]) -> u64 {
    let blocks = (image.len() as u64).div_ceil(BLOCK_BYTES);
    blocks + (blocks / 8).max(LEAST_HOLES)
}

fn number(image: &[u8], at: u64, length: usize) -> u64 {
    let bytes = image.get(at as usize..at as usize + length).unwrap_or_default();
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// `image` with its files where `layout` wants them.
pub fn place(image: &[u8], layout: &Layout) -> Result<Vec<u8>, PlaceError> {
    let files = movable(image)?;
    let mut space = Space::new(limit_blocks(image));
    let mut moves = Vec::with_capacity(files.len());
    for file in &files {
        let key = file.key();
        let to = *layout.places.get(&key).ok_or_else(|| PlaceError::Missing(key.clone()))?;
        if !space.take_inode(to.number, file.inode_bytes()) {
            return Err(PlaceError::Taken { path: key, what: "the inode" });
        }
        let blocks = file.blocks();
        let fits = match to.block {
            Some(block) => !blocks.is_empty() && space.take_blocks(block.into(), blocks.end - blocks.start),
            None => blocks.is_empty(),
        };
        if !fits {
            return Err(PlaceError::Taken { path: key, what: "the bytes" });
        }
        moves.push((file, to));
    }
    if moves.len() != layout.places.len() {
        let has = |path: &&String| files.binary_search_by(|file| file.key().cmp(path)).is_err();
        let extra = layout.places.keys().find(has).cloned().unwrap_or_default();
        return Err(PlaceError::Extra(extra));
    }
    write(image, &moves, space.blocks())
}

fn write(image: &[u8], moves: &[(&Placed, Place)], blocks: u64) -> Result<Vec<u8>, PlaceError> {
    let mut target = vec![0; (blocks * BLOCK_BYTES) as usize];
    let numbers: BTreeMap<u64, u64> =
        moves.iter().map(|(file, to)| (file.inode.start / SLOT_BYTES, to.number)).collect();
    copy(image, &mut target, 0..SUPERBLOCK + SUPERBLOCK_BYTES, 0);
    for (file, to) in moves {
        let start = to.number * SLOT_BYTES;
        copy(image, &mut target, file.inode.start..file.inode.end + file.tail_bytes, start);
        put(&mut target, start + 20, &to.serial.to_le_bytes());
        let blocks = file.blocks();
        if let Some(block) = to.block {
            copy(
                image,
                &mut target,
                blocks.start * BLOCK_BYTES..blocks.end * BLOCK_BYTES,
                u64::from(block) * BLOCK_BYTES,
            );
            put(&mut target, start + 16, &block.to_le_bytes());
        }
        let tail = file.inode.end..file.inode.end + file.tail_bytes;
        for link in &file.links {
            let at = match tail.contains(&link.at) {
                true => link.at - file.inode.start + start,
                false => link.at - blocks.start * BLOCK_BYTES + u64::from(to.block.unwrap_or(0)) * BLOCK_BYTES,
            };
            let damaged = ErofsError::Damaged("a folder has an entry of another folder's parent");
            put(&mut target, at, &numbers.get(&link.number).ok_or(damaged)?.to_le_bytes());
        }
    }
    superblock(image, &mut target, &numbers, blocks)?;
    Ok(target)
}

fn superblock(image: &[u8], target: &mut [u8], numbers: &BTreeMap<u64, u64>, blocks: u64) -> Result<(), PlaceError> {
    let root = numbers.get(&number(image, SUPERBLOCK + 14, 2)).copied();
    let root = root.and_then(|root| u16::try_from(root).ok());
    let root = root.ok_or_else(|| PlaceError::Taken { path: "/".into(), what: "the inode" })?;
    put(target, SUPERBLOCK + 14, &root.to_le_bytes());
    // The space has no more blocks than its limit.
    put(target, SUPERBLOCK + 36, &(blocks as u32).to_le_bytes());
    if number(image, SUPERBLOCK + 8, 4) as u32 & HAS_CHECKSUM != 0 {
        put(target, SUPERBLOCK + 4, &[0; 4]);
        let checksum = crc32c(&target[SUPERBLOCK as usize..BLOCK_BYTES as usize]);
        put(target, SUPERBLOCK + 4, &checksum.to_le_bytes());
    }
    Ok(())
}

fn copy(image: &[u8], target: &mut [u8], range: Range<u64>, to: u64) {
    // The last block of an image may be cut off; its rest is zero.
    let range = range.start as usize..(range.end as usize).min(image.len());
    let to = to as usize;
    target[to..to + range.len()].copy_from_slice(&image[range]);
}

fn put(target: &mut [u8], at: u64, bytes: &[u8]) {
    let at = at as usize;
    target[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Castagnoli's, begun with all ones and not inverted at the end, as the superblock has it.
fn crc32c(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

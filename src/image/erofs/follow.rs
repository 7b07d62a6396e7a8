//! The root of a release and that of the release before it in; a layout in which what both have stays where it was, out.
//!
//! A delta then need not change the numbers by which inodes, folders and blocks know each other. New files fill holes.
//! Invariant: equal images give equal layouts; each can be placed.

use super::layout::{Layout, Place};
use super::place::{limit_blocks, movable, PlaceError};
use super::read::Placed;
use super::space::Space;
use super::SLOT_BYTES;
use std::collections::BTreeMap;

/// What a file had before, and has now.
struct Pair<'a> {
    file: &'a Placed,
    before: Option<&'a Placed>,
    number: Option<u64>,
    block: Option<u64>,
}

impl Pair<'_> {
    fn blocks(&self) -> u64 {
        self.file.blocks().end - self.file.blocks().start
    }

    /// Whether it needs no more room than before.
    fn has_grown(&self, before: &Placed) -> (bool, bool) {
        let blocks = before.blocks();
        (self.file.inode_bytes() > before.inode_bytes(), self.blocks() > blocks.end - blocks.start)
    }

    /// Takes the old places, of what has grown or of what has not: the former may want what belongs to the latter.
    fn stay(&mut self, space: &mut Space, grown: bool) {
        let Some(before) = self.before else { return };
        let (inode_grew, blocks_grew) = self.has_grown(before);
        let number = before.inode.start / SLOT_BYTES;
        if inode_grew == grown && space.take_inode(number, self.file.inode_bytes()) {
            self.number = Some(number);
        }
        let block = before.blocks().start;
        if blocks_grew == grown && block > 0 && self.blocks() > 0 && space.take_blocks(block, self.blocks()) {
            self.block = Some(block);
        }
    }
}

/// Where the files of `image` lie when what `previous` has too stays there.
pub fn follow(image: &[u8], previous: &[u8]) -> Result<Layout, PlaceError> {
    let (files, before) = (movable(image)?, movable(previous)?);
    let before: BTreeMap<&str, &Placed> = before.iter().map(|file| (&file.path[..], file)).collect();
    let mut pairs: Vec<Pair> = files
        .iter()
        .map(|file| Pair { file, before: before.get(&file.path[..]).copied(), number: None, block: None })
        .collect();
    let mut space = Space::new(limit_blocks(image));
    for grown in [false, true] {
        pairs.iter_mut().for_each(|pair| pair.stay(&mut space, grown));
    }
    let mut serial = before.values().map(|file| file.serial).max().unwrap_or(0);
    let mut layout = Layout::default();
    for mut pair in pairs {
        let full = || PlaceError::Full(pair.file.key());
        let number = match pair.number {
            Some(number) => number,
            None => space.find_inode(pair.file.inode_bytes()).ok_or_else(full)?,
        };
        if pair.block.is_none() && pair.blocks() > 0 {
            pair.block = Some(space.find_blocks(pair.blocks()).ok_or_else(full)?);
        }
        let block = pair.block.map(u32::try_from).transpose().map_err(|_| full())?;
        let serial = match pair.before {
            Some(before) => before.serial,
            None => {
                serial = serial.wrapping_add(1);
                serial
            }
        };
        layout.places.insert(pair.file.key(), Place { number, serial, block });
    }
    Ok(layout)
}

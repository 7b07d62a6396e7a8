//! Which parts of an image are taken, in; room for the next inode or file out.
//!
//! Invariant: nothing is given away twice; an inode with what follows it lies in one block, as the kernel's reader wants it.

use super::{BLOCK_BYTES, SLOT_BYTES, SUPERBLOCK, SUPERBLOCK_BYTES};

const SLOTS: u64 = BLOCK_BYTES / SLOT_BYTES;
const BOOT_SLOTS: u32 = ((SUPERBLOCK + SUPERBLOCK_BYTES) / SLOT_BYTES) as u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Free,
    Data,
    /// A bit for each slot that is taken.
    Inodes(u128),
}

/// Blocks are added behind the end as they are needed.
#[derive(Debug)]
pub(super) struct Space {
    blocks: Vec<Block>,
    limit_blocks: u64,
}

impl Space {
    /// With the superblock only.
    pub fn new(limit_blocks: u64) -> Space {
        Space { blocks: vec![Block::Inodes((1 << BOOT_SLOTS) - 1)], limit_blocks }
    }

    /// Up to the last that is taken.
    pub fn blocks(&self) -> u64 {
        let last = self.blocks.iter().rposition(|block| *block != Block::Free);
        last.map_or(0, |last| last as u64 + 1)
    }

    fn block(&self, index: u64) -> Block {
        usize::try_from(index).ok().and_then(|index| self.blocks.get(index)).copied().unwrap_or(Block::Free)
    }

    fn set(&mut self, index: u64, block: Block) {
        // Callers have compared it with the limit.
        let index = index as usize;
        if self.blocks.len() <= index {
            self.blocks.resize(index + 1, Block::Free);
        }
        self.blocks[index] = block;
    }

    /// Takes the blocks, unless one of them is taken or behind the limit.
    pub fn take_blocks(&mut self, start: u64, count: u64) -> bool {
        let Some(end) = start.checked_add(count).filter(|end| *end <= self.limit_blocks) else { return false };
        if (start..end).any(|index| self.block(index) != Block::Free) {
            return false;
        }
        (start..end).for_each(|index| self.set(index, Block::Data));
        true
    }

    /// Takes room for an inode of that number and what follows it, unless it is taken or not all in one block.
    pub fn take_inode(&mut self, number: u64, bytes: u64) -> bool {
        let (index, first, count) = (number / SLOTS, number % SLOTS, bytes.div_ceil(SLOT_BYTES));
        if index >= self.limit_blocks || count == 0 || first + count > SLOTS {
            return false;
        }
        let wanted = (u128::MAX >> (SLOTS - count)) << first;
        match self.block(index) {
            Block::Free => self.set(index, Block::Inodes(wanted)),
            Block::Inodes(taken) if taken & wanted == 0 => self.set(index, Block::Inodes(taken | wanted)),
            Block::Inodes(_) | Block::Data => return false,
        }
        true
    }

    /// The first blocks that are free, and taken from now on.
    pub fn find_blocks(&mut self, count: u64) -> Option<u64> {
        let mut start = 0;
        for index in 0..self.blocks.len() as u64 {
            match self.block(index) {
                Block::Free if index + 1 - start >= count => break,
                Block::Free => {}
                Block::Data | Block::Inodes(_) => start = index + 1,
            }
        }
        self.take_blocks(start, count).then_some(start)
    }

    /// The first room for an inode among others, or else in a block of its own.
    pub fn find_inode(&mut self, bytes: u64) -> Option<u64> {
        let count = bytes.div_ceil(SLOT_BYTES);
        if count == 0 || count > SLOTS {
            return None;
        }
        let wanted = u128::MAX >> (SLOTS - count);
        let room = |(index, block): (usize, &Block)| match block {
            Block::Inodes(taken) => {
                let first = (0..=SLOTS - count).find(|first| taken & (wanted << first) == 0)?;
                Some(index as u64 * SLOTS + first)
            }
            Block::Free | Block::Data => None,
        };
        let number = self.blocks.iter().enumerate().find_map(room).or_else(|| {
            let free = self.blocks.iter().position(|block| *block == Block::Free).unwrap_or(self.blocks.len());
            Some(free as u64 * SLOTS)
        })?;
        self.take_inode(number, bytes).then_some(number)
    }
}

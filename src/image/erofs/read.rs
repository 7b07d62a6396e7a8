//! An EROFS without compression in, the place of every inode and of every file's bytes out.
//!
//! Source: Linux 6.12, `Documentation/filesystems/erofs.rst` and `fs/erofs/erofs_fs.h`. Invariant: no bytes make it
//! panic, go around in circles, or use more memory than its limits.

use super::{ErofsError, SLOT_BYTES, SUPERBLOCK};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

const MAGIC: u32 = 0xe0f5_e1e2;
/// `INCOMPAT_CHUNKED_FILE` and `INCOMPAT_XATTR_PREFIXES`: what changes nothing here, or what is read.
const KNOWN_INCOMPATIBLE: u32 = 0x04 | 0x40;
/// How an inode says where its file's bytes are: `EROFS_INODE_FLAT_PLAIN` and so on.
const FLAT: u64 = 0;
const INLINE: u64 = 2;
const CHUNKS: u64 = 4;
const ENTRY_BYTES: usize = 12;
const LIMIT_INODES: usize = 1 << 21;
const LIMIT_EXTENTS: usize = 1 << 22;
/// Of all names in all folders.
const LIMIT_PATH_BYTES: usize = 256 << 20;
const LIMIT_PATH: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlacedKind {
    File,
    Folder,
    /// A symbolic link, or a node of a device: all of it is in its inode, as a rule.
    Other,
}

/// An inode, under the first of its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Without a slash at its start; that of the root is empty. Bytes that are no UTF-8 are replaced.
    pub path: String,
    pub kind: PlacedKind,
    /// With its attributes, without the end of the file that may follow it.
    pub inode: Range<u64>,
    /// In the order of the file's bytes. Holes are left out.
    pub extents: Vec<Range<u64>>,
    /// Of the last extent, when it follows the inode.
    pub tail_bytes: u64,
    pub size_bytes: u64,
    /// What programs see as the number of the inode.
    pub serial: u32,
    /// A folder's entries, with `.` and `..`.
    pub links: Vec<Link>,
    /// Whether its bytes are kept in chunks of their own places.
    pub is_chunked: bool,
}

/// An entry of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where the number stands, eight bytes.
    pub at: u64,
    /// Of the inode.
    pub number: u64,
}

struct Erofs<'a> {
    image: &'a [u8],
    block_bits: u32,
    /// Byte that number 0 of an inode stands for.
    inodes: u64,
    extents: usize,
}

/// Every inode that the root leads to, in the order of the paths.
pub fn placed(image: &[u8]) -> Result<Vec<Placed>, ErofsError> {
    let (mut erofs, root) = Erofs::open(image)?;
    let mut found = BTreeMap::new();
    let mut seen = BTreeSet::from([root]);
    let mut path_bytes = 0;
    let mut folders = vec![(String::new(), erofs.inode(root, String::new())?)];
    while let Some((path, folder)) = folders.pop() {
        let mut folder = folder;
        let entries = erofs.entries(&folder)?;
        folder.links = entries.iter().map(|(_, link)| *link).collect();
        for (name, Link { number, .. }) in entries {
            if matches!(&name[..], "." | "..") {
                continue;
            }
            // Hard links, too: an inode has one place.
            if !seen.insert(number) {
                continue;
            }
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            path_bytes += path.len();
            if seen.len() > LIMIT_INODES || path.len() > LIMIT_PATH || path_bytes > LIMIT_PATH_BYTES {
                return Err(ErofsError::Limit("2,097,152 inodes, or 256 MiB of paths"));
            }
            let inode = erofs.inode(number, path.clone())?;
            if inode.kind == PlacedKind::Folder {
                folders.push((path, inode));
            } else {
                found.insert(path, inode);
            }
        }
        found.insert(path, folder);
    }
    Ok(found.into_values().collect())
}

impl<'a> Erofs<'a> {
    /// And the number of the root's inode.
    fn open(image: &'a [u8]) -> Result<(Self, u64), ErofsError> {
        let mut erofs = Erofs { image, block_bits: 12, inodes: 0, extents: 0 };
        let at = SUPERBLOCK;
        if erofs.number(at, 4)? != u64::from(MAGIC) {
            return Err(ErofsError::Unknown("it has no superblock"));
        }
        if erofs.number(at + 80, 4)? & !u64::from(KNOWN_INCOMPATIBLE) != 0 {
            return Err(ErofsError::Unknown("it is compressed, or of a newer kind"));
        }
        erofs.block_bits = erofs.number(at + 12, 1)? as u32;
        if !(9..=16).contains(&erofs.block_bits) {
            return Err(ErofsError::Damaged("its blocks have no valid size"));
        }
        erofs.inodes = erofs.number(at + 40, 4)? << erofs.block_bits;
        let root = erofs.number(at + 14, 2)?;
        Ok((erofs, root))
    }

    fn number(&self, at: u64, length: u64) -> Result<u64, ErofsError> {
        let bytes = self.bytes(at..at.saturating_add(length))?;
        Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn bytes(&self, range: Range<u64>) -> Result<&'a [u8], ErofsError> {
        let out = || ErofsError::Damaged("something lies behind its end");
        let range = usize::try_from(range.start).map_err(|_| out())?..usize::try_from(range.end).map_err(|_| out())?;
        self.image.get(range).ok_or_else(out)
    }

    fn inode(&mut self, number: u64, path: String) -> Result<Placed, ErofsError> {
        let place = number.checked_mul(SLOT_BYTES).and_then(|at| at.checked_add(self.inodes));
        let start = place.ok_or(ErofsError::Damaged("an inode has no valid number"))?;
        let format = self.number(start, 2)?;
        let (inode_bytes, size_bytes) = match format & 1 {
            0 => (32, self.number(start + 8, 4)?),
            _ => (64, self.number(start + 8, 8)?),
        };
        // The header of the attributes has 12 bytes, each unit 4; the count is one more than the units.
        let attribute_bytes = match self.number(start + 2, 2)? {
            0 => 0,
            count => 12 + (count - 1) * 4,
        };
        let end = start + inode_bytes + attribute_bytes;
        self.bytes(start..end)?;
        let kind = match self.number(start + 4, 2)? & 0o170000 {
            0o100000 => PlacedKind::File,
            0o040000 => PlacedKind::Folder,
            _ => PlacedKind::Other,
        };
        let mode = self.number(start + 4, 2)? & 0o170000;
        let has_content = kind != PlacedKind::Other || mode == 0o120000;
        let layout = if has_content { format >> 1 & 7 } else { FLAT };
        let extents = match has_content {
            true => self.extents(layout, self.number(start + 16, 4)?, end, size_bytes)?,
            false => Vec::new(),
        };
        let tail_bytes = if layout == INLINE { size_bytes & ((1 << self.block_bits) - 1) } else { 0 };
        let serial = self.number(start + 20, 4)? as u32;
        let is_chunked = layout == CHUNKS;
        Ok(Placed {
            path,
            kind,
            inode: start..end,
            extents,
            tail_bytes,
            size_bytes,
            serial,
            links: Vec::new(),
            is_chunked,
        })
    }

    /// `word` is the first block, or how the chunks are kept; `end` is where the inode ends.
    fn extents(&mut self, layout: u64, word: u64, end: u64, size: u64) -> Result<Vec<Range<u64>>, ErofsError> {
        if size > self.image.len() as u64 && layout != CHUNKS {
            return Err(ErofsError::Damaged("a file is larger than the file system"));
        }
        let start = word << self.block_bits;
        let tail = match layout {
            FLAT => 0,
            INLINE => size & ((1 << self.block_bits) - 1),
            CHUNKS => return self.chunks(word, end, size),
            _ => return Err(ErofsError::Unknown("a file is compressed")),
        };
        let extents = [start..start + (size - tail), end..end + tail];
        let extents: Vec<_> = extents.into_iter().filter(|extent| !extent.is_empty()).collect();
        for extent in &extents {
            self.bytes(extent.clone())?;
        }
        self.count(extents.len())?;
        Ok(extents)
    }

    fn chunks(&mut self, word: u64, end: u64, size: u64) -> Result<Vec<Range<u64>>, ErofsError> {
        const HOLE: u64 = 0xffff_ffff;
        let has_indexes = word & 0x20 != 0;
        let chunk_bits = self.block_bits + (word & 0x1f) as u32;
        // An index has the block behind flags and the number of a device.
        let (unit, skip) = if has_indexes { (8, 4) } else { (4, 0) };
        let table = end.next_multiple_of(unit);
        let count = size.div_ceil(1 << chunk_bits);
        // A table that is not in the image would ask for memory before it is found out.
        let table_end = count.checked_mul(unit).and_then(|bytes| bytes.checked_add(table));
        self.bytes(table..table_end.ok_or(ErofsError::Damaged("a file has no valid size"))?)?;
        let mut extents: Vec<Range<u64>> = Vec::new();
        for index in 0..count {
            let block = self.number(table + index * unit + skip, 4)?;
            if block == HOLE {
                continue;
            }
            let (start, done) = (block << self.block_bits, index << chunk_bits);
            let extent = start..start + (size - done).min(1 << chunk_bits);
            self.bytes(extent.clone())?;
            match extents.last_mut() {
                Some(last) if last.end == extent.start => last.end = extent.end,
                _ => {
                    self.count(1)?;
                    extents.push(extent);
                }
            }
        }
        Ok(extents)
    }

    fn count(&mut self, more: usize) -> Result<(), ErofsError> {
        self.extents += more;
        if self.extents > LIMIT_EXTENTS {
            return Err(ErofsError::Limit("4,194,304 pieces of files"));
        }
        Ok(())
    }

    /// With `.` and `..`.
    fn entries(&self, folder: &Placed) -> Result<Vec<(String, Link)>, ErofsError> {
        let damaged = || ErofsError::Damaged("a folder's entries are not where they should be");
        let block_bytes = 1usize << self.block_bits;
        let mut entries = Vec::new();
        for extent in &folder.extents {
            for (index, block) in self.bytes(extent.clone())?.chunks(block_bytes).enumerate() {
                let block_at = extent.start + (index * block_bytes) as u64;
                let field = |at: usize, length: usize| {
                    let bytes = block.get(at..at + length).ok_or_else(damaged)?;
                    Ok::<_, ErofsError>(bytes.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte)))
                };
                let names = field(8, 2)? as usize;
                if !names.is_multiple_of(ENTRY_BYTES) || names == 0 {
                    return Err(damaged());
                }
                for at in (0..names).step_by(ENTRY_BYTES) {
                    let start = field(at + 8, 2)? as usize;
                    let end = match at + ENTRY_BYTES < names {
                        true => field(at + ENTRY_BYTES + 8, 2)? as usize,
                        false => block.len(),
                    };
                    let name = block.get(start..end).ok_or_else(damaged)?;
                    // Behind the last name of a block there may be zeros.
                    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                    if !name.is_empty() {
                        let link = Link { at: block_at + at as u64, number: field(at, 8)? };
                        entries.push((String::from_utf8_lossy(name).into_owned(), link));
                    }
                }
                if entries.len() > LIMIT_INODES {
                    return Err(ErofsError::Limit("2,097,152 entries in a folder"));
                }
            }
        }
        Ok(entries)
    }
}

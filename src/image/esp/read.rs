//! The bytes of a FAT16 or FAT32 file system from outside and a path in, the file's content or its place out.
//!
//! Source: Microsoft's "FAT: General Overview of On-Disk Format", version 1.03. Only what `write` makes is read:
//! sectors of 512 bytes, short names. Invariant: no bytes make it panic, go around in circles, or use more memory
//! than its limits.

use super::{EspError, ENTRY_BYTES, IS_FOLDER, SECTOR_BYTES};
use std::ops::Range;

/// 2,048 entries; ours have five at most.
const LIMIT_FOLDER_BYTES: usize = 64 << 10;
/// Section "FAT Type Determination": by the number of clusters and by nothing else.
const FAT16_CLUSTERS: usize = 4085;
const FAT32_CLUSTERS: usize = 65525;
/// A volume label or a part of a long name.
const IS_LABEL: u8 = 0x08;

/// Where a chain of clusters starts, or the fixed root folder of FAT16.
#[derive(Clone, Copy)]
enum Start {
    Root,
    Cluster(usize),
}

struct Entry {
    is_folder: bool,
    first_cluster: usize,
    size_bytes: usize,
}

struct Fat<'a> {
    /// The first of the tables.
    table: &'a [u8],
    is_fat32: bool,
    /// FAT16 only.
    root_folder: &'a [u8],
    root_cluster: usize,
    /// The clusters, of which the first has number 2.
    data: &'a [u8],
    /// Where they start in the file system.
    data_start: usize,
    cluster_bytes: usize,
}

/// The content of `path` (`EFI/BOOT/X.EFI`, upper case) in the file system `image`.
pub fn read(image: &[u8], path: &str, limit_bytes: u64) -> Result<Vec<u8>, EspError> {
    let fat = Fat::parse(image)?;
    let entry = fat.resolve(path)?;
    if entry.size_bytes as u64 > limit_bytes {
        return Err(EspError::TooLarge { path: path.to_owned(), limit_bytes });
    }
    let content = fat.chain(entry.first_cluster, entry.size_bytes)?;
    match content.len() == entry.size_bytes {
        true => Ok(content),
        false => Err(EspError::Damaged("a file ends before its size")),
    }
}

/// Where the content of `path` lies in `image`, in the order of its bytes.
pub fn locate(image: &[u8], path: &str) -> Result<Vec<Range<usize>>, EspError> {
    let fat = Fat::parse(image)?;
    let entry = fat.resolve(path)?;
    fat.places(entry.first_cluster, entry.size_bytes)
}

pub(super) fn number(bytes: &[u8], at: usize, length: usize) -> usize {
    bytes[at..at + length].iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte))
}

impl<'a> Fat<'a> {
    fn parse(image: &'a [u8]) -> Result<Self, EspError> {
        let boot = image.get(..SECTOR_BYTES).ok_or(EspError::Damaged("it has no boot sector"))?;
        let (per_cluster, tables) = (number(boot, 13, 1), number(boot, 16, 1));
        if boot[510..] != [0x55, 0xaa] || number(boot, 11, 2) != SECTOR_BYTES || tables == 0 {
            return Err(EspError::Damaged("its boot sector is not that of a FAT file system"));
        }
        if !per_cluster.is_power_of_two() {
            return Err(EspError::Damaged("its clusters have no valid size"));
        }
        let either = |short: usize, long: usize| if short != 0 { short } else { long };
        let total = either(number(boot, 19, 2), number(boot, 32, 4));
        let table_sectors = either(number(boot, 22, 2), number(boot, 36, 4));
        let table_start = number(boot, 14, 2);
        let root_start = table_start + tables * table_sectors;
        let data_start = root_start + (number(boot, 17, 2) * ENTRY_BYTES).div_ceil(SECTOR_BYTES);
        let sectors = |from: usize, to: usize| {
            let range = from * SECTOR_BYTES..to * SECTOR_BYTES;
            image.get(range).ok_or(EspError::Damaged("it is larger than its partition"))
        };
        let data = sectors(data_start, total)?;
        let cluster_bytes = per_cluster * SECTOR_BYTES;
        let clusters = data.len() / cluster_bytes;
        if clusters < FAT16_CLUSTERS {
            return Err(EspError::Damaged("it is neither FAT16 nor FAT32"));
        }
        Ok(Fat {
            table: sectors(table_start, table_start + table_sectors)?,
            is_fat32: clusters >= FAT32_CLUSTERS,
            root_folder: sectors(root_start, data_start)?,
            root_cluster: number(boot, 44, 4),
            data: &data[..clusters * cluster_bytes],
            data_start: data_start * SECTOR_BYTES,
            cluster_bytes,
        })
    }

    /// The cluster that follows; none at the end of a chain.
    fn next(&self, cluster: usize) -> Result<Option<usize>, EspError> {
        let width = if self.is_fat32 { 4 } else { 2 };
        let at = cluster * width;
        if at + width > self.table.len() {
            return Err(EspError::Damaged("a chain of clusters leads out of the table"));
        }
        // The upper four bits of FAT32 are reserved.
        let (value, end) = match self.is_fat32 {
            true => (number(self.table, at, 4) & 0x0fff_ffff, 0x0fff_fff8),
            false => (number(self.table, at, 2), 0xfff8),
        };
        Ok((value < end).then_some(value))
    }

    /// At most `limit_bytes` of the clusters from `first` on; as each adds bytes, a circle ends too.
    fn chain(&self, first: usize, limit_bytes: usize) -> Result<Vec<u8>, EspError> {
        // A circle must not make more of a file than the partition has.
        if limit_bytes > self.data.len() {
            return Err(EspError::Damaged("a file is larger than the file system"));
        }
        let mut content = Vec::with_capacity(limit_bytes);
        let mut cluster = first;
        while content.len() < limit_bytes {
            let start = cluster.checked_sub(2).and_then(|index| index.checked_mul(self.cluster_bytes));
            let bytes = start.and_then(|start| self.data.get(start..start + self.cluster_bytes));
            let bytes = bytes.ok_or(EspError::Damaged("a chain of clusters leads out of the file system"))?;
            content.extend(&bytes[..bytes.len().min(limit_bytes - content.len())]);
            match self.next(cluster)? {
                Some(next) => cluster = next,
                None => break,
            }
        }
        Ok(content)
    }

    /// The ranges of the file system that the `size_bytes` of a file from cluster `first` on take.
    fn places(&self, first: usize, size_bytes: usize) -> Result<Vec<Range<usize>>, EspError> {
        if size_bytes > self.data.len() {
            return Err(EspError::Damaged("a file is larger than the file system"));
        }
        let mut places: Vec<Range<usize>> = Vec::new();
        let (mut left, mut cluster) = (size_bytes, Some(first));
        while left > 0 {
            let number = cluster.ok_or(EspError::Damaged("a file ends before its size"))?;
            let start = number.checked_sub(2).and_then(|index| index.checked_mul(self.cluster_bytes));
            let start = start.filter(|start| start + self.cluster_bytes <= self.data.len());
            let start = start.ok_or(EspError::Damaged("a chain of clusters leads out of the file system"))?;
            let length = left.min(self.cluster_bytes);
            let place = self.data_start + start..self.data_start + start + length;
            match places.last_mut() {
                Some(last) if last.end == place.start => last.end = place.end,
                _ => places.push(place),
            }
            left -= length;
            cluster = self.next(number)?;
        }
        Ok(places)
    }

    /// The entry of the file `path`.
    fn resolve(&self, path: &str) -> Result<Entry, EspError> {
        let mut folder = if self.is_fat32 { Start::Cluster(self.root_cluster) } else { Start::Root };
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        let absent = || EspError::Absent(path.to_owned());
        for parent in parents.split('/').filter(|part| !part.is_empty()) {
            let entry = self.find(folder, parent)?.filter(|entry| entry.is_folder).ok_or_else(absent)?;
            folder = Start::Cluster(entry.first_cluster);
        }
        self.find(folder, name)?.filter(|entry| !entry.is_folder).ok_or_else(absent)
    }

    fn find(&self, folder: Start, name: &str) -> Result<Option<Entry>, EspError> {
        let Some(name) = short_name(name) else { return Ok(None) };
        let of_chain;
        let bytes = match folder {
            Start::Root => self.root_folder,
            Start::Cluster(first) => {
                of_chain = self.chain(first, LIMIT_FOLDER_BYTES.min(self.data.len()))?;
                &of_chain[..]
            }
        };
        let entries = bytes.chunks_exact(ENTRY_BYTES).take_while(|entry| entry[0] != 0);
        let found = entries.into_iter().find(|entry| entry[..11] == name && entry[11] & IS_LABEL == 0);
        Ok(found.map(|entry| Entry {
            is_folder: entry[11] & IS_FOLDER != 0,
            first_cluster: number(entry, 20, 2) << 16 | number(entry, 26, 2),
            size_bytes: number(entry, 28, 4),
        }))
    }
}

/// `BOOTX64.EFI` as `BOOTX64 EFI`; none for a name that would need a long one.
pub(super) fn short_name(name: &str) -> Option<[u8; 11]> {
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    if stem.is_empty() || stem.len() > 8 || extension.len() > 3 || !plain(stem) || !plain(extension) {
        return None;
    }
    let mut short = [b' '; 11];
    short[..stem.len()].copy_from_slice(stem.as_bytes());
    short[8..8 + extension.len()].copy_from_slice(extension.as_bytes());
    Some(short)
}

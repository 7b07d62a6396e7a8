//! Bytes changed on purpose in a copy of a disk, to see that the board refuses them.
//!
//! Invariant: exactly one bit of the copy changes; the original is only read.

use super::varstore::Guid;
use super::BoardError;
use crate::io::file::{self, at};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

const SECTOR_BYTES: u64 = 512;

/// Copies `image` to `copy` and flips one bit in the middle of the file at `path` (`EFI/BOOT/BOOTX64.EFI`)
/// on the FAT partition called `partition`.
pub fn flip_bit_in_file(image: &Path, copy: &Path, partition: &str, path: &str) -> Result<(), BoardError> {
    let part = copy_and_find(image, copy, partition)?;
    let damage = |e: std::io::Error| BoardError::Damage(format!("`{path}` on `{partition}`: {e}"));
    let system = fatfs::FileSystem::new(part, fatfs::FsOptions::new()).map_err(damage)?;
    let root = system.root_dir();
    let mut file = root.open_file(path).map_err(damage)?;
    let length = file.seek(SeekFrom::End(0)).map_err(damage)?;
    flip(&mut file, length / 2).map_err(damage)
}

/// Copies `image` to `copy` and flips one bit at `offset` bytes into the partition called `partition`.
pub fn flip_bit_in_partition(image: &Path, copy: &Path, partition: &str, offset: u64) -> Result<(), BoardError> {
    let mut part = copy_and_find(image, copy, partition)?;
    let damage = |e: std::io::Error| BoardError::Damage(format!("`{partition}`: {e}"));
    flip(&mut part, offset).map_err(damage)
}

fn flip(at: &mut (impl Read + Write + Seek), offset: u64) -> std::io::Result<()> {
    let mut byte = [0];
    at.seek(SeekFrom::Start(offset))?;
    at.read_exact(&mut byte)?;
    byte[0] ^= 1;
    at.seek(SeekFrom::Start(offset))?;
    at.write_all(&byte)?;
    at.flush()
}

fn copy_and_find(image: &Path, copy: &Path, partition: &str) -> Result<Part, BoardError> {
    std::fs::copy(image, copy).map_err(at("copy", image))?;
    let mut options = std::fs::OpenOptions::new();
    let disk = options.read(true).write(true).open(copy).map_err(at("open", copy))?;
    // The header block and the 128 entries behind it.
    let table = file::read_start(copy, 34 * SECTOR_BYTES)?;
    let missing = || BoardError::Damage(format!("`{}` has no partition `{partition}`", image.display()));
    let (start, length) = find(&table, partition).ok_or_else(missing)?;
    Ok(Part { disk, start, length, position: 0 })
}

/// Start and length in bytes of the GPT partition of that name. UEFI 2.10 section 5.3.
fn find(table: &[u8], name: &str) -> Option<(u64, u64)> {
    const ENTRIES: usize = 1024;
    const ENTRY: usize = 128;
    let number = |entry: &[u8], at: usize| Some(u64::from_le_bytes(entry.get(at..at + 8)?.try_into().ok()?));
    for entry in table.get(ENTRIES..)?.chunks_exact(ENTRY) {
        let units = entry[56..].chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
        let label: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
        let used = entry[..16] != Guid([0; 16]).0;
        if used && String::from_utf16(&label).is_ok_and(|label| label == name) {
            let (first, last) = (number(entry, 32)?, number(entry, 40)?);
            let sectors = last.checked_sub(first)?.checked_add(1)?;
            return Some((first.checked_mul(SECTOR_BYTES)?, sectors.checked_mul(SECTOR_BYTES)?));
        }
    }
    None
}

/// A partition of the disk as a file of its own.
struct Part {
    disk: File,
    start: u64,
    length: u64,
    position: u64,
}

impl Part {
    fn bounded(&mut self, wanted: usize) -> std::io::Result<usize> {
        self.disk.seek(SeekFrom::Start(self.start + self.position))?;
        Ok(wanted.min(usize::try_from(self.length - self.position).unwrap_or(usize::MAX)))
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.bounded(buffer.len())?;
        let count = self.disk.read(&mut buffer[..count])?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.bounded(bytes.len())?;
        let count = self.disk.write(&bytes[..count])?;
        self.position += count as u64;
        Ok(count)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.disk.flush()
    }
}

impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let outside = || std::io::Error::new(std::io::ErrorKind::InvalidInput, "a place outside the partition");
        self.position = position.filter(|p| *p <= self.length).ok_or_else(outside)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk whose one partition, `esp-a`, starts at 1 MiB and holds a FAT with one file.
    fn disk(path: &Path) {
        const START: u64 = 1 << 20;
        const LENGTH: u64 = 4 << 20;
        let mut options = std::fs::OpenOptions::new();
        let mut disk = options.create(true).truncate(true).read(true).write(true).open(path).unwrap();
        disk.set_len(START + LENGTH).unwrap();
        let mut entry = [0; 128];
        entry[0] = 1;
        entry[32..40].copy_from_slice(&(START / SECTOR_BYTES).to_le_bytes());
        entry[40..48].copy_from_slice(&((START + LENGTH) / SECTOR_BYTES - 1).to_le_bytes());
        for (index, unit) in "esp-a".encode_utf16().enumerate() {
            entry[56 + 2 * index..58 + 2 * index].copy_from_slice(&unit.to_le_bytes());
        }
        disk.seek(SeekFrom::Start(1024)).unwrap();
        disk.write_all(&entry).unwrap();
        let mut part = Part { disk, start: START, length: LENGTH, position: 0 };
        fatfs::format_volume(&mut part, fatfs::FormatVolumeOptions::new()).unwrap();
        let system = fatfs::FileSystem::new(part, fatfs::FsOptions::new()).unwrap();
        let folder = system.root_dir().create_dir("EFI").unwrap().create_dir("BOOT").unwrap();
        folder.create_file("BOOTX64.EFI").unwrap().write_all(&[0x55; 10_000]).unwrap();
    }

    #[test]
    fn one_bit_of_the_copy_differs() {
        let folder = tempfile::tempdir().unwrap();
        let [image, copy] = ["disk.img", "copy.img"].map(|name| folder.path().join(name));
        disk(&image);
        flip_bit_in_partition(&image, &copy, "esp-a", 5000).unwrap();
        let [before, after] = [&image, &copy].map(|p| file::read(p, 8 << 20).unwrap());
        let differing: Vec<usize> = (0..before.len()).filter(|i| before[*i] != after[*i]).collect();
        assert_eq!(differing, [(1 << 20) + 5000]);

        flip_bit_in_file(&image, &copy, "esp-a", "EFI/BOOT/BOOTX64.EFI").unwrap();
        let after = file::read(&copy, 8 << 20).unwrap();
        let changed = (0..before.len()).filter(|i| before[*i] == 0x55 && after[*i] == 0x54).count();
        assert_eq!(changed, 1);
        assert_eq!(file::read(&image, 8 << 20).unwrap(), before);
    }

    #[test]
    fn a_missing_partition_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let [image, copy] = ["disk.img", "copy.img"].map(|name| folder.path().join(name));
        disk(&image);
        let error = flip_bit_in_partition(&image, &copy, "root-a", 0).unwrap_err();
        assert!(error.to_string().contains("no partition `root-a`"), "{error}");
    }
}

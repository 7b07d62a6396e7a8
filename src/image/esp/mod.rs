//! Files in, the EFI system partition of a slot out: a FAT file system that holds them and nothing else.
//!
//! Invariant: equal files, size and volume id give equal bytes; there is no clock in it.

mod read;

pub use read::{locate, read};

use crate::model::machine::PartitionSizes;
use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};
use sha2::{Digest, Sha256};
use std::io::{Read, Seek, SeekFrom, Write};

const LABEL: [u8; 11] = *b"ESP        ";
/// FAT32 needs at least 65,525 clusters (Microsoft's "FAT: General Overview", "FAT Type Determination").
const FAT32_BYTES: u64 = 64 << 20;

const LEAST_BYTES: u64 = PartitionSizes::ESP_LEAST_BYTES;

const SECTOR_BYTES: usize = 512;
const ENTRY_BYTES: usize = 32;
/// The attribute of a folder.
const IS_FOLDER: u8 = 0x10;

#[derive(Debug, thiserror::Error)]
pub enum EspError {
    #[error("the files for the EFI system partition have {needed_bytes} bytes, the partition has {size_bytes}: make `partitions.esp` of the machine larger")]
    Overflow { needed_bytes: u64, size_bytes: u64 },
    #[error("an EFI system partition of {0} bytes is too small for FAT16: make `partitions.esp` of the machine at least {LEAST_BYTES} bytes")]
    Small(u64),
    #[error("cannot write the file system of the EFI system partition")]
    Write(#[source] std::io::Error),
    #[error("the name `{0}` in the EFI system partition is not of the form `BOOTX64.EFI`")]
    Name(String),
    #[error("the EFI system partition has no file `{0}`")]
    Absent(String),
    #[error("the file system of the EFI system partition is damaged: {0}")]
    Damaged(&'static str),
    #[error("`{path}` in the EFI system partition is larger than {limit_bytes} bytes")]
    TooLarge { path: String, limit_bytes: u64 },
}

/// The volume id that belongs to `identity`.
pub fn volume_id(identity: &[u8]) -> u32 {
    let hash = Sha256::digest([b"osbuild esp volume ", identity].concat());
    u32::from_le_bytes(hash[..4].try_into().expect("4 bytes"))
}

/// Fills `target`, which is empty and `size_bytes` long, with `files` by their paths (`EFI/BOOT/X`).
pub fn write<T: Read + Write + Seek>(
    mut target: T,
    size_bytes: u64,
    volume_id: u32,
    files: &[(&str, &[u8])],
) -> Result<(), EspError> {
    if size_bytes < LEAST_BYTES {
        return Err(EspError::Small(size_bytes));
    }
    let needed_bytes: u64 = files.iter().map(|(_, content)| content.len() as u64).sum();
    // The tables and folders take less than an eighth.
    if needed_bytes > size_bytes - size_bytes / 8 {
        return Err(EspError::Overflow { needed_bytes, size_bytes });
    }
    // A long name would hold characters that the file system keeps twice, and `read` knows none.
    if let Some((path, _)) = files.iter().find(|(path, _)| !path.split('/').all(|p| read::short_name(p).is_some())) {
        return Err(EspError::Name((*path).to_owned()));
    }
    let kind = if size_bytes >= FAT32_BYTES { FatType::Fat32 } else { FatType::Fat16 };
    let options = FormatVolumeOptions::new().volume_id(volume_id).volume_label(LABEL).fat_type(kind);
    fatfs::format_volume(&mut target, options).map_err(EspError::Write)?;
    let system = FileSystem::new(&mut target, FsOptions::new()).map_err(EspError::Write)?;
    for (path, content) in files {
        let mut folder = system.root_dir();
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_some() {
                folder = folder.create_dir(part).map_err(EspError::Write)?;
            } else {
                let mut file = folder.create_file(part).map_err(EspError::Write)?;
                file.write_all(content).map_err(EspError::Write)?;
                file.flush().map_err(EspError::Write)?;
            }
        }
    }
    // Counts the free clusters, which are then written down.
    system.stats().map_err(EspError::Write)?;
    system.unmount().map_err(EspError::Write)?;
    match kind {
        FatType::Fat32 => clear_parents(&mut target).map_err(EspError::Write),
        _ => Ok(()),
    }
}

/// In folders of the root folder the entry `..` holds 0, whatever the root's cluster is (section "Directory
/// Creation"); fatfs writes the cluster. The root folder of FAT32 is the first cluster.
fn clear_parents<T: Read + Write + Seek>(target: &mut T) -> std::io::Result<()> {
    let mut boot = [0; SECTOR_BYTES];
    target.seek(SeekFrom::Start(0))?;
    target.read_exact(&mut boot)?;
    let number = |at: usize, length: usize| read::number(&boot, at, length);
    let data_start = (number(14, 2) + number(16, 1) * number(36, 4)) * SECTOR_BYTES;
    let cluster_bytes = number(13, 1) * SECTOR_BYTES;
    let mut root = vec![0; cluster_bytes];
    target.seek(SeekFrom::Start(data_start as u64))?;
    target.read_exact(&mut root)?;
    for entry in root.chunks_exact(ENTRY_BYTES).filter(|entry| entry[11] & IS_FOLDER != 0) {
        let cluster = read::number(entry, 20, 2) << 16 | read::number(entry, 26, 2);
        let parent = data_start + (cluster - 2) * cluster_bytes + ENTRY_BYTES;
        for half in [20, 26] {
            target.seek(SeekFrom::Start((parent + half) as u64))?;
            target.write_all(&[0; 2])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

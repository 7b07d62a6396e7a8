//! The last partition to the end of the disk, and its file system to the end of the partition.
//!
//! Invariant: both copies of the table are written, the one at the end first, so that one is whole at any instant.

use super::ext4::Superblock;
use super::{LABEL, MOUNTED};
use crate::error::{AgentError, Doing};
use crate::file;
use crate::log::Log;
use osbuild_format::gpt::{self, SECTOR_BYTES};
use std::fs::{File, OpenOptions};

/// Less is not worth a write: ext4 may be unable to use a last piece of a block group.
const WORTHWHILE_BYTES: u64 = 16 << 20;

/// Grows the table's last partition when the disk is larger than the table says, and `data` is the last.
pub fn partition(disk: &str, log: &Log) -> Result<(), AgentError> {
    let path = format!("/dev/{disk}");
    let doing = || format!("grow the last partition of `{path}`");
    let mut device = OpenOptions::new().read(true).write(true).open(&path).doing(doing)?;
    let size = osbuild_sys::block::size_bytes(&device).doing(doing)?;
    let at_end = size.saturating_sub(u64::try_from(gpt::END_BYTES).expect("a small constant"));
    let start = file::read_at(&device, 0, gpt::START_BYTES).doing(doing)?;
    let end = file::read_at(&device, at_end, gpt::END_BYTES).doing(doing)?;
    let grown = gpt::grow(&start, &end, size / SECTOR_BYTES).map_err(std::io::Error::other).doing(doing)?;
    let last = &grown.layout.partitions[grown.last];
    if last.name != LABEL {
        return Err(AgentError::Wrong(format!("the last partition of `{path}` is `{}`, not `{LABEL}`", last.name)));
    }
    if let Some(write) = &grown.write {
        file::write_at(&mut device, write.end_lba * SECTOR_BYTES, &write.end).doing(doing)?;
        file::write_at(&mut device, 0, &write.start).doing(doing)?;
        log.tell(&format!("partition `{LABEL}` grown to {} MiB", last.size_bytes() >> 20));
    }
    // Even when the table is right already: power may have failed between the table and this.
    let number = u32::try_from(grown.last + 1).expect("at most 128");
    osbuild_sys::block::resize_partition(&device, number, last.start_bytes(), last.size_bytes()).doing(doing)
}

/// Grows the mounted file system when its partition has become larger.
pub fn file_system(device: &str, superblock: &Superblock, log: &Log) -> Result<(), AgentError> {
    let doing = || format!("grow the file system of `{device}`");
    let size = file::open(device).and_then(|file| osbuild_sys::block::size_bytes(&file)).doing(doing)?;
    let blocks = size / superblock.block_bytes;
    if blocks.saturating_sub(superblock.blocks).saturating_mul(superblock.block_bytes) < WORTHWHILE_BYTES {
        return Ok(());
    }
    let mounted: File = file::open(MOUNTED).doing(doing)?;
    osbuild_sys::block::grow_ext4(&mounted, blocks).doing(doing)?;
    log.tell(&format!("`{MOUNTED}` grown to {} MiB", size >> 20));
    Ok(())
}

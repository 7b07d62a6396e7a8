//! A slot's partitions and the root hash to a mounted root that the kernel verifies block by block.
//!
//! Invariant: the table's root hash and size are the command line's, which the firmware verified with the kernel.

use super::slot::{wait_for_device, Disk};
use crate::error::{AgentError, Doing};
use crate::file;
use osbuild_format::command_line::{CommandLine, Slot};
use osbuild_format::verity::{Superblock, BLOCK_BYTES, SUPERBLOCK_BYTES};
use osbuild_sys::device_mapper::{create_read_only, Table};
use rustix::mount::{mount, MountFlags};
use std::fmt::Write;

/// Where the root is mounted until it becomes `/`.
pub const MOUNTED: &str = "/sysroot";
/// Name of the device-mapper device.
pub const DEVICE: &str = "root";

/// Calls `feed` while it waits for devices, never while it reads one.
pub fn open(disk: &Disk, slot: Slot, line: &CommandLine, feed: &mut dyn FnMut()) -> Result<(), AgentError> {
    let data = disk.device(&format!("root-{}", slot.letter()))?;
    let hashes = disk.device(&format!("verity-{}", slot.letter()))?;
    wait_for_device(&data, feed)?;
    wait_for_device(&hashes, feed)?;
    let superblock = superblock(&hashes)?;
    check_size(&superblock, line, &hashes)?;
    let table = table(&superblock, &data, &hashes, &line.root_hash);
    let minor = create_read_only(&Table {
        name: DEVICE,
        uuid: &uuid(&superblock),
        sectors: superblock.data_blocks * u64::from(BLOCK_BYTES / 512),
        target: "verity",
        parameters: &table,
    })
    .doing(|| format!("open `{data}` with the hashes of `{hashes}`"))?;
    let device = format!("/dev/dm-{minor}");
    wait_for_device(&device, feed)?;
    std::fs::create_dir_all(MOUNTED).doing(|| format!("make the folder `{MOUNTED}`"))?;
    let flags = MountFlags::RDONLY.union(MountFlags::NODEV);
    mount(&device, MOUNTED, "erofs", flags, c"").doing(|| format!("mount `{device}` as erofs"))
}

fn superblock(device: &str) -> Result<Superblock, AgentError> {
    let bytes = file::open(device)
        .and_then(|file| file::read_at(&file, 0, SUPERBLOCK_BYTES))
        .doing(|| format!("read `{device}`"))?;
    Superblock::parse(&bytes).map_err(|source| AgentError::Superblock { device: device.to_owned(), source })
}

/// The superblock is the one part of the slot that no hash covers.
fn check_size(superblock: &Superblock, line: &CommandLine, device: &str) -> Result<(), AgentError> {
    let (found, signed) = (superblock.data_blocks, line.root_blocks);
    if found == signed {
        return Ok(());
    }
    Err(AgentError::Wrong(format!(
        "the superblock in `{device}` speaks of {found} blocks, the signed kernel of {signed}"
    )))
}

/// Linux `Documentation/admin-guide/device-mapper/verity.rst`. The tree starts behind the superblock's block.
/// A block that does not match is never handed out; the machine restarts, and the firmware may take the other slot.
fn table(superblock: &Superblock, data: &str, hashes: &str, root_hash: &str) -> String {
    let mut salt = hex(&superblock.salt);
    if salt.is_empty() {
        salt.push('-');
    }
    let (block, blocks) = (BLOCK_BYTES, superblock.data_blocks);
    format!("1 {data} {hashes} {block} {block} {blocks} 1 sha256 {root_hash} {salt} 1 restart_on_corruption")
}

/// As cryptsetup names verity devices, so that its tools recognise this one.
fn uuid(superblock: &Superblock) -> String {
    format!("CRYPT-VERITY-{}-{DEVICE}", hex(&superblock.uuid))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_superblock_of_another_size_than_the_signed_one_is_refused() {
        let line = CommandLine { root_hash: "0".repeat(64), root_blocks: 7, slot: None };
        let mut superblock = Superblock { uuid: [0; 16], data_blocks: 7, salt: vec![] };
        assert!(check_size(&superblock, &line, "/dev/vda5").is_ok());
        superblock.data_blocks = 1;
        let error = check_size(&superblock, &line, "/dev/vda5").expect_err("another size").to_string();
        assert!(error.contains("`/dev/vda5` speaks of 1 blocks, the signed kernel of 7"), "{error}");
    }

    #[test]
    fn the_table_is_what_the_kernel_documents() {
        let mut superblock = Superblock { uuid: [0xab; 16], data_blocks: 7, salt: vec![1, 0xff] };
        let line = "1 /dev/vda3 /dev/vda5 4096 4096 7 1 sha256 00ff 01ff 1 restart_on_corruption";
        assert_eq!(table(&superblock, "/dev/vda3", "/dev/vda5", "00ff"), line);
        superblock.salt.clear();
        assert!(table(&superblock, "a", "b", "c").contains(" c - 1 "));
        assert_eq!(uuid(&superblock), format!("CRYPT-VERITY-{}-root", "ab".repeat(16)));
    }
}

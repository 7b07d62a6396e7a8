//! A layout in, the sectors of both ends of the disk out.
//!
//! Invariant: equal layouts and disk sizes give equal bytes, and readers accept them.

use super::check::usable;
use super::format::{entry, header, header_crc, mbr, put, ENTRIES_BYTES, ENTRIES_LBA, ENTRY_BYTES};
use super::format::{HEADER_BYTES, PRIMARY_LBA, REVISION, SECTOR, SIGNATURE};
use super::{GptError, Layout, END_BYTES, END_SECTORS, LIMIT_PARTITIONS, START_BYTES};

/// What is written at the two ends of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Protective MBR, primary header and entries: from byte 0 of the disk.
    pub start: Vec<u8>,
    /// Entries and backup header: from sector `end_lba` to the end of the disk.
    pub end: Vec<u8>,
    pub end_lba: u64,
}

/// The table of `layout` for a disk of `disk_sectors` sectors of 512 bytes.
pub fn encode(layout: &Layout, disk_sectors: u64) -> Result<Encoded, GptError> {
    layout.check(disk_sectors)?;
    let entries = entries(layout);
    let last_lba = disk_sectors - 1;
    let end_lba = disk_sectors - END_SECTORS;

    let mut start = vec![0; START_BYTES];
    put(&mut start, 0, &protective_mbr(disk_sectors));
    put(&mut start, SECTOR, &header(layout, disk_sectors, (PRIMARY_LBA, last_lba, ENTRIES_LBA), &entries)?);
    put(&mut start, ENTRIES_LBA as usize * SECTOR, &entries);

    let mut end = vec![0; END_BYTES];
    put(&mut end, 0, &entries);
    put(&mut end, ENTRIES_BYTES, &header(layout, disk_sectors, (last_lba, PRIMARY_LBA, end_lba), &entries)?);
    Ok(Encoded { start, end, end_lba })
}

/// UEFI 2.10 section 5.2.3: one record that covers the disk, so that old tools keep off.
fn protective_mbr(disk_sectors: u64) -> Vec<u8> {
    let mut bytes = vec![0; SECTOR];
    let sectors = u32::try_from(disk_sectors - 1).unwrap_or(u32::MAX);
    put(&mut bytes, mbr::RECORD, &[0, 0x00, 0x02, 0x00, mbr::PROTECTIVE, 0xff, 0xff, 0xff]);
    put(&mut bytes, mbr::RECORD + 8, &(PRIMARY_LBA as u32).to_le_bytes());
    put(&mut bytes, mbr::RECORD + 12, &sectors.to_le_bytes());
    put(&mut bytes, mbr::SIGNATURE, &[0x55, 0xaa]);
    bytes
}

fn header(
    layout: &Layout,
    disk_sectors: u64,
    (my_lba, alternate_lba, entries_lba): (u64, u64, u64),
    entries: &[u8],
) -> Result<Vec<u8>, GptError> {
    let (first_usable, last_usable) = usable(disk_sectors)?;
    let mut bytes = vec![0; HEADER_BYTES];
    put(&mut bytes, 0, SIGNATURE);
    put(&mut bytes, header::REVISION, &REVISION.to_le_bytes());
    put(&mut bytes, header::SIZE, &(HEADER_BYTES as u32).to_le_bytes());
    put(&mut bytes, header::MY_LBA, &my_lba.to_le_bytes());
    put(&mut bytes, header::ALTERNATE_LBA, &alternate_lba.to_le_bytes());
    put(&mut bytes, header::FIRST_USABLE, &first_usable.to_le_bytes());
    put(&mut bytes, header::LAST_USABLE, &last_usable.to_le_bytes());
    put(&mut bytes, header::DISK_GUID, &layout.disk_guid.0);
    put(&mut bytes, header::ENTRIES_LBA, &entries_lba.to_le_bytes());
    put(&mut bytes, header::ENTRY_COUNT, &(LIMIT_PARTITIONS as u32).to_le_bytes());
    put(&mut bytes, header::ENTRY_SIZE, &(ENTRY_BYTES as u32).to_le_bytes());
    put(&mut bytes, header::ENTRIES_CRC, &crc32fast::hash(entries).to_le_bytes());
    let crc = header_crc(&bytes);
    put(&mut bytes, header::CRC, &crc.to_le_bytes());
    Ok(bytes)
}

fn entries(layout: &Layout) -> Vec<u8> {
    let mut bytes = vec![0; ENTRIES_BYTES];
    for (partition, slot) in layout.partitions.iter().zip(bytes.chunks_mut(ENTRY_BYTES)) {
        put(slot, entry::TYPE, &partition.type_guid.0);
        put(slot, entry::GUID, &partition.guid.0);
        put(slot, entry::FIRST_LBA, &partition.first_lba.to_le_bytes());
        put(slot, entry::LAST_LBA, &partition.last_lba.to_le_bytes());
        put(slot, entry::ATTRIBUTES, &partition.attributes.to_le_bytes());
        for (index, unit) in partition.name.encode_utf16().enumerate() {
            put(slot, entry::NAME + 2 * index, &unit.to_le_bytes());
        }
    }
    bytes
}

//! Where each field of the table lies. UEFI 2.10 tables 5.5 (header) and 5.6 (entry), section 5.2.3 (MBR).
//!
//! Invariant: offsets count bytes from the start of the structure; all numbers are little-endian.

pub const SIGNATURE: &[u8; 8] = b"EFI PART";
pub const REVISION: u32 = 0x0001_0000;
pub const HEADER_BYTES: usize = 92;
pub const ENTRY_BYTES: usize = 128;
/// LBA of the primary header, and of the entries behind it.
pub const PRIMARY_LBA: u64 = 1;
pub const ENTRIES_LBA: u64 = 2;
pub const SECTOR: usize = super::SECTOR_BYTES as usize;
pub const ENTRIES_BYTES: usize = super::LIMIT_PARTITIONS * ENTRY_BYTES;

pub mod header {
    pub const REVISION: usize = 8;
    pub const SIZE: usize = 12;
    pub const CRC: usize = 16;
    pub const MY_LBA: usize = 24;
    pub const ALTERNATE_LBA: usize = 32;
    pub const FIRST_USABLE: usize = 40;
    pub const LAST_USABLE: usize = 48;
    pub const DISK_GUID: usize = 56;
    pub const ENTRIES_LBA: usize = 72;
    pub const ENTRY_COUNT: usize = 80;
    pub const ENTRY_SIZE: usize = 84;
    pub const ENTRIES_CRC: usize = 88;
}

pub mod entry {
    pub const TYPE: usize = 0;
    pub const GUID: usize = 16;
    pub const FIRST_LBA: usize = 32;
    pub const LAST_LBA: usize = 40;
    pub const ATTRIBUTES: usize = 48;
    pub const NAME: usize = 56;
}

pub mod mbr {
    /// The first of four partition records of 16 bytes.
    pub const RECORD: usize = 446;
    pub const SIGNATURE: usize = 510;
    /// Type of a record that protects a GPT.
    pub const PROTECTIVE: u8 = 0xee;
}

/// The header's CRC is taken over its bytes with the CRC field at zero.
pub fn header_crc(header: &[u8]) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&header[..header::CRC]);
    hash.update(&[0; 4]);
    hash.update(&header[header::CRC + 4..HEADER_BYTES]);
    hash.finalize()
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

pub fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

//! The GUID partition table: a [`Layout`] to the sectors at both ends of a disk, and back.
//!
//! Invariant: a layout that came out of a reader or went into the writer keeps every rule of [`Layout::check`].
//! Source: UEFI 2.10 section 5.3; sectors of 512 bytes, 128 entries of 128 bytes, entries at LBA 2.

mod check;
mod dump;
mod format;
mod grow;
mod guid;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub use dump::dump;
pub use grow::{grow, Grown};
pub use guid::{Guid, InvalidGuid};
pub use read::{parse_backup, parse_exact, parse_primary, Table};
pub use write::{encode, Encoded};

/// The only sector size that is supported.
pub const SECTOR_BYTES: u64 = 512;
/// Sectors at the start of a disk that the table takes: protective MBR, header, entries.
pub const START_SECTORS: u64 = 34;
/// Sectors at the end of a disk that the table takes: entries, header.
pub const END_SECTORS: u64 = 33;
/// [`START_SECTORS`] in bytes.
pub const START_BYTES: usize = (START_SECTORS * SECTOR_BYTES) as usize;
/// [`END_SECTORS`] in bytes.
pub const END_BYTES: usize = (END_SECTORS * SECTOR_BYTES) as usize;
/// Partitions start and end on multiples of this: 1 MiB.
pub const ALIGNMENT_SECTORS: u64 = 2048;
/// Entries in a table.
pub const LIMIT_PARTITIONS: usize = 128;
/// UTF-16 code units in a name.
pub const LIMIT_NAME_UNITS: usize = 36;

/// Partition types of the Discoverable Partitions Specification.
pub mod types {
    use super::Guid;

    /// EFI system partition.
    pub const ESP: Guid = Guid::fixed(0xc12a7328, 0xf81f, 0x11d2, 0xba4b, 0x00a0c93ec93b);
    /// Data that is not mounted by its type.
    pub const LINUX_GENERIC: Guid = Guid::fixed(0x0fc63daf, 0x8483, 0x4772, 0x8e79, 0x3d69d8477de4);
    pub const ROOT_X86_64: Guid = Guid::fixed(0x4f68bce3, 0xe8cd, 0x4db1, 0x96e7, 0xfbcaf984b709);
    pub const ROOT_VERITY_X86_64: Guid = Guid::fixed(0x2c7357ed, 0xebd2, 0x46d9, 0xaec1, 0x23d437ec2bf5);
    pub const ROOT_AARCH64: Guid = Guid::fixed(0xb921b045, 0x1df0, 0x41c3, 0xaf44, 0x4c6f280d3fae);
    pub const ROOT_VERITY_AARCH64: Guid = Guid::fixed(0xdf3300ce, 0xd69f, 0x4c92, 0x978c, 0x9bfb0f38d820);

    /// Types of a root file system and of its verity tree; `cpu` as in GNU triplets.
    pub fn root_and_verity(cpu: &str) -> Option<(Guid, Guid)> {
        match cpu {
            "x86_64" => Some((ROOT_X86_64, ROOT_VERITY_X86_64)),
            "aarch64" => Some((ROOT_AARCH64, ROOT_VERITY_AARCH64)),
            _ => None,
        }
    }
}

/// Bits of [`Partition::attributes`], as the Discoverable Partitions Specification gives them.
pub mod attributes {
    /// The file system is grown to the partition on first use.
    pub const GROW: u64 = 1 << 59;
    pub const READ_ONLY: u64 = 1 << 60;
    /// Not mounted by its type alone.
    pub const NO_AUTO: u64 = 1 << 63;
}

/// What is on a disk. The order of `partitions` is the order of their entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub disk_guid: Guid,
    pub partitions: Vec<Partition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub type_guid: Guid,
    /// Unique on the disk: the `PARTUUID`.
    pub guid: Guid,
    /// At most 36 UTF-16 code units.
    pub name: String,
    pub first_lba: u64,
    /// The last sector that still belongs to it.
    pub last_lba: u64,
    pub attributes: u64,
}

impl Partition {
    pub fn sectors(&self) -> u64 {
        self.last_lba - self.first_lba + 1
    }

    pub fn start_bytes(&self) -> u64 {
        self.first_lba * SECTOR_BYTES
    }

    pub fn size_bytes(&self) -> u64 {
        self.sectors() * SECTOR_BYTES
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GptError {
    #[error("the {what} needs {needed} bytes, there are only {given}")]
    Short { what: &'static str, needed: usize, given: usize },
    #[error("a disk with a partition table has at least {needed} sectors and at most 2^54, not {given}")]
    DiskSize { needed: u64, given: u64 },
    #[error("there is no protective MBR at the start of the disk")]
    NoProtectiveMbr,
    #[error("there is no {which} partition table: the signature is missing")]
    NoSignature { which: &'static str },
    #[error("the {which} partition table is damaged: the CRC of its {part} is {found:08x}, not {stored:08x}")]
    Checksum { which: &'static str, part: &'static str, stored: u32, found: u32 },
    #[error("the {which} partition table has a `{field}` that is not supported: {value}")]
    Unsupported { which: &'static str, field: &'static str, value: u64 },
    #[error("{count} partitions are more than a table holds: {LIMIT_PARTITIONS}")]
    TooMany { count: usize },
    #[error("the name of partition {number} is not text of at most {LIMIT_NAME_UNITS} UTF-16 units")]
    Name { number: usize },
    #[error(
        "partition `{name}` (sectors {first_lba} to {last_lba}) is not inside sectors {first_usable} to {last_usable}"
    )]
    Range { name: String, first_lba: u64, last_lba: u64, first_usable: u64, last_usable: u64 },
    #[error("partitions `{first}` and `{second}` overlap at sector {lba}")]
    Overlap { first: String, second: String, lba: u64 },
    #[error("partitions `{first}` and `{second}` have the same GUID: {guid}")]
    SameGuid { first: String, second: String, guid: Guid },
    #[error("partition `{name}` has a type or GUID of zero")]
    ZeroGuid { name: String },
    #[error("the primary and the backup partition table differ")]
    CopiesDiffer,
    #[error("the partition table is not byte for byte what its partitions say, at byte {offset} of the disk's {end}")]
    NotExact { end: &'static str, offset: usize },
    #[error("the disk shrank: its table needs {needed} sectors, it has {given}")]
    Shrunk { needed: u64, given: u64 },
    #[error("the disk has no partitions to grow")]
    NothingToGrow,
}

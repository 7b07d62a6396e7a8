//! The sectors of one end of a disk in, the layout they hold out.
//!
//! Invariant: nothing is believed before its CRC matches; memory is bounded by the table's fixed size.

use super::check::usable;
use super::format::{entry, header, header_crc, mbr, u32_at, u64_at, ENTRIES_BYTES, ENTRIES_LBA, ENTRY_BYTES};
use super::format::{HEADER_BYTES, PRIMARY_LBA, REVISION, SECTOR, SIGNATURE};
use super::{encode, GptError, Guid, Layout, Partition, END_BYTES, LIMIT_NAME_UNITS, LIMIT_PARTITIONS, START_BYTES};

/// One copy of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub layout: Layout,
    /// Size of the disk for which the table was written; the disk may have grown since.
    pub disk_sectors: u64,
}

/// Reads the primary table from the first [`START_BYTES`] of a disk.
pub fn parse_primary(start: &[u8]) -> Result<Table, GptError> {
    let start = bounded(start, START_BYTES, "primary partition table")?;
    let record = mbr::RECORD + 4;
    let is_protective = (0..4).any(|index| start[record + 16 * index] == mbr::PROTECTIVE);
    if start[mbr::SIGNATURE..mbr::SIGNATURE + 2] != [0x55, 0xaa] || !is_protective {
        return Err(GptError::NoProtectiveMbr);
    }
    let copy = Copy { which: "primary", header: &start[SECTOR..2 * SECTOR], entries: &start[2 * SECTOR..] };
    let table = copy.parse(header::ALTERNATE_LBA)?;
    copy.expect("my_lba", u64_at(copy.header, header::MY_LBA), PRIMARY_LBA)?;
    copy.expect("entries_lba", u64_at(copy.header, header::ENTRIES_LBA), ENTRIES_LBA)?;
    Ok(table)
}

/// Reads the backup table from the last [`END_BYTES`] of a disk.
pub fn parse_backup(end: &[u8]) -> Result<Table, GptError> {
    let end = bounded(end, END_BYTES, "backup partition table")?;
    let copy = Copy { which: "backup", header: &end[ENTRIES_BYTES..], entries: &end[..ENTRIES_BYTES] };
    let table = copy.parse(header::MY_LBA)?;
    copy.expect("alternate_lba", u64_at(copy.header, header::ALTERNATE_LBA), PRIMARY_LBA)?;
    let entries_lba = table.disk_sectors - super::END_SECTORS;
    copy.expect("entries_lba", u64_at(copy.header, header::ENTRIES_LBA), entries_lba)?;
    Ok(table)
}

/// Reads both copies of a disk of `disk_sectors` and accepts only the very bytes that the writer makes.
pub fn parse_exact(start: &[u8], end: &[u8], disk_sectors: u64) -> Result<Layout, GptError> {
    let start = bounded(start, START_BYTES, "primary partition table")?;
    let end = bounded(end, END_BYTES, "backup partition table")?;
    let (primary, backup) = (parse_primary(start)?, parse_backup(end)?);
    if primary != backup || primary.disk_sectors != disk_sectors {
        return Err(GptError::CopiesDiffer);
    }
    let expected = encode(&primary.layout, disk_sectors)?;
    for (which, given, expected) in [("start", start, &expected.start), ("end", end, &expected.end)] {
        if let Some(offset) = given.iter().zip(expected).position(|(a, b)| a != b) {
            return Err(GptError::NotExact { end: which, offset });
        }
    }
    Ok(primary.layout)
}

fn bounded<'a>(bytes: &'a [u8], needed: usize, what: &'static str) -> Result<&'a [u8], GptError> {
    bytes.get(..needed).ok_or(GptError::Short { what, needed, given: bytes.len() })
}

struct Copy<'a> {
    which: &'static str,
    /// One sector.
    header: &'a [u8],
    /// All entries.
    entries: &'a [u8],
}

impl Copy<'_> {
    /// `last_lba_at`: the header's field that holds the last LBA of the disk.
    fn parse(&self, last_lba_at: usize) -> Result<Table, GptError> {
        let bytes = self.header;
        if &bytes[..8] != SIGNATURE {
            return Err(GptError::NoSignature { which: self.which });
        }
        self.expect("revision", u32_at(bytes, header::REVISION).into(), REVISION.into())?;
        self.expect("header_size", u32_at(bytes, header::SIZE).into(), HEADER_BYTES as u64)?;
        self.checksum("header", u32_at(bytes, header::CRC), header_crc(bytes))?;
        self.expect("entry_count", u32_at(bytes, header::ENTRY_COUNT).into(), LIMIT_PARTITIONS as u64)?;
        self.expect("entry_size", u32_at(bytes, header::ENTRY_SIZE).into(), ENTRY_BYTES as u64)?;
        self.checksum("entries", u32_at(bytes, header::ENTRIES_CRC), crc32fast::hash(self.entries))?;

        let disk_sectors = u64_at(bytes, last_lba_at).saturating_add(1);
        let (first_usable, last_usable) = usable(disk_sectors)?;
        // Other writers keep more room free before the first partition; that is fine, less is not.
        let given = (u64_at(bytes, header::FIRST_USABLE), u64_at(bytes, header::LAST_USABLE));
        if given.0 < first_usable || given.0 > last_usable {
            return Err(self.unsupported("first_usable_lba", given.0));
        }
        if given.1 > last_usable {
            return Err(self.unsupported("last_usable_lba", given.1));
        }
        let layout = Layout { disk_guid: guid_at(bytes, header::DISK_GUID), partitions: self.partitions()? };
        layout.check_within(given.0, given.1)?;
        Ok(Table { layout, disk_sectors })
    }

    fn partitions(&self) -> Result<Vec<Partition>, GptError> {
        let mut partitions = Vec::new();
        for (index, slot) in self.entries.chunks_exact(ENTRY_BYTES).enumerate() {
            let type_guid = guid_at(slot, entry::TYPE);
            if type_guid == Guid::ZERO {
                continue;
            }
            partitions.push(Partition {
                type_guid,
                guid: guid_at(slot, entry::GUID),
                name: name_at(slot).ok_or(GptError::Name { number: index + 1 })?,
                first_lba: u64_at(slot, entry::FIRST_LBA),
                last_lba: u64_at(slot, entry::LAST_LBA),
                attributes: u64_at(slot, entry::ATTRIBUTES),
            });
        }
        Ok(partitions)
    }

    fn expect(&self, field: &'static str, value: u64, supported: u64) -> Result<(), GptError> {
        if value == supported {
            Ok(())
        } else {
            Err(self.unsupported(field, value))
        }
    }

    fn unsupported(&self, field: &'static str, value: u64) -> GptError {
        GptError::Unsupported { which: self.which, field, value }
    }

    fn checksum(&self, part: &'static str, stored: u32, found: u32) -> Result<(), GptError> {
        if stored == found {
            Ok(())
        } else {
            Err(GptError::Checksum { which: self.which, part, stored, found })
        }
    }
}

fn guid_at(bytes: &[u8], at: usize) -> Guid {
    Guid(bytes[at..at + 16].try_into().expect("16 bytes"))
}

/// The name up to its first NUL; none when it is not UTF-16.
fn name_at(slot: &[u8]) -> Option<String> {
    let units = slot[entry::NAME..entry::NAME + 2 * LIMIT_NAME_UNITS].chunks_exact(2);
    let units = units.map(|pair| u16::from_le_bytes([pair[0], pair[1]])).take_while(|unit| *unit != 0);
    char::decode_utf16(units).collect::<Result<String, _>>().ok()
}

//! The rules that a layout keeps on a disk of a given size.
//!
//! Invariant: what passes can be written, and two partitions never share a sector.

use super::{GptError, Guid, Layout, END_SECTORS, LIMIT_NAME_UNITS, LIMIT_PARTITIONS, START_SECTORS};
use std::collections::BTreeMap;

/// More would overflow byte offsets.
const LIMIT_SECTORS: u64 = 1 << 54;

/// First and last sector that partitions may use on a disk of `disk_sectors`.
pub(super) fn usable(disk_sectors: u64) -> Result<(u64, u64), GptError> {
    let needed = START_SECTORS + END_SECTORS + 1;
    if !(needed..=LIMIT_SECTORS).contains(&disk_sectors) {
        return Err(GptError::DiskSize { needed, given: disk_sectors });
    }
    Ok((START_SECTORS, disk_sectors - END_SECTORS - 1))
}

impl Layout {
    /// Checks counts, names, ranges, overlaps and GUIDs for a disk of `disk_sectors`.
    pub fn check(&self, disk_sectors: u64) -> Result<(), GptError> {
        let (first_usable, last_usable) = usable(disk_sectors)?;
        self.check_within(first_usable, last_usable)
    }

    pub(super) fn check_within(&self, first_usable: u64, last_usable: u64) -> Result<(), GptError> {
        if self.partitions.len() > LIMIT_PARTITIONS {
            return Err(GptError::TooMany { count: self.partitions.len() });
        }
        let mut guids: BTreeMap<Guid, &str> = BTreeMap::new();
        for (index, partition) in self.partitions.iter().enumerate() {
            let name = partition.name.as_str();
            if name.contains('\0') || name.encode_utf16().count() > LIMIT_NAME_UNITS {
                return Err(GptError::Name { number: index + 1 });
            }
            let (first_lba, last_lba) = (partition.first_lba, partition.last_lba);
            if first_lba > last_lba || first_lba < first_usable || last_lba > last_usable {
                return Err(GptError::Range { name: name.into(), first_lba, last_lba, first_usable, last_usable });
            }
            if partition.guid == Guid::ZERO || partition.type_guid == Guid::ZERO {
                return Err(GptError::ZeroGuid { name: name.into() });
            }
            if let Some(first) = guids.insert(partition.guid, name) {
                return Err(GptError::SameGuid { first: first.into(), second: name.into(), guid: partition.guid });
            }
        }
        self.check_overlaps()
    }

    fn check_overlaps(&self) -> Result<(), GptError> {
        let mut sorted: Vec<_> = self.partitions.iter().collect();
        sorted.sort_by_key(|partition| partition.first_lba);
        for pair in sorted.windows(2) {
            if pair[1].first_lba <= pair[0].last_lba {
                return Err(GptError::Overlap {
                    first: pair[0].name.clone(),
                    second: pair[1].name.clone(),
                    lba: pair[1].first_lba,
                });
            }
        }
        Ok(())
    }
}

//! A table and a larger disk in, the table in which the last partition fills the disk out.
//!
//! Invariant: no other partition moves; at any instant of the writing one copy of the table is whole,
//! when the caller writes [`Encoded::end`], syncs, writes [`Encoded::start`], and syncs.

use super::check::usable;
use super::{encode, parse_backup, parse_primary, Encoded, GptError, Layout, ALIGNMENT_SECTORS};

/// The last partition after growing, and what to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grown {
    pub layout: Layout,
    /// Index in `layout.partitions` of the one that ends last.
    pub last: usize,
    /// What to write, `end` before `start`; none: the disk has exactly this table already.
    pub write: Option<Encoded>,
}

/// Extends the partition that ends last to the end of a disk of `disk_sectors`, and moves the backup table there.
///
/// `start` and `end` are the first [`super::START_BYTES`] and the last [`super::END_BYTES`] of the disk as it is
/// now. When the primary is damaged (power failed while it was written) the backup stands in for it.
pub fn grow(start: &[u8], end: &[u8], disk_sectors: u64) -> Result<Grown, GptError> {
    let table = match parse_primary(start) {
        Ok(table) => table,
        Err(damage) => parse_backup(end).map_err(|_| damage)?,
    };
    if table.disk_sectors > disk_sectors {
        return Err(GptError::Shrunk { needed: table.disk_sectors, given: disk_sectors });
    }
    let mut layout = table.layout;
    let ends = layout.partitions.iter().enumerate().max_by_key(|(_, partition)| partition.last_lba);
    let last = ends.map(|(index, _)| index).ok_or(GptError::NothingToGrow)?;
    let (_, last_usable) = usable(disk_sectors)?;
    let aligned = (last_usable + 1) / ALIGNMENT_SECTORS * ALIGNMENT_SECTORS;
    let partition = &mut layout.partitions[last];
    partition.last_lba = partition.last_lba.max(aligned.saturating_sub(1));
    let encoded = encode(&layout, disk_sectors)?;
    let is_written = start.starts_with(&encoded.start) && end.starts_with(&encoded.end);
    Ok(Grown { layout, last, write: (!is_written).then_some(encoded) })
}

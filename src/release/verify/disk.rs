//! A disk in; its partition table and what its slots hold, checked, out.
//!
//! Invariant: what the table says is believed only where it is what this program writes: names, order, types and
//! attributes of the partitions.

use super::slot::Slot;
use super::{in_part, unsound, Report, VerifyError};
use crate::disk::{kind, LABELS, WIPED_BYTES};
use crate::io::file::{self, at};
use crate::model::machine::Architecture;
use crate::release::keys::PublicKeys;
use osbuild_format::gpt::{self, Layout, Partition, SECTOR_BYTES};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

const CHUNK_BYTES: usize = 1 << 20;
const TABLE: &str = "the partition table";

/// Whether bytes that no one reads may be anything: those between partitions, behind a root and its tree, and in a
/// slot that was wiped only at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// As in a file that `osbuild image` wrote.
    Refused,
    /// As on a device that held something else before it was flashed.
    Allowed,
}

/// A disk that is sound.
#[derive(Debug)]
pub struct Checked {
    pub report: Report,
    pub layout: Layout,
    /// Slot A, which is never empty.
    pub first: Slot,
}

/// Checks a disk: its tables, both slots, and what lies between them. The data partition is the device's own and is
/// not covered.
pub fn disk(path: &Path, keys: &PublicKeys, leftovers: Leftovers) -> Result<Checked, VerifyError> {
    let part = "the disk";
    let kind = std::fs::metadata(path).map_err(at("look at", path)).map_err(in_part(part))?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Err(unsound(part, "it is neither a plain file nor a disk"));
    }
    let mut file = file::open(path).map_err(in_part(part))?;
    // A disk's metadata does not tell its size.
    let bytes = file.seek(SeekFrom::End(0)).map_err(at("look at", path)).map_err(in_part(part))?;
    let reader = DiskReader { file: &file, path, bytes, leftovers };
    let mut report = Report::default();
    let layout = reader.table(&mut report)?;
    let mut slots = Vec::new();
    for letter in ["a", "b"] {
        let partition = |kind: &str| {
            let label = format!("{kind}-{letter}");
            let found = layout.partitions.iter().find(|p| p.name == label);
            found.ok_or_else(|| unsound(part, format!("it has no `{label}`")))
        };
        let (esp, root, verity) = (partition("esp")?, partition("root")?, partition("verity")?);
        // The factory fills slot A, and no update empties a slot.
        if letter == "b" && reader.is_empty(&[esp, root, verity])? {
            report.lines.push("slot b is empty".to_owned());
            continue;
        }
        let slot = Slot::check(&reader, esp, root, verity, keys)?;
        report.lines.push(format!("slot {letter}: FAT, signature, command line, {slot}"));
        slots.push(slot);
    }
    let mut slots = slots.into_iter();
    let first = slots.next().ok_or_else(|| unsound(part, "it has no slot"))?;
    if slots.any(|slot| slot.architecture != first.architecture) {
        return Err(unsound(part, "its slots are for different architectures"));
    }
    check_kinds(&layout, first.architecture)?;
    report.lines.push("not covered: data, which is the device's own".to_owned());
    if leftovers == Leftovers::Allowed {
        report.lines.push("not covered: what may be left over where nothing is read".to_owned());
    }
    Ok(Checked { report, layout, first })
}

/// What firmware and kernel go by: the types and attributes.
fn check_kinds(layout: &Layout, architecture: Architecture) -> Result<(), VerifyError> {
    for partition in &layout.partitions {
        if Some((partition.type_guid, partition.attributes)) != kind(&partition.name, architecture) {
            return Err(unsound(TABLE, format!("`{}` has another type or other attributes", partition.name)));
        }
    }
    Ok(())
}

pub(super) struct DiskReader<'a> {
    pub file: &'a File,
    path: &'a Path,
    bytes: u64,
    leftovers: Leftovers,
}

impl DiskReader<'_> {
    pub fn read(&self, start: u64, length: usize, part: &str) -> Result<Vec<u8>, VerifyError> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start).map_err(at("read", self.path)).map_err(in_part(part))?;
        Ok(bytes)
    }

    /// Both tables, and zeros in the gaps around the partitions.
    fn table(&self, report: &mut Report) -> Result<Layout, VerifyError> {
        let least = (gpt::START_BYTES + gpt::END_BYTES) as u64;
        if !self.bytes.is_multiple_of(SECTOR_BYTES) || self.bytes < least {
            return Err(unsound(TABLE, format!("the disk has {} bytes, which is no disk's size", self.bytes)));
        }
        let start = self.read(0, gpt::START_BYTES, TABLE)?;
        let disk_sectors = self.table_sectors(&start)?;
        let end_start = disk_sectors * SECTOR_BYTES - gpt::END_BYTES as u64;
        let end = self.read(end_start, gpt::END_BYTES, TABLE)?;
        let layout = gpt::parse_exact(&start, &end, disk_sectors).map_err(in_part(TABLE))?;
        let names: Vec<&str> = layout.partitions.iter().map(|partition| partition.name.as_str()).collect();
        if names != LABELS {
            return Err(unsound(TABLE, format!("its partitions are {}, not {}", names.join(" "), LABELS.join(" "))));
        }
        let mut last = gpt::START_BYTES as u64;
        for partition in &layout.partitions {
            self.zeros(last, partition.start_bytes(), "the gap between partitions")?;
            last = partition.start_bytes() + partition.size_bytes();
        }
        self.zeros(last, end_start, "the gap behind the partitions")?;
        report.lines.push("both partition tables".to_owned());
        if disk_sectors * SECTOR_BYTES < self.bytes {
            report.lines.push("the tables are those of a smaller disk, as before the first boot".to_owned());
        }
        Ok(layout)
    }

    /// The size of the disk for which the table was written: a device may be larger until its first boot.
    fn table_sectors(&self, start: &[u8]) -> Result<u64, VerifyError> {
        let sectors = self.bytes / SECTOR_BYTES;
        if self.leftovers == Leftovers::Refused {
            return Ok(sectors);
        }
        let written_for = gpt::parse_primary(start).map_err(in_part(TABLE))?.disk_sectors;
        match written_for <= sectors && written_for * SECTOR_BYTES >= (gpt::START_BYTES + gpt::END_BYTES) as u64 {
            true => Ok(written_for),
            false => Err(unsound(TABLE, format!("it was written for {written_for} sectors, the disk has {sectors}"))),
        }
    }

    /// Checks bytes that nothing reads.
    pub fn zeros(&self, from: u64, to: u64, part: &str) -> Result<(), VerifyError> {
        if self.leftovers == Leftovers::Allowed {
            return Ok(());
        }
        match self.first_set(from, to, part)? {
            None => Ok(()),
            Some(offset) => Err(unsound(part, format!("byte {offset} of the disk should be zero"))),
        }
    }

    fn first_set(&self, from: u64, to: u64, part: &str) -> Result<Option<u64>, VerifyError> {
        let mut at = self.next_data(from, to);
        while at < to {
            let length = CHUNK_BYTES.min(usize::try_from(to - at).unwrap_or(CHUNK_BYTES));
            if let Some(index) = self.read(at, length, part)?.iter().position(|byte| *byte != 0) {
                return Ok(Some(at + index as u64));
            }
            at = self.next_data(at + length as u64, to);
        }
        Ok(None)
    }

    /// The first byte from `at` on that is not in a hole: a hole may have any size and reads as zeros.
    fn next_data(&self, at: u64, to: u64) -> u64 {
        match rustix::fs::seek(self.file, rustix::fs::SeekFrom::Data(at)) {
            Ok(data) => data.clamp(at, to.max(at)),
            Err(Errno::NXIO) => to,
            // Devices have no holes.
            Err(_) => at,
        }
    }

    fn is_empty(&self, partitions: &[&Partition]) -> Result<bool, VerifyError> {
        for partition in partitions {
            let start = partition.start_bytes();
            let looked_at = match self.leftovers {
                Leftovers::Refused => partition.size_bytes(),
                Leftovers::Allowed => partition.size_bytes().min(WIPED_BYTES),
            };
            if self.first_set(start, start + looked_at, &partition.name)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

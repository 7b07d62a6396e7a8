//! An image folder or a disk, and public keys, in; what was checked, or the first part that is not sound, out.
//!
//! Offline, from public keys alone. Invariant: memory is bounded whatever the image says; every byte of the parts
//! that are covered is read, so one flipped bit is found and its part is named.

use super::dsse::{self, DsseError};
use super::image::{digest_of, DATA, MANIFEST};
use super::keys::PublicKeys;
use super::manifest::{ManifestError, Statement, PAYLOAD_TYPE};
use crate::disk::DISK_IMAGE;
use crate::image::authenticode::{self, AuthenticodeError};
use crate::image::esp::{self, EspError};
use crate::image::uki::{self, Uki, UkiError};
use crate::image::verity::{self, Extent, VerityError};
use crate::io::file::{self, at, FileError};
use crate::model::machine::PartitionSizes;
use osbuild_format::gpt::{self, GptError, Layout, Partition, SECTOR_BYTES};
use std::fs::File;
use std::io::{Cursor, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

const LIMIT_ESP_BYTES: u64 = PartitionSizes::ESP_MOST_BYTES;
const CHUNK_BYTES: usize = 1 << 20;
const LABELS: [&str; 7] = ["esp-a", "esp-b", "root-a", "root-b", "verity-a", "verity-b", "data"];
const BOOT_FILES: [&str; 2] = ["EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/BOOTAA64.EFI"];

/// What was checked, a line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub lines: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("{part} is not sound")]
pub struct VerifyError {
    /// `esp-a`, `the manifest`, `kernel.config`.
    pub part: String,
    #[source]
    pub source: Unsound,
}

/// What is wrong with a part.
#[derive(Debug, thiserror::Error)]
pub enum Unsound {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Gpt(#[from] GptError),
    #[error(transparent)]
    Esp(#[from] EspError),
    #[error(transparent)]
    Uki(#[from] UkiError),
    #[error(transparent)]
    Authenticode(#[from] AuthenticodeError),
    #[error(transparent)]
    Verity(#[from] VerityError),
    #[error(transparent)]
    Dsse(#[from] DsseError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("{0}")]
    Other(String),
}

fn in_part<E: Into<Unsound>>(part: &str) -> impl FnOnce(E) -> VerifyError + '_ {
    move |source| VerifyError { part: part.to_owned(), source: source.into() }
}

fn unsound(part: &str, reason: impl Into<String>) -> VerifyError {
    VerifyError { part: part.to_owned(), source: Unsound::Other(reason.into()) }
}

/// Checks the manifest, every file it names, and the disk.
pub fn folder(folder: &Path, keys: &PublicKeys) -> Result<Report, VerifyError> {
    let part = "the manifest";
    plain_file_bytes(&folder.join(MANIFEST), part)?;
    let envelope = file::read(&folder.join(MANIFEST), dsse::LIMIT_BYTES as u64).map_err(in_part(part))?;
    let payload = dsse::verify(&envelope, PAYLOAD_TYPE, &keys.release, &keys.key_id()).map_err(in_part(part))?;
    let statement = Statement::parse(&payload).map_err(in_part(part))?;
    let files = statement.files().map_err(in_part(part))?;
    let (product, version) = (&statement.predicate.product, &statement.predicate.version);
    let mut report = Report { lines: vec![format!("manifest of {product} {version}, signed by {}", keys.key_id())] };
    for (name, sha256) in &files {
        let path = folder.join(name);
        let bytes = plain_file_bytes(&path, name)?;
        if statement.predicate.size_bytes.get(*name) != Some(&bytes) {
            return Err(unsound(name, format!("it has {bytes} bytes, which is not what the manifest says")));
        }
        let found = digest_of(&path).map_err(in_part(name))?;
        if found.hex() != *sha256 {
            return Err(unsound(name, format!("its SHA-256 is {}, the manifest says {sha256}", found.hex())));
        }
    }
    report.lines.push(format!("{} files as the manifest says", files.len()));
    for needed in [DISK_IMAGE, DATA] {
        if !files.contains_key(needed) {
            return Err(unsound(part, format!("it does not name `{needed}`")));
        }
    }
    let (disk_report, root_hash) = disk(&folder.join(DISK_IMAGE), keys)?;
    if hex::encode(root_hash) != statement.predicate.root_hash {
        return Err(unsound(DISK_IMAGE, "its root hash is not the manifest's"));
    }
    report.lines.extend(disk_report.lines);
    Ok(report)
}

/// The size of a file that must be a plain one: a pipe or a device in its place, or a symlink to one, would keep the
/// check waiting for ever.
fn plain_file_bytes(path: &Path, part: &str) -> Result<u64, VerifyError> {
    let found = std::fs::symlink_metadata(path).map_err(at("look at", path)).map_err(in_part(part))?;
    match found.is_file() {
        true => Ok(found.len()),
        false => Err(unsound(part, "it is not a plain file")),
    }
}

/// Checks a disk: its tables, both slots, and that nothing lies between them. The data partition is the device's
/// own and is not covered. Also returns the root hash of slot A.
pub fn disk(path: &Path, keys: &PublicKeys) -> Result<(Report, [u8; 32]), VerifyError> {
    let part = "the disk";
    let kind = std::fs::metadata(path).map_err(at("look at", path)).map_err(in_part(part))?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Err(unsound(part, "it is neither a plain file nor a disk"));
    }
    let mut file = file::open(path).map_err(in_part(part))?;
    // A disk's metadata does not tell its size.
    let bytes = file.seek(SeekFrom::End(0)).map_err(at("look at", path)).map_err(in_part(part))?;
    let disk = DiskReader { file: &file, path, bytes };
    let layout = disk.table()?;
    let mut report = Report { lines: vec!["both partition tables".to_owned()] };
    let mut root_hash = None;
    for letter in ["a", "b"] {
        let partition = |kind: &str| {
            let label = format!("{kind}-{letter}");
            layout
                .partitions
                .iter()
                .find(|p| p.name == label)
                .ok_or_else(|| unsound(part, format!("it has no `{label}`")))
        };
        let (esp, root, verity) = (partition("esp")?, partition("root")?, partition("verity")?);
        if letter == "b" && disk.is_empty(&[esp, root, verity])? {
            report.lines.push("slot b is empty".to_owned());
            continue;
        }
        let facts = disk.slot(esp, root, verity, keys)?;
        report
            .lines
            .push(format!("slot {letter}: FAT, signature, command line, root {}", hex::encode(facts.root_hash)));
        root_hash.get_or_insert(facts.root_hash);
    }
    report.lines.push("not covered: data, which is the device's own".to_owned());
    root_hash.map(|hash| (report, hash)).ok_or_else(|| unsound(part, "it has no slot"))
}

struct DiskReader<'a> {
    file: &'a File,
    path: &'a Path,
    bytes: u64,
}

impl DiskReader<'_> {
    fn read(&self, start: u64, length: usize, part: &str) -> Result<Vec<u8>, VerifyError> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start).map_err(at("read", self.path)).map_err(in_part(part))?;
        Ok(bytes)
    }

    /// Both tables, and zeros in the gaps around the partitions.
    fn table(&self) -> Result<Layout, VerifyError> {
        let part = "the partition table";
        let least = (gpt::START_BYTES + gpt::END_BYTES) as u64;
        if !self.bytes.is_multiple_of(SECTOR_BYTES) || self.bytes < least {
            return Err(unsound(part, format!("the disk has {} bytes, which is no disk's size", self.bytes)));
        }
        let end_start = self.bytes - gpt::END_BYTES as u64;
        let start = self.read(0, gpt::START_BYTES, part)?;
        let end = self.read(end_start, gpt::END_BYTES, part)?;
        let layout = gpt::parse_exact(&start, &end, self.bytes / SECTOR_BYTES).map_err(in_part(part))?;
        let names: Vec<&str> = layout.partitions.iter().map(|partition| partition.name.as_str()).collect();
        if names != LABELS {
            return Err(unsound(part, format!("its partitions are {}, not {}", names.join(" "), LABELS.join(" "))));
        }
        let mut last = gpt::START_BYTES as u64;
        for partition in &layout.partitions {
            self.zeros(last, partition.start_bytes(), "the gap between partitions")?;
            last = partition.start_bytes() + partition.size_bytes();
        }
        self.zeros(last, end_start, "the gap behind the partitions")?;
        Ok(layout)
    }

    fn zeros(&self, from: u64, to: u64, part: &str) -> Result<(), VerifyError> {
        match self.first_set(from, to, part)? {
            None => Ok(()),
            Some(offset) => Err(unsound(part, format!("byte {offset} of the disk should be zero"))),
        }
    }

    fn first_set(&self, from: u64, to: u64, part: &str) -> Result<Option<u64>, VerifyError> {
        let mut at = from;
        while at < to {
            let length = CHUNK_BYTES.min(usize::try_from(to - at).unwrap_or(CHUNK_BYTES));
            if let Some(index) = self.read(at, length, part)?.iter().position(|byte| *byte != 0) {
                return Ok(Some(at + index as u64));
            }
            at += length as u64;
        }
        Ok(None)
    }

    fn is_empty(&self, partitions: &[&Partition]) -> Result<bool, VerifyError> {
        for partition in partitions {
            let (start, end) = (partition.start_bytes(), partition.start_bytes() + partition.size_bytes());
            if self.first_set(start, end, &partition.name)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn slot(
        &self,
        esp: &Partition,
        root: &Partition,
        hashes: &Partition,
        keys: &PublicKeys,
    ) -> Result<Uki, VerifyError> {
        let facts = self.esp(esp, keys)?;
        let extent = |p: &Partition| Extent { file: self.file, start: p.start_bytes(), bytes: p.size_bytes() };
        let tree_bytes = verity::check(extent(root), extent(hashes), &facts.root_hash).map_err(|error| {
            let part = match error {
                VerityError::Tree(_) | VerityError::Superblock(_) | VerityError::Uuid => &hashes.name,
                _ => &root.name,
            };
            VerifyError { part: part.clone(), source: error.into() }
        })?;
        let data_bytes = self.data_bytes(hashes)?;
        self.zeros(root.start_bytes() + data_bytes, root.start_bytes() + root.size_bytes(), &root.name)?;
        self.zeros(hashes.start_bytes() + tree_bytes, hashes.start_bytes() + hashes.size_bytes(), &hashes.name)?;
        Ok(facts)
    }

    /// What the checked superblock says that the tree covers.
    fn data_bytes(&self, hashes: &Partition) -> Result<u64, VerifyError> {
        let superblock = self.read(hashes.start_bytes(), osbuild_format::verity::SUPERBLOCK_BYTES, &hashes.name)?;
        let superblock = osbuild_format::verity::Superblock::parse(&superblock);
        let superblock = superblock.map_err(|error| unsound(&hashes.name, error.to_string()))?;
        Ok(superblock.data_blocks * u64::from(osbuild_format::verity::BLOCK_BYTES))
    }

    /// The UKI, when the partition is what our writer makes of it and a trusted key signed it.
    fn esp(&self, partition: &Partition, keys: &PublicKeys) -> Result<Uki, VerifyError> {
        let part = partition.name.as_str();
        let size = partition.size_bytes();
        if size > LIMIT_ESP_BYTES {
            return Err(unsound(part, format!("it has {size} bytes, more than {LIMIT_ESP_BYTES}")));
        }
        let image = self.read(partition.start_bytes(), size as usize, part)?;
        let mut found = Err(unsound(part, "it holds no boot file"));
        for name in BOOT_FILES {
            match esp::read(&image, name, size) {
                Ok(uki) => found = Ok((name, uki)),
                Err(error) if found.is_err() => found = Err(in_part(part)(error)),
                Err(_) => {}
            }
            if found.is_ok() {
                break;
            }
        }
        let (name, uki) = found?;
        authenticode::verify(&uki, &[&keys.signature_db]).map_err(in_part(part))?;
        let facts = uki::read(&uki).map_err(in_part(part))?;
        let mut expected = vec![0; size as usize];
        esp::write(Cursor::new(&mut expected[..]), size, esp::volume_id(&facts.root_hash), &[(name, &uki)])
            .map_err(in_part(part))?;
        match image.iter().zip(&expected).position(|(a, b)| a != b) {
            None => Ok(facts),
            Some(offset) => Err(unsound(part, format!("byte {offset} is not what its one file makes it"))),
        }
    }
}

//! An image folder or a disk, and public keys, in; what was checked, or the first part that is not sound, out.
//!
//! Offline, from public keys alone. Invariant: memory is bounded whatever the image says; every byte of the parts
//! that are covered is read, so one flipped bit is found and its part is named.

mod disk;
mod slot;

pub use disk::{disk, Leftovers};

use super::image::{digest_of, DATA, MANIFEST};
use super::keys::PublicKeys;
use super::manifest::{ManifestError, Predicate, Statement, PAYLOAD_TYPE};
use crate::disk::{DiskError, DISK_IMAGE};
use crate::image::authenticode::AuthenticodeError;
use crate::image::esp::EspError;
use crate::image::uki::UkiError;
use crate::image::verity::VerityError;
use crate::io::file::{self, at, FileError};
use crate::model::machine::PartitionSizes;
use crate::tree::release::os_release_text;
use osbuild_format::dsse::{self, DsseError};
use osbuild_format::gpt::GptError;
use slot::Slot;
use std::collections::BTreeMap;
use std::path::Path;

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
    Disk(#[from] DiskError),
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

/// The manifest of an image folder, when the release key signed it.
pub fn manifest(folder: &Path, keys: &PublicKeys) -> Result<Statement, VerifyError> {
    let part = "the manifest";
    plain_file_bytes(&folder.join(MANIFEST), part)?;
    let envelope = file::read(&folder.join(MANIFEST), dsse::LIMIT_BYTES as u64).map_err(in_part(part))?;
    let payload = dsse::verify(&envelope, PAYLOAD_TYPE, &keys.release, &keys.key_id()).map_err(in_part(part))?;
    Statement::parse(&payload).map_err(in_part(part))
}

/// Checks the manifest, that the folder holds the files it names and no others, each of them, and the disk, which
/// must be what the manifest says of it. `production`: neither the keys nor the product may be a developer's.
pub fn folder(folder: &Path, keys: &PublicKeys, production: bool) -> Result<Report, VerifyError> {
    let part = "the manifest";
    let statement = manifest(folder, keys)?;
    let files = statement.files().map_err(in_part(part))?;
    let predicate = &statement.predicate;
    if production && (predicate.keys != "production" || !predicate.production) {
        return Err(unsound(part, "it speaks of a developer's image, which is not to be shipped"));
    }
    let (product, version) = (&predicate.product, &predicate.version);
    let mut report = Report { lines: vec![format!("manifest of {product} {version}, signed by {}", keys.key_id())] };
    for needed in [DISK_IMAGE, DATA] {
        if !files.contains_key(needed) {
            return Err(unsound(part, format!("it does not name `{needed}`")));
        }
    }
    check_files(folder, &files, predicate)?;
    report.lines.push(format!("{} files as the manifest says, and no others", files.len()));
    let checked = disk(&folder.join(DISK_IMAGE), keys, Leftovers::Refused)?;
    check_disk(&checked, predicate)?;
    report.lines.extend(checked.report.lines);
    Ok(report)
}

fn check_files(folder: &Path, files: &BTreeMap<&str, &str>, predicate: &Predicate) -> Result<(), VerifyError> {
    for name in file::list(folder).map_err(in_part("the folder"))? {
        if name != MANIFEST && !files.contains_key(name.as_str()) {
            return Err(unsound(&name, "the manifest does not name it"));
        }
    }
    for (name, sha256) in files {
        let path = folder.join(name);
        let bytes = plain_file_bytes(&path, name)?;
        if predicate.size_bytes.get(*name) != Some(&bytes) {
            return Err(unsound(name, format!("it has {bytes} bytes, which is not what the manifest says")));
        }
        let found = digest_of(&path).map_err(in_part(name))?;
        if found.hex() != *sha256 {
            return Err(unsound(name, format!("its SHA-256 is {}, the manifest says {sha256}", found.hex())));
        }
    }
    Ok(())
}

/// Whether the disk's table and the image in its first slot are those that the manifest describes.
fn check_disk(checked: &disk::Checked, predicate: &Predicate) -> Result<(), VerifyError> {
    let slot = &checked.first;
    let says = |what: &str, found: String, wanted: &str| match found == wanted {
        true => Ok(()),
        false => Err(unsound(DISK_IMAGE, format!("its {what} is `{found}`, the manifest says `{wanted}`"))),
    };
    says("root hash", hex::encode(slot.uki.root_hash), &predicate.root_hash)?;
    says("command line", slot.uki.command_line.clone(), &predicate.command_line)?;
    says("architecture", slot.architecture.gnu_cpu().to_owned(), &predicate.architecture)?;
    for (name, value) in os_release_text(&predicate.product, &predicate.version, &predicate.machine) {
        says(&format!("os-release `{name}`"), slot.os_release(name), &value)?;
    }
    let wanted = expected_layout(slot, predicate)?;
    match checked.layout == wanted {
        true => Ok(()),
        false => Err(unsound("the partition table", "it is not the one that belongs to this image")),
    }
}

fn expected_layout(slot: &Slot, predicate: &Predicate) -> Result<osbuild_format::gpt::Layout, VerifyError> {
    let part = "the manifest";
    let size = |label: &str| {
        let bytes = predicate.partition_bytes.get(label).copied();
        bytes.ok_or_else(|| unsound(part, format!("it gives `{label}` no size")))
    };
    let sizes = PartitionSizes {
        esp_bytes: size("esp-a")?,
        root_bytes: size("root-a")?,
        verity_bytes: size("verity-a")?,
        data_bytes: size("data")?,
    };
    let disk = crate::disk::standard(&predicate.product, &slot.uki.root_hash, slot.architecture, &sizes, None);
    Ok(crate::disk::layout(&disk).map_err(in_part(part))?.0)
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

//! The partitions of one slot in; what its signed kernel says of itself, checked against them, out.
//!
//! Invariant: nothing of a slot is used before the signature of its kernel holds, and the root is read as far as that
//! kernel says, not as far as the slot does.

use super::disk::DiskReader;
use super::{in_part, unsound, VerifyError};
use crate::image::authenticode;
use crate::image::esp;
use crate::image::uki::{self, Uki};
use crate::image::verity::{self, Extent, VerityError};
use crate::model::machine::{Architecture, PartitionSizes};
use crate::release::image::boot_file;
use crate::release::keys::PublicKeys;
use osbuild_format::gpt::Partition;
use osbuild_format::verity::BLOCK_BYTES;
use std::fmt;
use std::io::Cursor;

const LIMIT_ESP_BYTES: u64 = PartitionSizes::ESP_MOST_BYTES;
const ARCHITECTURES: [Architecture; 2] = [Architecture::X86_64, Architecture::Aarch64];

/// A slot that is sound.
#[derive(Debug)]
pub struct Slot {
    pub uki: Uki,
    pub architecture: Architecture,
}

/// `gateway 1.0, root 0123...`
impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (id, version) = (self.os_release("IMAGE_ID"), self.os_release("IMAGE_VERSION"));
        write!(f, "{id} {version}, root {}", hex::encode(self.uki.root_hash))
    }
}

impl Slot {
    pub(super) fn check(
        disk: &DiskReader,
        esp: &Partition,
        root: &Partition,
        hashes: &Partition,
        keys: &PublicKeys,
    ) -> Result<Slot, VerifyError> {
        let slot = boot_partition(disk, esp, keys)?;
        let extent = |p: &Partition| Extent { file: disk.file, start: p.start_bytes(), bytes: p.size_bytes() };
        let (root_hash, blocks) = (&slot.uki.root_hash, slot.uki.root_blocks);
        let tree_bytes = verity::check(extent(root), extent(hashes), root_hash, blocks).map_err(|error| {
            let part = match error {
                VerityError::Tree(_) | VerityError::Superblock(_) | VerityError::Uuid | VerityError::Blocks { .. } => {
                    &hashes.name
                }
                _ => &root.name,
            };
            VerifyError { part: part.clone(), source: error.into() }
        })?;
        // No overflow: the check above read as many.
        let data_bytes = blocks * u64::from(BLOCK_BYTES);
        for (partition, used_bytes) in [(root, data_bytes), (hashes, tree_bytes)] {
            let (start, end) = (partition.start_bytes(), partition.start_bytes() + partition.size_bytes());
            disk.zeros(start + used_bytes, end, &partition.name)?;
        }
        Ok(slot)
    }

    /// A value of the image's os-release, or nothing.
    pub fn os_release(&self, name: &str) -> String {
        self.uki.os_release_value(name).unwrap_or_default().to_owned()
    }
}

/// The UKI, when the partition is what our writer makes of it and a trusted key signed it.
fn boot_partition(disk: &DiskReader, partition: &Partition, keys: &PublicKeys) -> Result<Slot, VerifyError> {
    let part = partition.name.as_str();
    let size = partition.size_bytes();
    if size > LIMIT_ESP_BYTES {
        return Err(unsound(part, format!("it has {size} bytes, more than {LIMIT_ESP_BYTES}")));
    }
    let image = disk.read(partition.start_bytes(), size as usize, part)?;
    let mut found = Err(unsound(part, "it holds no boot file"));
    for architecture in ARCHITECTURES {
        match esp::read(&image, &boot_file(architecture), size) {
            Ok(uki) => found = Ok((architecture, uki)),
            Err(error) if found.is_err() => found = Err(in_part(part)(error)),
            Err(_) => {}
        }
        if found.is_ok() {
            break;
        }
    }
    let (architecture, program) = found?;
    authenticode::verify(&program, &[&keys.signature_db]).map_err(in_part(part))?;
    let uki = uki::read(&program).map_err(in_part(part))?;
    let mut expected = vec![0; size as usize];
    let (volume_id, name) = (esp::volume_id(&uki.root_hash), boot_file(architecture));
    esp::write(Cursor::new(&mut expected[..]), size, volume_id, &[(&name, &program)]).map_err(in_part(part))?;
    match image.iter().zip(&expected).position(|(a, b)| a != b) {
        None => Ok(Slot { uki, architecture }),
        Some(offset) => Err(unsound(part, format!("byte {offset} is not what its one file makes it"))),
    }
}

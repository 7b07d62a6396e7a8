//! Parts and their sizes in, the partition table out.
//!
//! Invariant: every partition starts and ends on a multiple of 1 MiB, in the order of the parts, and the
//! table needs 1 MiB at either end.

use super::{DiskError, ALIGNMENT_BYTES};
use crate::model::machine::{Architecture, PartitionSizes};
use crate::model::Digest;
use crate::tree::size::SlotUse;
use osbuild_format::gpt::{attributes, types, Guid, Layout, Partition, SECTOR_BYTES};
use std::path::PathBuf;

/// A disk to assemble.
#[derive(Clone, Debug)]
pub struct Disk {
    /// With `identity` and its label it gives each partition its GUID.
    pub product: String,
    /// What tells this disk from other releases of the product, such as the root hash: never a signature.
    pub identity: Vec<u8>,
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug)]
pub struct Part {
    /// The partition's name.
    pub label: String,
    pub type_guid: Guid,
    pub attributes: u64,
    pub size_bytes: u64,
    /// None: the partition is left empty.
    pub content: Option<Payload>,
}

/// A file of the host whose bytes fill the start of a partition.
#[derive(Clone, Debug)]
pub struct Payload {
    pub path: PathBuf,
    /// Checked while the file is copied.
    pub digest: Digest,
}

/// What fills slot A and the data partition.
#[derive(Clone, Debug)]
pub struct SlotContents {
    pub esp: Payload,
    pub root: Payload,
    pub verity: Payload,
    pub data: Payload,
}

/// The seven partitions of every device: both slots, A filled, and the data behind them.
pub fn standard(
    product: &str,
    identity: &[u8],
    architecture: Architecture,
    sizes: &PartitionSizes,
    contents: SlotContents,
) -> Disk {
    let (root_type, verity_type) = match architecture {
        Architecture::X86_64 => (types::ROOT_X86_64, types::ROOT_VERITY_X86_64),
        Architecture::Aarch64 => (types::ROOT_AARCH64, types::ROOT_VERITY_AARCH64),
    };
    // The initramfs opens the root of the slot that was booted; nothing may mount one by its type.
    let sealed = attributes::READ_ONLY | attributes::NO_AUTO;
    let part = |label: &str, type_guid, attributes, size_bytes, content| Part {
        label: label.to_owned(),
        type_guid,
        attributes,
        size_bytes,
        content,
    };
    let parts = vec![
        part("esp-a", types::ESP, 0, sizes.esp_bytes, Some(contents.esp)),
        part("esp-b", types::ESP, 0, sizes.esp_bytes, None),
        part("root-a", root_type, sealed, sizes.root_bytes, Some(contents.root)),
        part("root-b", root_type, sealed, sizes.root_bytes, None),
        part("verity-a", verity_type, sealed, sizes.verity_bytes, Some(contents.verity)),
        part("verity-b", verity_type, sealed, sizes.verity_bytes, None),
        part(
            "data",
            types::LINUX_GENERIC,
            attributes::GROW | attributes::NO_AUTO,
            sizes.data_bytes,
            Some(contents.data),
        ),
    ];
    Disk { product: product.to_owned(), identity: identity.to_owned(), parts }
}

impl Disk {
    /// How full each partition is.
    pub fn slots(&self) -> Vec<SlotUse> {
        let slot = |part: &Part| SlotUse {
            name: part.label.clone(),
            size_bytes: part.size_bytes,
            used_bytes: part.content.as_ref().map_or(0, |payload| payload.digest.size_bytes),
        };
        self.parts.iter().map(slot).collect()
    }
}

/// The table of `disk` and the disk's size in sectors.
pub fn layout(disk: &Disk) -> Result<(Layout, u64), DiskError> {
    let slots = disk.slots();
    if slots.iter().any(|slot| slot.used_bytes > slot.size_bytes) {
        return Err(DiskError::Overflow(slots));
    }
    let guid = |label: &str| Guid::derive(&disk.product, label, &disk.identity);
    let mut start_bytes = ALIGNMENT_BYTES;
    let mut partitions = Vec::new();
    for part in &disk.parts {
        let end_bytes = start_bytes.checked_add(part.size_bytes).filter(|end| *end <= i64::MAX as u64);
        let is_whole = part.size_bytes > 0 && part.size_bytes.is_multiple_of(ALIGNMENT_BYTES);
        let Some(end_bytes) = end_bytes.filter(|_| is_whole) else {
            return Err(DiskError::Size { label: part.label.clone(), size_bytes: part.size_bytes });
        };
        partitions.push(Partition {
            type_guid: part.type_guid,
            guid: guid(&part.label),
            name: part.label.clone(),
            first_lba: start_bytes / SECTOR_BYTES,
            last_lba: end_bytes / SECTOR_BYTES - 1,
            attributes: part.attributes,
        });
        start_bytes = end_bytes;
    }
    let layout = Layout { disk_guid: guid("disk"), partitions };
    Ok((layout, (start_bytes + ALIGNMENT_BYTES) / SECTOR_BYTES))
}

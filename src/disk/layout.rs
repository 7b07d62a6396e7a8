//! Parts and their sizes in, the partition table out.
//!
//! Invariant: every partition starts and ends on a multiple of 1 MiB, in the order of the parts, and the
//! table needs 1 MiB at either end.

use super::{DiskError, ALIGNMENT_BYTES};
use crate::model::machine::{Architecture, PartitionSizes};
use crate::model::Digest;
use crate::tree::size::SlotUse;
use osbuild_format::gpt::{attributes, types, Guid, Layout, Partition, SECTOR_BYTES};
use std::collections::BTreeMap;
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

/// The partitions of every device, in their order.
pub const LABELS: [&str; 7] = ["esp-a", "esp-b", "root-a", "root-b", "verity-a", "verity-b", "data"];

/// The type and the attributes of the partition of that name.
pub fn kind(label: &str, architecture: Architecture) -> Option<(Guid, u64)> {
    let (root_type, verity_type) = match architecture {
        Architecture::X86_64 => (types::ROOT_X86_64, types::ROOT_VERITY_X86_64),
        Architecture::Aarch64 => (types::ROOT_AARCH64, types::ROOT_VERITY_AARCH64),
    };
    // The initramfs opens the root of the slot that was booted; nothing may mount one by its type.
    let sealed = attributes::READ_ONLY | attributes::NO_AUTO;
    match label {
        "esp-a" | "esp-b" => Some((types::ESP, 0)),
        "root-a" | "root-b" => Some((root_type, sealed)),
        "verity-a" | "verity-b" => Some((verity_type, sealed)),
        "data" => Some((types::LINUX_GENERIC, attributes::GROW | attributes::NO_AUTO)),
        _ => None,
    }
}

/// The partitions of every device: both slots, A filled with `contents`, and the data behind them.
pub fn standard(
    product: &str,
    identity: &[u8],
    architecture: Architecture,
    sizes: &PartitionSizes,
    contents: Option<SlotContents>,
) -> Disk {
    let mut payloads = BTreeMap::new();
    if let Some(SlotContents { esp, root, verity, data }) = contents {
        payloads = BTreeMap::from([("esp-a", esp), ("root-a", root), ("verity-a", verity), ("data", data)]);
    }
    let part = |label: &str| {
        let (type_guid, attributes) = kind(label, architecture).expect("every label has a kind");
        let size_bytes = match label.split('-').next() {
            Some("esp") => sizes.esp_bytes,
            Some("root") => sizes.root_bytes,
            Some("verity") => sizes.verity_bytes,
            _ => sizes.data_bytes,
        };
        Part { label: label.to_owned(), type_guid, attributes, size_bytes, content: payloads.remove(label) }
    };
    Disk { product: product.to_owned(), identity: identity.to_owned(), parts: LABELS.map(part).into() }
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

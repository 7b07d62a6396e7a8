//! A layout in, text for people and golden tests out.
//!
//! Invariant: equal layouts give equal text, and different ones different text.

use super::{types, Guid, Layout};
use std::fmt::Write;

/// One line for the disk and one per partition; sectors of 512 bytes.
pub fn dump(layout: &Layout) -> String {
    let mut text = format!("disk {}\n", layout.disk_guid);
    for (index, p) in layout.partitions.iter().enumerate() {
        let kind = type_name(p.type_guid).map_or_else(|| p.type_guid.to_string(), str::to_owned);
        let (number, first, last, size) = (index + 1, p.first_lba, p.last_lba, p.size_bytes());
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{number} {:?} {kind} {} sectors {first}..={last} ({size} bytes) attributes {:016x}",
            p.name, p.guid, p.attributes
        );
    }
    text
}

fn type_name(guid: Guid) -> Option<&'static str> {
    let names = [
        (types::ESP, "esp"),
        (types::LINUX_GENERIC, "linux-generic"),
        (types::ROOT_X86_64, "root-x86-64"),
        (types::ROOT_VERITY_X86_64, "root-x86-64-verity"),
        (types::ROOT_AARCH64, "root-arm64"),
        (types::ROOT_VERITY_AARCH64, "root-arm64-verity"),
    ];
    names.iter().find(|(known, _)| *known == guid).map(|(_, name)| *name)
}

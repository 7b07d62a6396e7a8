//! An ELF file in an image in, a region for each of its sections out; of any other file, one for all of it.
//!
//! Source: System V Application Binary Interface, edition 4.1, "Sections". Invariant: what is not an ELF file that can
//! be read is a file.

use super::extent::Extents;
use super::{Draft, RegionKind};
use object::elf;
use object::read::elf::{FileHeader, SectionHeader};
use object::Endianness;
use std::ops::Range;

/// Twice what a kernel with a section for each function has would be none that is shipped.
const LIMIT_SECTIONS: usize = 4096;

struct Section {
    name: String,
    kind: RegionKind,
    /// In the file.
    bytes: Range<u64>,
    address: Option<u64>,
}

/// Adds the regions of the file at `path` to `draft`.
pub(super) fn sections(image: &[u8], path: &str, extents: &Extents, draft: &mut Draft) {
    let content = extents.content(image);
    let mut sections = content.as_deref().and_then(read).unwrap_or_default();
    sections.sort_by_key(|section| section.bytes.start);
    let mut at = 0;
    for section in sections {
        // Between sections there is little: the headers and what aligns them.
        draft.part(path, extents, at..section.bytes.start, RegionKind::File, None);
        let start = section.bytes.start.max(at);
        if start < section.bytes.end {
            let name = format!("{path}#{}", section.name);
            let address = section.address.map(|address| address.wrapping_add(start - section.bytes.start));
            draft.part(&name, extents, start..section.bytes.end, section.kind, address);
            at = section.bytes.end;
        }
    }
    draft.part(path, extents, at..extents.size_bytes(), RegionKind::File, None);
}

fn read(bytes: &[u8]) -> Option<Vec<Section>> {
    if bytes.get(..4) != Some(&elf::ELFMAG) {
        return None;
    }
    match bytes.get(4) {
        Some(&elf::ELFCLASS64) => table::<elf::FileHeader64<Endianness>>(bytes),
        Some(&elf::ELFCLASS32) => table::<elf::FileHeader32<Endianness>>(bytes),
        _ => None,
    }
}

fn table<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Option<Vec<Section>> {
    let header = H::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    let table = header.sections(endian, bytes).ok()?;
    let mut sections = Vec::new();
    for section in table.iter().take(LIMIT_SECTIONS) {
        let Some((offset, size)) = section.file_range(endian) else { continue };
        let Some(end) = offset.checked_add(size).filter(|end| *end <= bytes.len() as u64 && size > 0) else { continue };
        let flags: u64 = section.sh_flags(endian).into();
        let kind = kind(section.sh_type(endian), flags);
        let name = table.section_name(endian, section).unwrap_or_default();
        let address: u64 = section.sh_addr(endian).into();
        sections.push(Section {
            name: String::from_utf8_lossy(name).into_owned(),
            kind,
            bytes: offset..end,
            address: (flags & u64::from(elf::SHF_ALLOC) != 0).then_some(address),
        });
    }
    Some(sections)
}

fn kind(section_type: u32, flags: u64) -> RegionKind {
    let has = |flag: u32| flags & u64::from(flag) != 0;
    match section_type {
        elf::SHT_RELA | elf::SHT_REL | elf::SHT_RELR => RegionKind::Relocations,
        elf::SHT_SYMTAB | elf::SHT_DYNSYM | elf::SHT_STRTAB | elf::SHT_HASH | elf::SHT_GNU_HASH => RegionKind::Symbols,
        elf::SHT_GNU_VERSYM | elf::SHT_GNU_VERNEED | elf::SHT_GNU_VERDEF => RegionKind::Symbols,
        elf::SHT_DYNAMIC => RegionKind::Dynamic,
        _ if has(elf::SHF_EXECINSTR) => RegionKind::Code,
        _ if has(elf::SHF_WRITE) => RegionKind::Data,
        _ if has(elf::SHF_ALLOC) => RegionKind::ReadOnly,
        _ => RegionKind::File,
    }
}

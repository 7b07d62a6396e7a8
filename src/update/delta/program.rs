//! Bytes of an image to the parts of the x86-64 programs in it: what they hold, and at which addresses.
//!
//! The guide knows the sections of the files in a root and of the kernel in an ESP; an image that it cannot read is searched for
//! headers. Invariant: parts lie in the image, in order and without overlap. What is found only guides the generator: a
//! program that is missed or misread makes a delta larger, never wrong.

use super::names::Name;
use crate::update::guide::{Guide, Region, RegionKind};
use osbuild_format::payload::ImageName;
use std::collections::BTreeMap;
use std::ops::Range;

/// ELF64, `Elf64_Rela`.
pub const RELOCATION_BYTES: usize = 24;
const MAGIC: &[u8] = b"\x7fELF\x02\x01\x01";
const HEADER_BYTES: usize = 64;
const LOAD_BYTES: usize = 56;
const X86_64: u16 = 62;
/// Of images: files begin at blocks, the kernel at a section of the UKI.
const ALIGNMENT: usize = 512;
/// Of the root's file system.
const BLOCK: usize = 4096;
const LIMIT_LOADS: usize = 64;
/// A kernel is linked to addresses from here on; what it has below (variables of each processor) are none of its own.
const HIGH: u64 = 1 << 63;

/// How the bytes of a part hold addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Code,
    /// Words of 64 bits among other things.
    Words,
    /// Nothing but 32-bit distances from where they are; so many in a row.
    Distances(usize),
    /// `.eh_frame_hdr`: pairs of 32-bit distances from its start.
    Table,
    /// `.eh_frame`.
    Unwind,
    /// Of a module of the kernel: places in its code, symbols and what to add.
    Relocations,
    /// Nothing but 32-bit addresses.
    Addresses,
    /// BTF: 32-bit numbers of types, and places of names.
    Ids,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// In the image.
    pub place: Range<usize>,
    /// Where its first byte is loaded.
    pub address: u64,
    /// Where the section begins that it is of.
    pub origin: u64,
    pub program: usize,
    pub content: Content,
    /// Others refer to it by its addresses.
    pub referred: bool,
}

/// Of one image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Programs {
    pub parts: Vec<Part>,
    /// Of each program, from its first to its last address, with what has no bytes.
    pub addresses: Vec<Range<u64>>,
    /// What the guide knows by name.
    pub names: Vec<Name>,
}

impl Programs {
    pub fn find(image: &[u8], name: ImageName) -> Self {
        let guide = match name {
            ImageName::Root => Guide::of_root(image),
            ImageName::Esp => Guide::of_esp(image),
        };
        match guide {
            Ok(guide) => of_regions(image, &guide.regions),
            Err(_) => search(image),
        }
    }

    pub fn at(&self, place: usize) -> Option<&Part> {
        let after = self.parts.partition_point(|part| part.place.start <= place);
        self.parts[..after].last().filter(|part| part.place.contains(&place))
    }

    /// The first place after `place` where a part begins or ends.
    pub fn boundary(&self, place: usize) -> usize {
        let next = &self.parts[self.parts.partition_point(|part| part.place.end <= place)..];
        match next.first() {
            Some(part) if part.place.start > place => part.place.start,
            Some(part) => part.place.end,
            None => usize::MAX,
        }
    }
}

struct Header {
    program: usize,
    /// A module of the kernel: its sections have no addresses yet.
    relocatable: bool,
}

fn of_regions(image: &[u8], regions: &[Region]) -> Programs {
    let names = regions.iter().map(|region| (region.name.clone(), place(region))).collect();
    let mut programs = Programs { names, ..Programs::default() };
    let mut headers: BTreeMap<&str, Header> = BTreeMap::new();
    for region in regions.iter().filter(|region| region.kind == RegionKind::File) {
        let bytes = &image[place(region)];
        let known = headers.contains_key(&region.name[..]);
        if let Some((relocatable, addresses)) = header(bytes).filter(|_| !known) {
            headers.insert(&region.name, Header { program: programs.addresses.len(), relocatable });
            programs.addresses.push(addresses);
        }
    }
    // Of a module, the place of its code; of any section, its first address.
    let (mut codes, mut origins) = (BTreeMap::new(), BTreeMap::new());
    for region in regions {
        let Some((path, section)) = region.name.rsplit_once('#') else { continue };
        let Some(Header { program, relocatable }) = headers.get(path) else { continue };
        if *relocatable && section == ".text" {
            codes.entry(*program).or_insert(region.offset);
            programs.addresses[*program].end = programs.addresses[*program].end.max(region.length);
        }
        if let Some(address) = region.address {
            let origin = origins.entry(&region.name[..]).or_insert(address);
            *origin = address.min(*origin);
        }
    }
    // Of a section without an address, what of it lies before.
    let mut before: BTreeMap<&str, u64> = BTreeMap::new();
    for region in regions {
        let (section, header) = match (headers.get(&region.name[..]), region.name.rsplit_once('#')) {
            // Behind the sections of a kernel: which of its words are addresses.
            (Some(header), _) => (None, Some(header)),
            (None, Some((path, section))) => (Some(section), headers.get(path)),
            (None, None) => (None, None),
        };
        let Some(Header { program, relocatable }) = header else { continue };
        let addresses = &programs.addresses[*program];
        let high = addresses.start >= HIGH;
        let (address, content) = match (section, relocatable) {
            (Some(section), true) => {
                let code = codes.get(program).copied().unwrap_or(region.offset);
                let Some(content) = of_module(section, region.kind) else { continue };
                match content {
                    Content::Relocations | Content::Ids => {
                        let before = before.entry(&region.name[..]).or_default();
                        *before += region.length;
                        (*before - region.length, content)
                    }
                    _ => (region.offset.wrapping_sub(code), content),
                }
            }
            (Some(section), false) => {
                let Some(address) = region.address.filter(|address| !high || *address >= HIGH) else { continue };
                (address, content(section, region.kind))
            }
            (None, false) if high && !image[place(region)].starts_with(MAGIC) => (0, Content::Addresses),
            (None, _) => continue,
        };
        let origin = origins.get(&region.name[..]).copied().unwrap_or(address);
        let referred = section.is_some_and(|section| !relocatable || section == ".text");
        programs.parts.push(Part { place: place(region), address, origin, program: *program, content, referred });
    }
    programs
}

fn place(region: &Region) -> Range<usize> {
    region.offset as usize..(region.offset + region.length) as usize
}

fn content(section: &str, kind: RegionKind) -> Content {
    match section {
        _ if kind == RegionKind::Code => Content::Code,
        ".eh_frame_hdr" => Content::Table,
        ".eh_frame" => Content::Unwind,
        ".orc_unwind_ip" | ".smp_locks" | ".retpoline_sites" | ".return_sites" | ".call_sites" | ".ibt_endbr_seal" => {
            Content::Distances(1)
        }
        ".BTF" => Content::Ids,
        "__ksymtab" | "__ksymtab_gpl" | "__ex_table" => Content::Distances(3),
        _ => Content::Words,
    }
}

fn of_module(section: &str, kind: RegionKind) -> Option<Content> {
    match kind {
        RegionKind::Code => Some(Content::Code),
        RegionKind::Relocations => Some(Content::Relocations),
        _ if section == ".symtab" => Some(Content::Words),
        _ if section == ".BTF" => Some(Content::Ids),
        _ => None,
    }
}

/// Whether the program is relocatable, and its addresses.
fn header(bytes: &[u8]) -> Option<(bool, Range<u64>)> {
    let short = |at: usize| Some(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    if !bytes.starts_with(MAGIC) || short(18)? != X86_64 {
        return None;
    }
    let loads = loads(bytes)?;
    let high = loads.iter().any(|load| load.address >= HIGH);
    let loads = loads.iter().filter(|load| !high || load.address >= HIGH);
    let mut addresses = Range { start: u64::MAX, end: 0 };
    for load in loads {
        addresses.start = addresses.start.min(load.address);
        addresses.end = addresses.end.max(load.address.checked_add(load.size)?);
    }
    match short(16)? == 1 {
        true => Some((true, 0..0)),
        false => (addresses.start < addresses.end).then_some((false, addresses)),
    }
}

struct Load {
    /// In the file.
    bytes: Range<usize>,
    address: u64,
    size: u64,
    executable: bool,
}

/// What of the program, which begins where `bytes` do, is loaded.
fn loads(bytes: &[u8]) -> Option<Vec<Load>> {
    let head = bytes.get(..HEADER_BYTES)?;
    let number = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let short = |at: usize| usize::from(u16::from_le_bytes([head[at], head[at + 1]]));
    let (entry, count) = (short(54), short(56));
    if count > LIMIT_LOADS || (count > 0 && entry != LOAD_BYTES) {
        return None;
    }
    let table = usize::try_from(number(head, 32)).ok()?;
    let mut loads = Vec::new();
    for index in 0..count {
        let entry = bytes.get(table.checked_add(index * LOAD_BYTES)?..)?.get(..LOAD_BYTES)?;
        if entry[..4] != [1, 0, 0, 0] {
            continue;
        }
        let start = usize::try_from(number(entry, 8)).ok()?;
        let end = start.checked_add(usize::try_from(number(entry, 32)).ok()?)?;
        let (address, size, executable) = (number(entry, 16), number(entry, 40), entry[4] & 1 != 0);
        loads.push(Load { bytes: start..end, address, size, executable });
    }
    loads.sort_by_key(|load| load.bytes.start);
    Some(loads)
}

/// Parts of an image of which nothing is known, as the headers of programs in it say: each lies in one piece.
fn search(image: &[u8]) -> Programs {
    let mut programs = Programs::default();
    for at in (0..image.len()).step_by(ALIGNMENT).filter(|at| image[*at..].starts_with(MAGIC)) {
        let Some((false, addresses)) = header(&image[at..]) else { continue };
        let found = loads(&image[at..]).unwrap_or_default();
        let within =
            found.iter().filter(|load| load.bytes.start < load.bytes.end && load.bytes.end <= image.len() - at);
        let program = programs.addresses.len();
        let mut parts: Vec<Part> = Vec::new();
        for load in within {
            let content = if load.executable { Content::Code } else { Content::Words };
            let place = at + load.bytes.start..at + load.bytes.end;
            let (address, origin) = (load.address, load.address);
            parts.push(Part { place, address, origin, program, content, referred: true });
        }
        let apart = parts.windows(2).all(|pair| pair[0].place.end <= pair[1].place.start);
        let Some(start) = parts.first().map(|part| part.place.start).filter(|_| apart) else { continue };
        match programs.parts.last_mut() {
            // Of a file, what does not fill a block may lie elsewhere: the next file begins where it would be.
            Some(last) if last.place.end > start && last.place.end - start < BLOCK && last.place.start < start => {
                last.place.end = start;
            }
            Some(last) if last.place.end > start => continue,
            _ => {}
        }
        programs.addresses.push(addresses);
        programs.parts.append(&mut parts);
    }
    programs
}

//! PE32+ programs: bytes to headers and sections, and a program with more sections.
//!
//! Source: Microsoft's "PE Format", revision 2024. Invariant: every offset that is handed out lies inside
//! the bytes; no bytes make the reader panic or use more memory than their own size.

use std::ops::Range;

/// More is no boot loader, and keeps the section table small.
const LIMIT_SECTIONS: usize = 96;
const SECTION_HEADER_BYTES: usize = 40;
/// `IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ`.
const DATA_SECTION: u32 = 0x4000_0040;
const MAGIC_PE32_PLUS: u16 = 0x20b;
/// Offsets in the optional header.
const SECTION_ALIGNMENT: usize = 32;
const FILE_ALIGNMENT: usize = 36;
const SIZE_OF_IMAGE: usize = 56;
const SIZE_OF_HEADERS: usize = 60;
const CHECKSUM: usize = 64;
const DIRECTORY_COUNT: usize = 108;
const DIRECTORIES: usize = 112;
const CERTIFICATE_DIRECTORY: usize = DIRECTORIES + 4 * 8;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeError {
    #[error("not a PE32+ program: {0}")]
    NotPe(&'static str),
    #[error("the program is damaged: {0}")]
    Damaged(&'static str),
    #[error("the header has no room for {0} more sections")]
    NoRoom(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Without trailing zeros.
    pub name: String,
    pub virtual_address: u32,
    pub virtual_size: u32,
    /// Where its bytes lie in the file.
    pub raw: Range<usize>,
}

/// The headers of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pe {
    pub sections: Vec<Section>,
    /// Where the signatures lie in the file; empty without any.
    pub certificates: Range<usize>,
    /// Offset of the checksum field, which no signature covers.
    pub checksum: usize,
    /// Offset of the directory entry for signatures, which no signature covers.
    pub certificate_directory: usize,
    /// Where the headers end and the sections start.
    headers: usize,
    coff: usize,
    optional: usize,
    section_table: usize,
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, PeError> {
    let field = bytes.get(at..at.saturating_add(2)).ok_or(PeError::Damaged("it ends inside a header"))?;
    Ok(u16::from_le_bytes(field.try_into().expect("2 bytes")))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, PeError> {
    let field = bytes.get(at..at.saturating_add(4)).ok_or(PeError::Damaged("it ends inside a header"))?;
    Ok(u32::from_le_bytes(field.try_into().expect("4 bytes")))
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

impl Pe {
    pub fn parse(bytes: &[u8]) -> Result<Pe, PeError> {
        if bytes.get(..2) != Some(b"MZ") {
            return Err(PeError::NotPe("it does not start with `MZ`"));
        }
        let signature = u32_at(bytes, 0x3c)? as usize;
        if bytes.get(signature..signature.saturating_add(4)) != Some(b"PE\0\0") {
            return Err(PeError::NotPe("the PE signature is missing"));
        }
        let coff = signature + 4;
        let optional = coff + 20;
        if u16_at(bytes, optional)? != MAGIC_PE32_PLUS {
            return Err(PeError::NotPe("it has no PE32+ header"));
        }
        if u32_at(bytes, optional + DIRECTORY_COUNT)? < 5 {
            return Err(PeError::NotPe("it has no room for signatures"));
        }
        let section_table = optional + usize::from(u16_at(bytes, coff + 16)?);
        if section_table < optional + CERTIFICATE_DIRECTORY + 8 {
            return Err(PeError::Damaged("the optional header is too short"));
        }
        let count = usize::from(u16_at(bytes, coff + 2)?);
        if count > LIMIT_SECTIONS {
            return Err(PeError::Damaged("it has too many sections"));
        }
        let sections = (0..count)
            .map(|index| section(bytes, section_table + index * SECTION_HEADER_BYTES))
            .collect::<Result<_, _>>()?;
        let start = u32_at(bytes, optional + CERTIFICATE_DIRECTORY)? as usize;
        let length = u32_at(bytes, optional + CERTIFICATE_DIRECTORY + 4)? as usize;
        let certificates = if length == 0 { bytes.len()..bytes.len() } else { start..start.saturating_add(length) };
        if certificates.end > bytes.len() || certificates.start < section_table {
            return Err(PeError::Damaged("the signatures lie outside of the file"));
        }
        Ok(Pe {
            sections,
            certificates,
            checksum: optional + CHECKSUM,
            certificate_directory: optional + CERTIFICATE_DIRECTORY,
            headers: u32_at(bytes, optional + SIZE_OF_HEADERS)? as usize,
            coff,
            optional,
            section_table,
        })
    }

    /// Whether headers and sections follow each other without gap or overlap up to the signatures. Where they do
    /// not, the Authenticode digest depends on the order in which a reader takes them.
    pub fn check_gapless(&self) -> Result<(), PeError> {
        let mut ranges: Vec<_> = self.sections.iter().map(|section| &section.raw).filter(|r| !r.is_empty()).collect();
        ranges.sort_by_key(|range| range.start);
        let mut end = self.headers;
        for range in ranges {
            if range.start != end {
                return Err(PeError::Damaged("there is a gap or an overlap between its sections"));
            }
            end = range.end;
        }
        // Signatures start at the next multiple of 8.
        match self.certificates.start.checked_sub(end) {
            Some(0..8) => Ok(()),
            _ => Err(PeError::Damaged("there are bytes behind its sections, or too few")),
        }
    }

    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }
}

fn section(bytes: &[u8], at: usize) -> Result<Section, PeError> {
    let name = bytes.get(at..at + 8).ok_or(PeError::Damaged("it ends inside a header"))?;
    let name = String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
    let (virtual_size, virtual_address) = (u32_at(bytes, at + 8)?, u32_at(bytes, at + 12)?);
    let (length, start) = (u32_at(bytes, at + 16)? as usize, u32_at(bytes, at + 20)? as usize);
    let raw = if length == 0 { 0..0 } else { start..start.saturating_add(length) };
    if raw.end > bytes.len() {
        return Err(PeError::Damaged("a section lies outside of the file"));
    }
    Ok(Section { name, virtual_address, virtual_size, raw })
}

/// `program` with `sections` behind its own, each at the next free address.
pub fn append(program: &[u8], sections: &[(&str, &[u8])]) -> Result<Vec<u8>, PeError> {
    let pe = Pe::parse(program)?;
    let first_header = pe.section_table + pe.sections.len() * SECTION_HEADER_BYTES;
    let headers = pe.headers;
    if first_header + sections.len() * SECTION_HEADER_BYTES > headers || headers > program.len() {
        return Err(PeError::NoRoom(sections.len()));
    }
    let align_file = alignment(program, pe.optional + FILE_ALIGNMENT)?;
    let align_memory = alignment(program, pe.optional + SECTION_ALIGNMENT)?;
    // Symbols and old signatures behind the last section are not part of the new program.
    let end = pe.sections.iter().map(|section| section.raw.end).max().unwrap_or(headers).max(headers);
    let mut bytes = program[..end].to_vec();
    put_u32(&mut bytes, pe.coff + 8, 0);
    put_u32(&mut bytes, pe.coff + 12, 0);
    put_u32(&mut bytes, pe.checksum, 0);
    put_u32(&mut bytes, pe.certificate_directory, 0);
    put_u32(&mut bytes, pe.certificate_directory + 4, 0);
    let too_large = || PeError::Damaged("it would be larger than 4 GiB");
    let ends = pe.sections.iter().map(|s| s.virtual_address.checked_add(s.virtual_size).ok_or_else(too_large));
    let mut address = ends.collect::<Result<Vec<_>, _>>()?.into_iter().max().unwrap_or(0);
    for (index, (name, content)) in sections.iter().enumerate() {
        bytes.resize(bytes.len().next_multiple_of(align_file), 0);
        let start = u32::try_from(bytes.len()).map_err(|_| too_large())?;
        bytes.extend(*content);
        bytes.resize(bytes.len().next_multiple_of(align_file), 0);
        let raw_bytes = u32::try_from(bytes.len()).map_err(|_| too_large())? - start;
        address = address.checked_next_multiple_of(align_memory).ok_or_else(too_large)?;
        let size = content.len() as u32;
        let header = first_header + index * SECTION_HEADER_BYTES;
        bytes[header..header + SECTION_HEADER_BYTES].fill(0);
        bytes[header..header + name.len()].copy_from_slice(name.as_bytes());
        for (offset, value) in [(8, size), (12, address), (16, raw_bytes), (20, start), (36, DATA_SECTION)] {
            put_u32(&mut bytes, header + offset, value);
        }
        address = address.checked_add(size).ok_or_else(too_large)?;
    }
    let count = (pe.sections.len() + sections.len()) as u16;
    bytes[pe.coff + 2..pe.coff + 4].copy_from_slice(&count.to_le_bytes());
    let image = address.checked_next_multiple_of(align_memory).ok_or_else(too_large)?;
    put_u32(&mut bytes, pe.optional + SIZE_OF_IMAGE, image);
    Ok(bytes)
}

fn alignment<T: TryFrom<u32>>(bytes: &[u8], at: usize) -> Result<T, PeError> {
    let value = u32_at(bytes, at)?;
    let sane = value.is_power_of_two() && value <= 1 << 20;
    let value = if sane { T::try_from(value).ok() } else { None };
    value.ok_or(PeError::Damaged("its alignment is not a power of two"))
}

/// `program` with `certificates` (a WIN_CERTIFICATE list, padded to 8 bytes) at its end.
pub fn with_certificates(program: &[u8], certificates: &[u8]) -> Result<Vec<u8>, PeError> {
    let pe = Pe::parse(program)?;
    let mut bytes = program[..pe.certificates.start].to_vec();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let start = u32::try_from(bytes.len()).map_err(|_| PeError::Damaged("it is larger than 4 GiB"))?;
    put_u32(&mut bytes, pe.certificate_directory, start);
    put_u32(&mut bytes, pe.certificate_directory + 4, certificates.len() as u32);
    bytes.extend(certificates);
    Ok(bytes)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A program with headers, one section `.text` and nothing that could run.
    pub fn example() -> Vec<u8> {
        let mut bytes = vec![0; 0x400];
        bytes[..2].copy_from_slice(b"MZ");
        put_u32(&mut bytes, 0x3c, 0x40);
        bytes[0x40..0x44].copy_from_slice(b"PE\0\0");
        bytes[0x46] = 1;
        bytes[0x44 + 16] = 240;
        let optional = 0x58;
        bytes[optional..optional + 2].copy_from_slice(&MAGIC_PE32_PLUS.to_le_bytes());
        for (at, value) in
            [(SECTION_ALIGNMENT, 0x1000), (FILE_ALIGNMENT, 0x200), (SIZE_OF_HEADERS, 0x400), (DIRECTORY_COUNT, 16)]
        {
            put_u32(&mut bytes, optional + at, value);
        }
        let header = optional + 240;
        bytes[header..header + 5].copy_from_slice(b".text");
        for (offset, value) in [(8, 0x10), (12, 0x1000), (16, 0x200), (20, 0x400)] {
            put_u32(&mut bytes, header + offset, value);
        }
        bytes.resize(0x600, 0x90);
        bytes
    }

    #[test]
    fn appended_sections_are_read_back() {
        let bytes = append(&example(), &[(".cmdline", b"quiet"), (".linux", &[7; 5000])]).expect("appended");
        let pe = Pe::parse(&bytes).expect("parsed");
        let names: Vec<_> = pe.sections.iter().map(|section| section.name.as_str()).collect();
        assert_eq!(names, [".text", ".cmdline", ".linux"]);
        let linux = pe.section(".linux").expect("there");
        assert_eq!((linux.virtual_address, linux.virtual_size), (0x3000, 5000));
        assert_eq!(bytes[linux.raw.clone()][..5000], [7; 5000]);
        let many: Vec<(&str, &[u8])> = vec![(".x", b"x"); 90];
        assert_eq!(append(&example(), &many), Err(PeError::NoRoom(90)));
    }

    #[test]
    fn gaps_and_overlaps_between_sections_are_found() {
        let sound = append(&example(), &[(".x", &[1; 1000]), (".y", b"y")]).expect("appended");
        let gapless = |bytes: &[u8]| Pe::parse(bytes).and_then(|pe| pe.check_gapless());
        assert_eq!(gapless(&sound), Ok(()));
        assert!(gapless(&[&sound[..], &[0; 8]].concat()).is_err(), "bytes at the end");
        let header = 0x58 + 240 + SECTION_HEADER_BYTES;
        for (offset, value) in [(16, 0x200), (20, 0x400), (20, 0x800)] {
            let mut bytes = sound.clone();
            put_u32(&mut bytes, header + offset, value);
            assert!(gapless(&bytes).is_err(), "{offset} {value:#x}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0usize..0x200, value: u32, cut in 0usize..0x600, field in 0usize..4) {
            let mut bytes = example();
            put_u32(&mut bytes, at + field, value);
            bytes.truncate(0x600 - cut / 3);
            if let Ok(pe) = Pe::parse(&bytes) {
                prop_assert!(pe.certificates.end <= bytes.len());
                prop_assert!(pe.sections.iter().all(|section| section.raw.end <= bytes.len()));
            }
            let _ = crate::image::authenticode::digest(&bytes);
            let _ = append(&bytes, &[(".x", b"content")]);
            let _ = with_certificates(&bytes, &[0; 8]);
        }
    }
}

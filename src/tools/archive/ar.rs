//! The `ar` container of a `.deb`: finds the member that holds the files. See deb(5) and ar(5).
//!
//! Invariant: reads headers of 60 bytes and skips content; nothing is kept in memory.

use super::ArchiveError;
use std::io::{self, Read, Take};

pub const MAGIC: &[u8] = b"!<arch>\n";
const HEADER_BYTES: usize = 60;
/// A .deb has three members; a few more may be signatures.
const LIMIT_MEMBERS: usize = 16;

/// Reads up to the content of the first `data.tar*` member. `reader` stands at the magic.
pub fn data_member<R: Read>(mut reader: R) -> Result<Take<R>, ArchiveError> {
    let mut magic = [0; MAGIC.len()];
    reader.read_exact(&mut magic).map_err(ArchiveError::Read)?;
    for index in 0..LIMIT_MEMBERS {
        let (name, size) = header(&mut reader)?;
        match (index, name.as_str()) {
            (0, "debian-binary") => check_version(&mut reader, size)?,
            (0, _) => return Err(ArchiveError::Deb("its first member is not `debian-binary`")),
            (_, name) if name.starts_with("data.tar") => return Ok(reader.take(size)),
            _ => skip(&mut reader, size + size % 2)?,
        }
    }
    Err(ArchiveError::Deb("it has too many members"))
}

/// Name and size in bytes of the next member.
fn header(reader: &mut impl Read) -> Result<(String, u64), ArchiveError> {
    let mut bytes = [0; HEADER_BYTES];
    match reader.read_exact(&mut bytes) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(ArchiveError::Deb("it ends before its `data.tar` member"))
        }
        result => result.map_err(ArchiveError::Read)?,
    }
    if bytes[58..] != *b"`\n" {
        return Err(ArchiveError::Deb("a member's header is damaged"));
    }
    let name = String::from_utf8_lossy(&bytes[..16]).trim_end_matches(' ').trim_end_matches('/').to_owned();
    let size = std::str::from_utf8(&bytes[48..58]).ok().and_then(|text| text.trim_end().parse().ok());
    Ok((name, size.ok_or(ArchiveError::Deb("a member's size is not a number"))?))
}

fn check_version(reader: &mut impl Read, size: u64) -> Result<(), ArchiveError> {
    let mut version = [0; 2];
    reader.read_exact(&mut version).map_err(ArchiveError::Read)?;
    if size < 3 || version != *b"2." {
        return Err(ArchiveError::Deb("its format version is not 2"));
    }
    skip(reader, size + size % 2 - 2)
}

fn skip(reader: &mut impl Read, count: u64) -> Result<(), ArchiveError> {
    let copied = io::copy(&mut reader.take(count), &mut io::sink()).map_err(ArchiveError::Read)?;
    if copied < count {
        return Err(ArchiveError::Deb("it is truncated"));
    }
    Ok(())
}

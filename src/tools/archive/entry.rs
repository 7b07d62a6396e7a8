//! Entries of a tar stream, one after the other: pax and GNU extensions are resolved here, with limits.
//!
//! The `tar` crate reads the blocks; it is used in raw mode because it would otherwise read a long name
//! of any size into memory. See POSIX pax, `ustar interchange format`, and tar(5).
//!
//! Invariant: a name held in memory is at most as long as the limit.

use super::{ArchiveError, Limits};
use std::io::Read;
use tar::EntryType;

/// Extended headers may hold file attributes that are not used here.
const LIMIT_PAX_BYTES: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    Symlink,
    HardLink,
    Special,
}

/// One entry; `content` yields the bytes of a file.
pub struct Entry<'a, R: Read + 'a> {
    pub kind: Kind,
    /// As written in the archive, for messages.
    pub path: String,
    /// Target of a symlink or hard link.
    pub target: String,
    pub executable: bool,
    /// Permission bits.
    pub mode: u32,
    pub size_bytes: u64,
    pub content: tar::Entry<'a, R>,
}

/// Reads entries until the end of the archive.
pub struct Entries<'a, R: Read + 'a> {
    raw: tar::Entries<'a, R>,
    limits: &'a Limits,
    seen: u64,
}

/// What the extension headers before an entry say about it.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<Vec<u8>>,
    sparse: bool,
}

impl<'a, R: Read> Entries<'a, R> {
    pub fn new(archive: &'a mut tar::Archive<R>, limits: &'a Limits) -> Result<Self, ArchiveError> {
        let raw = archive.entries().map_err(ArchiveError::Read)?.raw(true);
        Ok(Entries { raw, limits, seen: 0 })
    }

    /// The next entry that stands for something in the tree.
    pub fn next(&mut self) -> Result<Option<Entry<'a, R>>, ArchiveError> {
        let mut extensions = Extensions::default();
        loop {
            let Some(entry) = self.raw.next() else { return Ok(None) };
            let mut entry = entry.map_err(ArchiveError::Read)?;
            self.seen += 1;
            if self.seen > self.limits.entries {
                return Err(ArchiveError::TooManyEntries { limit: self.limits.entries });
            }
            match entry.header().entry_type() {
                EntryType::XGlobalHeader => {}
                EntryType::XHeader => extensions.read_pax(&mut entry)?,
                EntryType::GNULongName => extensions.path = Some(self.long_name(&mut entry)?),
                EntryType::GNULongLink => extensions.target = Some(self.long_name(&mut entry)?),
                _ => return self.complete(entry, extensions).map(Some),
            }
        }
    }

    fn long_name(&self, entry: &mut tar::Entry<'_, R>) -> Result<Vec<u8>, ArchiveError> {
        let limit_bytes = self.limits.path_bytes;
        let mut name = Vec::new();
        entry.take(limit_bytes as u64 + 2).read_to_end(&mut name).map_err(ArchiveError::Read)?;
        if name.last() == Some(&0) {
            name.pop();
        }
        if name.len() > limit_bytes {
            return Err(ArchiveError::NameTooLong { limit_bytes });
        }
        Ok(name)
    }

    fn complete(&self, content: tar::Entry<'a, R>, extensions: Extensions) -> Result<Entry<'a, R>, ArchiveError> {
        let header = content.header();
        let path = extensions.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let target = extensions.target.or_else(|| header.link_name_bytes().map(|name| name.into_owned()));
        let path = self.text(path)?;
        let target = self.text(target.unwrap_or_default())?;
        let unsupported = |reason| ArchiveError::Unsupported { path: path.clone(), reason };
        let size_bytes = header.entry_size().map_err(ArchiveError::Read)?;
        let same_size = extensions.size.is_none_or(|size| size == size_bytes.to_string().into_bytes());
        if extensions.sparse {
            return Err(unsupported("sparse files are not supported"));
        }
        if !same_size {
            return Err(unsupported("its extended header and its header disagree on its size"));
        }
        let kind = match header.entry_type() {
            // Before POSIX, a folder was a file whose name ends in a slash.
            EntryType::Regular | EntryType::Continuous if path.ends_with('/') => Kind::Folder,
            EntryType::Regular | EntryType::Continuous => Kind::File,
            EntryType::Directory => Kind::Folder,
            EntryType::Symlink => Kind::Symlink,
            EntryType::Link => Kind::HardLink,
            EntryType::Char | EntryType::Block | EntryType::Fifo => Kind::Special,
            EntryType::GNUSparse => return Err(unsupported("sparse files are not supported")),
            _ => return Err(unsupported("its type is unknown")),
        };
        let mode = header.mode().map_err(ArchiveError::Read)? & 0o7777;
        Ok(Entry { kind, path, target, executable: mode & 0o100 != 0, mode, size_bytes, content })
    }

    fn text(&self, bytes: Vec<u8>) -> Result<String, ArchiveError> {
        if bytes.len() > self.limits.path_bytes {
            return Err(ArchiveError::NameTooLong { limit_bytes: self.limits.path_bytes });
        }
        String::from_utf8(bytes)
            .map_err(|e| ArchiveError::InvalidName(String::from_utf8_lossy(e.as_bytes()).into_owned()))
    }
}

impl Extensions {
    fn read_pax(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> Result<(), ArchiveError> {
        let mut bytes = Vec::new();
        entry.take(LIMIT_PAX_BYTES + 1).read_to_end(&mut bytes).map_err(ArchiveError::Read)?;
        if bytes.len() as u64 > LIMIT_PAX_BYTES {
            return Err(ArchiveError::NameTooLong { limit_bytes: LIMIT_PAX_BYTES as usize });
        }
        for record in tar::PaxExtensions::new(&bytes) {
            let record = record.map_err(ArchiveError::Read)?;
            let value = record.value_bytes().to_vec();
            match record.key_bytes() {
                b"path" => self.path = Some(value),
                b"linkpath" => self.target = Some(value),
                b"size" => self.size = Some(value),
                key if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                _ => {}
            }
        }
        Ok(())
    }
}

impl<R: Read> Entry<'_, R> {
    /// The path's components without `.`; empty for the root itself.
    pub fn components(&self) -> Result<Vec<&str>, ArchiveError> {
        components(&self.path)
    }
}

/// Splits a path of an archive; one that leads out of its root is an error.
pub fn components(path: &str) -> Result<Vec<&str>, ArchiveError> {
    if path.starts_with('/') {
        return Err(ArchiveError::AbsolutePath(path.to_owned()));
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(ArchiveError::PathTraversal(path.to_owned()));
    }
    if parts.iter().any(|part| part.len() > 255 || part.contains('\0')) {
        return Err(ArchiveError::InvalidName(path.to_owned()));
    }
    Ok(parts)
}

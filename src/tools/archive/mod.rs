//! An archive in the store in, a tree in the store out: tar (plain, gzip, bzip2, xz, zstd) and `.deb`.
//!
//! The compression is told by its magic number, never by a file name. A tree keeps content, the
//! executable bit and symlinks; owners, modes and times are dropped, but set-id bits are told beside it.
//! Symlinks are kept as text and never followed, so nothing in an archive can name a place outside its
//! tree. Hard links become files with the same content. As with tar itself, the later of two entries with one path wins, and what lies above
//! `strip` is dropped. Device nodes and pipes are left out of `.deb`s (tool trees get theirs from the
//! sandbox) and are an error in any other archive, where they have no business.
//!
//! Invariant: memory is bounded whatever the archive says, and no file is placed through a symlink.

mod ar;
mod compression;
mod entry;
mod listing;
mod writers;

#[cfg(test)]
pub(in crate::tools) mod tests;

use crate::io::store::{Store, StoreError};
use crate::model::{Digest, RelPath};
use entry::{Entries, Kind};
use listing::Listing;
use std::collections::BTreeMap;
use std::io::Read;

/// How much an archive may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Content of all files together.
    pub total_bytes: u64,
    pub file_bytes: u64,
    /// Headers of the archive, and likewise paths of the tree: folders that a longer path implies count too.
    pub entries: u64,
    /// All paths and symlink targets together, as they are kept in memory.
    pub names_bytes: u64,
    pub path_bytes: usize,
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            total_bytes: 8 << 30,
            file_bytes: 4 << 30,
            entries: 1_000_000,
            names_bytes: 256 << 20,
            path_bytes: 4096,
            depth: 128,
        }
    }
}

/// How many times its own size an archive may unpack to: sources reach 20, what a bomb needs is 1000 and more.
const LIMIT_EXPANSION: u64 = 200;
/// Small archives of much of the same may unpack to this much in any case.
const ALLOWED_BYTES: u64 = 64 << 20;
/// An entry for so many bytes of the archive: packages of tiny files have one for 130, the kernel for 1,600.
const ENTRY_BYTES: u64 = 64;
/// Small archives may have this many entries in any case.
const ALLOWED_ENTRIES: u64 = 10_000;

impl Limits {
    /// For an archive of that size.
    fn for_archive(size_bytes: u64) -> Limits {
        let limits = Limits::default();
        let expanded_bytes = size_bytes.saturating_mul(LIMIT_EXPANSION).max(ALLOWED_BYTES);
        let entries = (size_bytes / ENTRY_BYTES).max(ALLOWED_ENTRIES);
        Limits { total_bytes: limits.total_bytes.min(expanded_bytes), entries: limits.entries.min(entries), ..limits }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("the archive cannot be read; it is damaged, truncated or not a tar archive")]
    Read(#[source] std::io::Error),
    #[error("the archive ends in the middle of `{0}`")]
    Truncated(String),
    #[error("the .deb is not valid: {0}")]
    Deb(&'static str),
    #[error(
        "the archive unpacks to more than its limit: {limit_bytes} bytes, where 64 MiB or {LIMIT_EXPANSION} times its \
         own size are allowed, and never more than 8 GiB"
    )]
    TooLarge { limit_bytes: u64 },
    #[error("`{path}` is larger than the limit for one file: {limit_bytes} bytes")]
    FileTooLarge { path: String, limit_bytes: u64 },
    #[error(
        "the archive has more entries than its limit: {limit}, where {ALLOWED_ENTRIES} or one for each {ENTRY_BYTES} \
         bytes of its own size are allowed, and a folder above a file is one, too"
    )]
    TooManyEntries { limit: u64 },
    #[error("the archive has a name longer than the limit: {limit_bytes} bytes")]
    NameTooLong { limit_bytes: usize },
    #[error("`{0}` is nested too deep")]
    TooDeep(String),
    #[error("`{0}` is an absolute path; an archive may only hold paths below its root")]
    AbsolutePath(String),
    #[error("`{0}` leads out of the archive's root through `..`")]
    PathTraversal(String),
    #[error("`{path}` would be written through the symlink `{link}`")]
    ThroughSymlink { path: String, link: String },
    #[error("`{0}` is both a folder and something else in the archive")]
    Clash(String),
    #[error("`{path}` is a hard link to `{target}`, which is not a file earlier in the archive")]
    DanglingHardLink { path: String, target: String },
    #[error("`{0}` is a device node or a pipe")]
    SpecialFile(String),
    #[error("`{0}` is not a valid name: names must be UTF-8 without NUL and at most 255 bytes a component")]
    InvalidName(String),
    #[error("`{path}` cannot be unpacked: {reason}")]
    Unsupported { path: String, reason: &'static str },
    #[error("the archive has no file `{0}`")]
    NoInner(RelPath),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What to do with device nodes and pipes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Special {
    Skip,
    Refuse,
}

/// What an archive held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    pub tree: Digest,
    /// Permission bits of each file and folder that sets a user or group id, which the tree does not keep.
    pub set_id: BTreeMap<RelPath, u32>,
}

/// Unpacks `blob`. Drops the first `strip` components of each
/// path; with `inner`, unpacks the archive at that path inside the outer one instead.
pub fn unpack(store: &Store, blob: &Digest, strip: u32, inner: Option<&RelPath>) -> Result<Unpacked, ArchiveError> {
    unpack_within(store, blob, strip, inner, &Limits::for_archive(blob.size_bytes))
}

/// [`unpack`] with limits of the caller's choice.
pub fn unpack_within(
    store: &Store,
    blob: &Digest,
    strip: u32,
    inner: Option<&RelPath>,
    limits: &Limits,
) -> Result<Unpacked, ArchiveError> {
    // Damage on our own disk must not be taken for the archive's fault; and what is damaged is fetched again.
    store.check(blob)?;
    let file = store.open_blob(blob)?;
    let (head, reader) = compression::peek(file).map_err(ArchiveError::Read)?;
    if head.starts_with(ar::MAGIC) {
        let data = ar::data_member(reader)?;
        unpack_outer(store, data, strip, inner, limits, Special::Skip)
    } else {
        unpack_outer(store, reader, strip, inner, limits, Special::Refuse)
    }
}

fn unpack_outer(
    store: &Store,
    reader: impl Read,
    strip: u32,
    inner: Option<&RelPath>,
    limits: &Limits,
    special: Special,
) -> Result<Unpacked, ArchiveError> {
    let Some(inner) = inner else { return unpack_tar(store, reader, strip, limits, special) };
    let stream = compression::decode(reader, limits).map_err(ArchiveError::Read)?;
    let mut archive = tar::Archive::new(stream);
    let mut entries = Entries::new(&mut archive, limits)?;
    while let Some(mut entry) = entries.next()? {
        let is_inner = entry.kind == Kind::File && entry.components()?.join("/") == inner.as_str();
        if is_inner {
            return unpack_tar(store, &mut entry.content, strip, limits, Special::Refuse);
        }
    }
    Err(ArchiveError::NoInner(inner.clone()))
}

fn unpack_tar(
    store: &Store,
    reader: impl Read,
    strip: u32,
    limits: &Limits,
    special: Special,
) -> Result<Unpacked, ArchiveError> {
    let stream = compression::decode(reader, limits).map_err(ArchiveError::Read)?;
    let overflow = stream.overflow();
    let mut archive = tar::Archive::new(stream);
    let (listing, digests) = writers::with_writers(store, |writers| {
        let mut listing = Listing::new(limits);
        let mut entries = Entries::new(&mut archive, limits)?;
        while let Some(mut entry) = entries.next()? {
            listing.add(&mut entry, strip, special, writers)?;
        }
        Ok(listing)
    })
    .map_err(|e| if overflow.get() { ArchiveError::TooLarge { limit_bytes: limits.total_bytes } } else { e })?;
    listing.finish(store, &digests)
}

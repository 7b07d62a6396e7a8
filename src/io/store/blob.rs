//! Blobs: bytes in, a digest out, and back.
//!
//! Invariant: a blob's file has exactly the size its digest says and the time that it was stored with, or it
//! does not count as present: who writes to it changes that time.

use super::{Store, StoreError, INPUT_MTIME_SECONDS};
use crate::io::file::{self, at};
use crate::model::digest::Digester;
use crate::model::Digest;
use rustix::fs::{RenameFlags, Timespec, Timestamps, CWD};
use rustix::io::Errno;
use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

const CHUNK_BYTES: usize = 1 << 20;
const LINK_ATTEMPTS: u32 = 8;

impl Store {
    /// Keeps `bytes`.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if !self.has(&digest) {
            let temporary = self.temporary_path()?;
            file::create(&temporary)?.write_all(bytes).map_err(at("write", &temporary))?;
            self.adopt(temporary, &digest, false)?;
        }
        Ok(digest)
    }

    /// Keeps what `reader` yields, of at most `limit_bytes`.
    pub fn put_reader(&self, reader: &mut dyn Read, limit_bytes: u64) -> Result<Digest, StoreError> {
        let temporary = self.temporary_path()?;
        let mut output = file::create(&temporary)?;
        let digest = copy_and_digest(reader, &mut output, limit_bytes, &temporary)?;
        drop(output);
        if !self.has(&digest) {
            self.adopt(temporary, &digest, false)?;
        }
        Ok(digest)
    }

    /// Keeps a copy of the file at `path`.
    pub fn put_file(&self, path: &Path) -> Result<Digest, StoreError> {
        // Most files are here already: reading them once is cheaper than copying them.
        let mut digester = Digester::default();
        std::io::copy(&mut file::open(path)?, &mut digester).map_err(at("read", path))?;
        let digest = digester.finish();
        if self.has(&digest) {
            return Ok(digest);
        }
        self.put_reader(&mut file::open(path)?, u64::MAX)
    }

    /// Whether the blob is here, whole.
    pub fn has(&self, digest: &Digest) -> bool {
        [false, true].iter().any(|&executable| self.has_variant(digest, executable))
    }

    pub(super) fn has_variant(&self, digest: &Digest, executable: bool) -> bool {
        fs::metadata(self.blob_path(digest, executable))
            .is_ok_and(|m| m.is_file() && m.len() == digest.size_bytes && m.mtime() == INPUT_MTIME_SECONDS)
    }

    /// The blob's bytes, checked against the digest; a damaged blob is removed.
    pub fn read(&self, digest: &Digest, limit_bytes: u64) -> Result<Vec<u8>, StoreError> {
        if digest.size_bytes > limit_bytes {
            return Err(StoreError::TooLarge { digest: *digest, limit_bytes });
        }
        let path = self.present_path(digest)?;
        let bytes = file::read(&path, limit_bytes)?;
        if Digest::of(&bytes) != *digest {
            self.remove(digest);
            return Err(StoreError::Damaged(*digest));
        }
        Ok(bytes)
    }

    /// Opens the blob; only its size is checked.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        Ok(file::open(&self.present_path(digest)?)?)
    }

    /// Reads the whole blob and compares; a damaged blob is removed.
    pub fn check(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.present_path(digest)?;
        let mut digester = Digester::default();
        std::io::copy(&mut file::open(&path)?, &mut digester).map_err(at("read", &path))?;
        if digester.finish() != *digest {
            self.remove(digest);
            return Err(StoreError::Damaged(*digest));
        }
        Ok(())
    }

    /// The path of a file with this content and mode, made from the other mode's copy when needed.
    pub fn file_of(&self, digest: &Digest, executable: bool) -> Result<PathBuf, StoreError> {
        let path = self.blob_path(digest, executable);
        if !self.has_variant(digest, executable) {
            let other = self.present_path(digest)?;
            let temporary = self.temporary_path()?;
            fs::copy(&other, &temporary).map_err(at("copy", &other))?;
            self.adopt(temporary, digest, executable)?;
        }
        Ok(path)
    }

    /// Removes a blob in all its copies, so that it is made again.
    pub fn remove(&self, digest: &Digest) {
        for executable in [false, true] {
            // Another process may have removed it first; absence is what is wanted.
            let _ = fs::remove_file(self.blob_path(digest, executable));
        }
    }

    fn present_path(&self, digest: &Digest) -> Result<PathBuf, StoreError> {
        let present = [false, true].into_iter().find(|&executable| self.has_variant(digest, executable));
        present.map(|executable| self.blob_path(digest, executable)).ok_or(StoreError::Missing(*digest))
    }

    /// Moves a finished file into place.
    pub(super) fn adopt(&self, from: tempfile::TempPath, digest: &Digest, executable: bool) -> Result<(), StoreError> {
        self.adopt_path(&from, digest, executable)?;
        // The file has moved away; there is nothing left to remove.
        let _ = from.keep();
        Ok(())
    }

    /// A whole copy that is there already stays: whoever is linking it must not find it replaced.
    pub(super) fn adopt_path(&self, from: &Path, digest: &Digest, executable: bool) -> Result<(), StoreError> {
        let path = self.blob_path(digest, executable);
        settle(from, if executable { 0o755 } else { 0o644 })?;
        let parent = path.parent().expect("a blob path has a parent");
        file::create_dir_all(parent)?;
        match rename_beside(from, &path) {
            Err(Errno::EXIST) if self.has_variant(digest, executable) => {
                fs::remove_file(from).map_err(at("remove", from))?;
            }
            // What is there is damaged, or the file system knows no such rename.
            Err(_) => fs::rename(from, &path).map_err(at("store", &path))?,
            Ok(()) => {}
        }
        Ok(())
    }

    /// Links the blob to `to`, which must not exist.
    pub(super) fn link_to(&self, digest: &Digest, executable: bool, to: &Path) -> Result<(), StoreError> {
        for _ in 0..LINK_ATTEMPTS {
            match fs::hard_link(self.file_of(digest, executable)?, to) {
                Ok(()) => return Ok(()),
                // ext4 allows 65,000 links to one file; empty files get there.
                Err(e) if e.kind() == ErrorKind::TooManyLinks => break,
                // Between the look and the link a damaged copy was replaced by a whole one.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(at("link", to)(e).into()),
            }
        }
        fs::copy(self.file_of(digest, executable)?, to).map_err(at("copy", to))?;
        settle(to, if executable { 0o755 } else { 0o644 })
    }
}

/// Renames, unless `to` exists.
fn rename_beside(from: &Path, to: &Path) -> Result<(), Errno> {
    rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)
}

/// Gives a file the mode and the modification time that everything in the store has.
pub(super) fn settle(path: &Path, mode: u32) -> Result<(), StoreError> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(at("set the mode of", path))?;
    set_mtime(path)
}

pub(super) fn set_mtime(path: &Path) -> Result<(), StoreError> {
    let time = Timespec { tv_sec: INPUT_MTIME_SECONDS, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(CWD, path, &times, flags)
        .map_err(|e| at("set the time of", path)(e.into()))
        .map_err(StoreError::from)
}

fn copy_and_digest(from: &mut dyn Read, to: &mut File, limit_bytes: u64, path: &Path) -> Result<Digest, StoreError> {
    let mut digester = Digester::default();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut total_bytes = 0_u64;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(digester.finish()),
            Ok(count) => count,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(at("read the input of", path)(e).into()),
        };
        total_bytes += count as u64;
        if total_bytes > limit_bytes {
            return Err(StoreError::InputTooLarge { limit_bytes });
        }
        digester.update(&buffer[..count]);
        to.write_all(&buffer[..count]).map_err(at("write", path))?;
    }
}

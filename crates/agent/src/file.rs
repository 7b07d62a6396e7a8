//! The agent's small files: read with a limit, written whole.
//!
//! Invariant: reading never takes more memory than the limit, whatever the file claims to be.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// What the kernel shows of itself in one file is shorter.
const SMALL_BYTES: usize = 16 * 1024;

pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

/// A file longer than `limit` is an error.
pub fn read(path: impl AsRef<Path>, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    open(path)?.take(most).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("the file has more than {limit} bytes")));
    }
    Ok(bytes)
}

/// A small text of the kernel or of our own, without its final line break.
pub fn text(path: impl AsRef<Path>) -> io::Result<String> {
    let bytes = read(path, SMALL_BYTES)?;
    let text = String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))?;
    Ok(text.trim_end().to_owned())
}

/// `length` bytes from `offset`, all of them.
pub fn read_at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// Writes to a file that is there already: a switch of the kernel.
pub fn set(path: impl AsRef<Path>, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

/// Writes beside, syncs and renames: after a power cut the file is the old or the new one.
pub fn replace(path: impl AsRef<Path>, bytes: &[u8], mode: u32) -> io::Result<()> {
    let path = path.as_ref();
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

/// Writes `bytes` at `offset` of a device and waits until they are on it.
pub fn write_at(device: &mut File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    device.seek(SeekFrom::Start(offset))?;
    device.write_all(bytes)?;
    device.sync_all()
}

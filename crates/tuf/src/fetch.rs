//! Where the files of a repository come from: a trait, and a folder, such as a stick that carries a repository.
//!
//! Invariant: no more bytes are handed on than were asked for, and a name never leads out of its folder.

use crate::percent;
use std::error::Error;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};

/// Brings files of one repository. It is trusted with nothing but being there.
pub trait Fetcher {
    /// The whole of a file of metadata, by its name in a URL, such as `2.root.json`.
    fn metadata(&mut self, name: &str, limit_bytes: u64) -> Result<Vec<u8>, FetchError>;
    /// Writes a target to `sink`, by its path in a URL. It has `length_bytes`; a longer one may be cut off or refused.
    fn target(&mut self, path: &str, length_bytes: u64, sink: &mut dyn Write) -> Result<(), FetchError>;
}

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("the repository does not have it")]
    Missing,
    #[error("it is longer than the limit of {0} bytes")]
    TooLong(u64),
    #[error(transparent)]
    Failed(Box<dyn Error + Send + Sync>),
}

impl FetchError {
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> FetchError {
        FetchError::Failed(error.into())
    }
}

/// The same tree as on a server, in a folder.
#[derive(Clone, Debug)]
pub struct FolderFetcher {
    metadata: PathBuf,
    targets: PathBuf,
}

impl FolderFetcher {
    /// `base` with its folders `metadata` and `targets`.
    pub fn new(base: &Path) -> FolderFetcher {
        FolderFetcher { metadata: base.join("metadata"), targets: base.join("targets") }
    }
}

impl FolderFetcher {
    /// Exactly `length_bytes` of a target from byte `offset` on, by its path in a URL.
    pub fn range(&mut self, path: &str, offset: u64, length_bytes: u64) -> Result<Vec<u8>, FetchError> {
        let mut file = open(&self.targets, path)?;
        let size = file.metadata().map_err(FetchError::failed)?.len();
        // Before a buffer of that length is made: it may be nonsense.
        if offset.checked_add(length_bytes).is_none_or(|end| end > size) {
            return Err(FetchError::failed(format!(
                "it has {size} bytes, and {length_bytes} from {offset} on are wanted"
            )));
        }
        file.seek(SeekFrom::Start(offset)).map_err(FetchError::failed)?;
        let mut bytes = Vec::new();
        file.take(length_bytes).read_to_end(&mut bytes).map_err(FetchError::failed)?;
        match bytes.len() as u64 == length_bytes {
            true => Ok(bytes),
            false => Err(FetchError::failed("it became shorter while it was read")),
        }
    }
}

impl Fetcher for FolderFetcher {
    fn metadata(&mut self, name: &str, limit_bytes: u64) -> Result<Vec<u8>, FetchError> {
        let mut bytes = Vec::new();
        copy(&self.metadata, name, limit_bytes, &mut bytes)?;
        Ok(bytes)
    }

    fn target(&mut self, path: &str, length_bytes: u64, sink: &mut dyn Write) -> Result<(), FetchError> {
        copy(&self.targets, path, length_bytes, sink)
    }
}

fn copy(folder: &Path, name: &str, limit_bytes: u64, sink: &mut dyn Write) -> Result<(), FetchError> {
    let file = open(folder, name)?;
    let size = file.metadata().map_err(FetchError::failed)?.len();
    if size > limit_bytes {
        return Err(FetchError::TooLong(limit_bytes));
    }
    // It may grow while it is read.
    io::copy(&mut file.take(limit_bytes), sink).map_err(FetchError::failed)?;
    Ok(())
}

#[allow(clippy::disallowed_methods)] // The one place where a repository in a folder is read; the caller limits the bytes.
fn open(folder: &Path, name: &str) -> Result<fs::File, FetchError> {
    let name = percent::decode(name).filter(|name| !name.contains('\0')).ok_or(FetchError::Missing)?;
    let inside = |part: Component<'_>| matches!(part, Component::Normal(_));
    if !Path::new(&name).components().all(inside) {
        return Err(FetchError::Missing);
    }
    let path = folder.join(name);
    // Opening a pipe would wait for ever, and a link may lead anywhere.
    match fs::symlink_metadata(&path) {
        Ok(found) if found.is_file() => fs::File::open(&path).map_err(FetchError::failed),
        Ok(_) => Err(FetchError::failed(format!("`{}` is no plain file", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(FetchError::Missing),
        Err(error) => Err(FetchError::failed(error)),
    }
}

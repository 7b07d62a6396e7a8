//! Targets in a folder, each under its name without slashes.
//!
//! Invariant: what has a target's name was checked when it got it, and is checked again before it is used in place of a
//! download.

use crate::ClientError;
use osbuild_tuf::metadata::TargetFile;
use osbuild_tuf::{file_name, Check};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    pub fn new(folder: &Path) -> Cache {
        Cache { folder: folder.to_owned() }
    }

    /// Leaves a file alone that is the target; else lets `download` write it.
    pub fn provide(
        &self,
        path: &str,
        target: &TargetFile,
        download: impl FnOnce(&mut dyn Write) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        let place = self.folder.join(file_name(path));
        if is_target(&place, target) {
            return Ok(());
        }
        let unfinished = self.folder.join(format!(".{}.new", std::process::id()));
        let failed = |source| ClientError::File { path: unfinished.display().to_string(), source };
        let mut file = create(&unfinished).map_err(failed)?;
        let done = download(&mut file).and_then(|()| file.sync_all().map_err(failed));
        let done = done.and_then(|()| fs::rename(&unfinished, &place).map_err(failed));
        if done.is_err() {
            // What is left is not trusted by anyone; that it could not be removed is no news beside the error.
            let _ = fs::remove_file(&unfinished);
        }
        done
    }
}

/// A whole file; one that is longer is an error.
#[allow(clippy::disallowed_methods)] // The places where this program opens files.
pub fn read(path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit_bytes {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {limit_bytes} bytes"))),
        false => Ok(bytes),
    }
}

#[allow(clippy::disallowed_methods)]
fn create(path: &Path) -> io::Result<fs::File> {
    fs::File::create(path)
}

#[allow(clippy::disallowed_methods)]
fn is_target(path: &Path, target: &TargetFile) -> bool {
    let (Ok(mut file), Ok(mut check)) = (fs::File::open(path), Check::target(target)) else { return false };
    let mut part = vec![0; 1 << 16];
    loop {
        match file.read(&mut part) {
            Ok(0) => return check.finish().is_ok(),
            Ok(count) if check.update(&part[..count]).is_ok() => {}
            _ => return false,
        }
    }
}

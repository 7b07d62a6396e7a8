//! The security epoch that this device has committed: in its TPM, or in a file where there is none.
//!
//! Invariant: it never falls by what the agent does. The file is as safe as `/data` is; the TPM's counter outlives that.

pub mod command;
mod tpm;

use crate::data::OWN_FOLDER;
use crate::file;
use osbuild_update::device::Epoch;
use std::io;
use std::path::{Path, PathBuf};

/// The one of this device.
pub fn open() -> io::Result<Box<dyn Epoch>> {
    match Path::new(tpm::DEVICE).exists() {
        true => Ok(Box::new(tpm::TpmEpoch::open(tpm::TpmDevice::open()?)?)),
        false => Ok(Box::new(EpochFile::new(Path::new(OWN_FOLDER)))),
    }
}

struct EpochFile(PathBuf);

impl EpochFile {
    fn new(folder: &Path) -> Self {
        EpochFile(folder.join("update/epoch"))
    }
}

impl Epoch for EpochFile {
    fn read(&self) -> io::Result<u32> {
        match file::text(&self.0) {
            // One that is damaged must not keep the device from every release that could mend it; the epoch of the one that
            // runs still counts.
            Ok(text) => Ok(text.parse().unwrap_or(0)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn raise(&mut self, to: u32) -> io::Result<()> {
        if self.read().is_ok_and(|epoch| epoch >= to) {
            return Ok(());
        }
        let folder = self.0.parent().unwrap_or(&self.0);
        std::fs::create_dir_all(folder)?;
        file::replace(&self.0, format!("{to}\n").as_bytes(), 0o600)?;
        file::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_rises_and_never_falls() {
        let folder = std::env::temp_dir().join(format!("osagent-epoch-{}", std::process::id()));
        let mut epoch = EpochFile::new(&folder);
        assert_eq!(epoch.read().expect("none yet"), 0);
        epoch.raise(3).expect("raised");
        epoch.raise(2).expect("no effect");
        assert_eq!(EpochFile::new(&folder).read().expect("read"), 3);
        file::replace(&epoch.0, b"three\n", 0o600).expect("written");
        assert_eq!(epoch.read().expect("damaged, and no reason to stop"), 0);
        epoch.raise(4).expect("written anew");
        assert_eq!(epoch.read().expect("read"), 4);
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}

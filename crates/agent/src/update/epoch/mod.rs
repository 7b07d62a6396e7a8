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
use std::time::{Duration, Instant};

/// A driver may find its TPM a while after the system has started.
const PATIENCE: Duration = Duration::from_secs(10);
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// The one of this device.
pub fn open() -> io::Result<Box<dyn Epoch>> {
    let file = EpochFile::new(Path::new(OWN_FOLDER));
    match has_tpm(Path::new(tpm::DEVICE), Path::new(OWN_FOLDER), PATIENCE)? {
        true => Ok(Box::new(AtLeast { epoch: tpm::TpmEpoch::open(tpm::TpmDevice::open()?)?, least: file.read()? })),
        false => Ok(Box::new(file)),
    }
}

/// A TPM that was found later than the first releases were committed: what the file has counts, too.
struct AtLeast<E> {
    epoch: E,
    least: u32,
}

impl<E: Epoch> Epoch for AtLeast<E> {
    fn read(&self) -> io::Result<u32> {
        Ok(self.epoch.read()?.max(self.least))
    }

    fn raise(&mut self, to: u32) -> io::Result<()> {
        self.epoch.raise(to.max(self.least))
    }
}

/// Whether the TPM has the epoch. A device that had one once does not take the file for it, which would be behind.
fn has_tpm(device: &Path, folder: &Path, patience: Duration) -> io::Result<bool> {
    let known = folder.join("update/tpm");
    let deadline = Instant::now() + patience;
    loop {
        match (device.exists(), known.try_exists()?) {
            (true, true) => return Ok(true),
            (true, false) => {
                std::fs::create_dir_all(folder.join("update"))?;
                file::replace(&known, b"", 0o600)?;
                file::open(folder.join("update"))?.sync_all()?;
                return Ok(true);
            }
            (false, false) => return Ok(false),
            (false, true) if Instant::now() < deadline => std::thread::sleep(BETWEEN_LOOKS),
            (false, true) => {
                let text = "this device has its security epoch in a TPM, and there is none any more: check that the firmware shows it";
                return Err(io::Error::other(text));
            }
        }
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

    #[test]
    fn what_was_committed_before_there_was_a_tpm_counts() {
        let folder = std::env::temp_dir().join(format!("osagent-late-{}", std::process::id()));
        let late = || AtLeast { epoch: EpochFile::new(&folder), least: 3 };
        assert_eq!(late().read().expect("that of before"), 3);
        late().raise(2).expect("at least that of before");
        assert_eq!(EpochFile::new(&folder).read().expect("read"), 3);
        late().raise(4).expect("raised");
        assert_eq!(late().read().expect("read"), 4);
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn a_tpm_that_was_there_once_is_waited_for_and_no_file_takes_its_place() {
        let folder = std::env::temp_dir().join(format!("osagent-tpm-{}", std::process::id()));
        let (there, gone, short) = (Path::new("/dev/null"), folder.join("gone"), Duration::from_millis(1));
        assert!(!has_tpm(&gone, &folder, short).expect("never had one"));
        assert!(has_tpm(there, &folder, short).expect("found"));
        assert!(has_tpm(&gone, &folder, short).expect_err("it had one").to_string().contains("TPM"));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| has_tpm(&gone, &folder, Duration::from_secs(30)));
            std::thread::sleep(BETWEEN_LOOKS);
            file::replace(&gone, b"", 0o600).expect("probed");
            assert!(waits.join().expect("ended").expect("it came late"));
        });
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}

//! Variables of the firmware, through the kernel's efivarfs.
//!
//! efivarfs is mounted read-only, and writable only while one of these writes: a slip elsewhere must not fill the flash. The
//! kernel does not make `Boot####`, `BootOrder` and `BootNext` immutable, as it does others that a board may need to start.
//! Invariant: a variable is written in one call, which the firmware makes atomic; one that has its value already is not
//! written: flash wears out.

use crate::boot::EFI_VARIABLES;
use crate::file;
use rustix::mount::{mount_remount, MountFlags};
use std::fs::OpenOptions;
use std::io::{self, Write};

/// UEFI 2.10 section 3.3: `EFI_GLOBAL_VARIABLE`.
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Non-volatile, for boot services and at run time.
const ATTRIBUTES: u32 = 7;
const LIMIT_BYTES: usize = 4096;
/// Of all files; no firmware has as many variables.
const LIMIT_VARIABLES: usize = 4096;

const CLOSED: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Global variables, by their names.
pub trait Variables {
    /// All names.
    fn names(&self) -> io::Result<Vec<String>>;
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    fn write(&mut self, name: &str, value: &[u8]) -> io::Result<()>;
    /// No effect when there is none.
    fn remove(&mut self, name: &str) -> io::Result<()>;
}

pub struct EfiVariables;

impl EfiVariables {
    fn path(name: &str) -> String {
        format!("{EFI_VARIABLES}/{name}-{GLOBAL}")
    }

    fn writable<T>(change: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        mount_remount(EFI_VARIABLES, CLOSED, c"")?;
        let changed = change();
        let closed = mount_remount(EFI_VARIABLES, CLOSED.union(MountFlags::RDONLY), c"");
        let changed = changed?;
        closed?;
        Ok(changed)
    }
}

impl Variables for EfiVariables {
    fn names(&self) -> io::Result<Vec<String>> {
        let ending = format!("-{GLOBAL}");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(EFI_VARIABLES)?.take(LIMIT_VARIABLES) {
            let name = entry?.file_name();
            names.extend(name.to_str().and_then(|name| name.strip_suffix(&ending)).map(str::to_owned));
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match file::read(Self::path(name), LIMIT_BYTES) {
            // Four bytes of attributes come first.
            Ok(mut bytes) if bytes.len() >= 4 => Ok(Some(bytes.split_off(4))),
            // What the kernel left of one whose write failed.
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, name: &str, value: &[u8]) -> io::Result<()> {
        if self.read(name)?.as_deref() == Some(value) {
            return Ok(());
        }
        let bytes = [&ATTRIBUTES.to_le_bytes(), value].concat();
        Self::writable(|| {
            let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(Self::path(name))?;
            // One call, or the firmware would see two values.
            match file.write(&bytes)? {
                written if written == bytes.len() => Ok(()),
                _ => Err(io::ErrorKind::WriteZero.into()),
            }
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        if self.read(name)?.is_none() {
            return Ok(());
        }
        Self::writable(|| std::fs::remove_file(Self::path(name)))
    }
}

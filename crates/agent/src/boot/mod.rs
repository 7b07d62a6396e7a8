//! The initramfs: from the kernel's command line and the firmware's word to the verified root.
//!
//! Invariant: it ends in the root file system's agent or in a reboot, the watchdog's if something hangs; nothing
//! unverified is ever executed.

pub mod efi_variable;
pub mod facts;
mod mounts;
mod root;
pub mod slot;
mod switch;

use crate::error::{AgentError, Doing};
use crate::watchdog::Guard;
use crate::{console, file, time};
use facts::Facts;
use osbuild_format::command_line::{self, CommandLine, Slot};
use osbuild_format::gpt::Guid;
use slot::Disk;

pub use root::DEVICE as ROOT_DEVICE;
pub use switch::root_is_in_memory as is_initramfs;

pub const EFI_VARIABLES: &str = "/sys/firmware/efi/efivars";

/// Opens the slot and goes over to it; comes back only with the reason why it could not.
pub fn run() -> Result<std::convert::Infallible, AgentError> {
    let kernel_ms = time::milliseconds();
    mounts::kernel_file_systems()?;
    // Before anything that can hang: the firmware's variables and every disk.
    let mut guard = Guard::arm(console::say);
    mounts::firmware_variables()?;
    let line = file::read("/proc/cmdline", command_line::LIMIT_BYTES).doing(|| "read `/proc/cmdline`".to_owned())?;
    let line = CommandLine::parse(&String::from_utf8_lossy(&line))?;
    let (disk, slot) = booted_slot(&line, &mut || guard.feed())?;
    root::open(&disk, slot, &line, &mut || guard.feed())?;
    let watchdog = guard.hand_over();
    let (slot, root_hash) = (slot.letter().to_owned(), line.root_hash);
    let facts = Facts { slot, root_hash, disk: disk.name, kernel_ms, watchdog };
    facts.store()?;
    console::say(&format!("slot {} of {}: root verified, {} ms", facts.slot, facts.disk, time::milliseconds()));
    switch::to_root()
}

/// The firmware says which ESP it started from; that decides, and `osbuild.slot=` only where it says nothing.
fn booted_slot(line: &CommandLine, feed: &mut dyn FnMut()) -> Result<(Disk, Slot), AgentError> {
    match loader_device()? {
        Some(guid) => slot::wait_for_esp(guid, feed),
        None => match line.slot {
            Some(slot) => Ok((slot::wait_for_slot(slot, feed)?, slot)),
            None => Err(AgentError::Wrong(
                "the firmware does not say which slot it started (LoaderDevicePartUUID), nor does `osbuild.slot=`"
                    .into(),
            )),
        },
    }
}

fn loader_device() -> Result<Option<Guid>, AgentError> {
    let path = format!("{EFI_VARIABLES}/{}", efi_variable::LOADER_DEVICE);
    match file::read(&path, efi_variable::LIMIT_BYTES) {
        Ok(bytes) => match efi_variable::guid(&bytes) {
            Some(guid) => Ok(Some(guid)),
            None => Err(AgentError::Wrong("the EFI variable LoaderDevicePartUUID holds no GUID".into())),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).doing(|| format!("read `{path}`")),
    }
}

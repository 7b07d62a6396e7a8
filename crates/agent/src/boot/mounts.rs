//! The kernel's own file systems, mounted in the initramfs and carried over into the root.
//!
//! Invariant: nothing that is mounted here can hold a program that runs, but for devtmpfs's device nodes.

use crate::error::{AgentError, Doing};
use rustix::io::Errno;
use rustix::mount::{mount, MountFlags};
use std::ffi::CStr;

const CLOSED: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

pub fn kernel_file_systems() -> Result<(), AgentError> {
    let no_exec = MountFlags::NOSUID.union(MountFlags::NOEXEC);
    at("proc", "/proc", CLOSED, c"")?;
    at("sysfs", "/sys", CLOSED, c"")?;
    at("devtmpfs", "/dev", no_exec, c"mode=755")?;
    at("tmpfs", "/run", CLOSED, c"mode=755,size=16M")
}

/// Apart from the others because mounting them calls the firmware, which may hang.
pub fn firmware_variables() -> Result<(), AgentError> {
    // Read-only until somebody has a variable to write: a slip must not fill the firmware's flash.
    match try_at("efivarfs", super::EFI_VARIABLES, CLOSED.union(MountFlags::RDONLY), c"") {
        // No UEFI under this board, or a kernel without it.
        Err(Errno::NODEV | Errno::NOENT | Errno::OPNOTSUPP) | Ok(()) => Ok(()),
        Err(error) => Err(error).doing(|| "mount efivarfs".to_owned()),
    }
}

fn at(kind: &str, target: &str, flags: MountFlags, data: &CStr) -> Result<(), AgentError> {
    match std::fs::create_dir(target) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).doing(|| format!("make the folder `{target}`"));
        }
        _ => {}
    }
    try_at(kind, target, flags, data).doing(|| format!("mount {kind} at `{target}`"))
}

fn try_at(kind: &str, target: &str, flags: MountFlags, data: &CStr) -> Result<(), Errno> {
    match mount(kind, target, kind, flags, data) {
        // The kernel may have mounted devtmpfs itself.
        Err(Errno::BUSY) => Ok(()),
        other => other,
    }
}

//! From the initramfs to the mounted root: mounts move over, the initramfs's memory is given back.
//!
//! Invariant: files are only deleted from a root that lives in memory.

use super::root::MOUNTED;
use crate::error::{AgentError, Doing};
use rustix::mount::mount_move;
use std::convert::Infallible;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The agent in the verified root.
const NEXT: &str = "/usr/bin/osagent";
const RAMFS: u64 = 0x8584_58f6;
const TMPFS: u64 = 0x0102_1994;

/// Whether `/` is the initramfs.
pub fn root_is_in_memory() -> bool {
    rustix::fs::statfs("/").is_ok_and(|fs| u64::try_from(fs.f_type).is_ok_and(|kind| kind == RAMFS || kind == TMPFS))
}

pub fn to_root() -> Result<Infallible, AgentError> {
    for folder in ["/dev", "/proc", "/sys", "/run"] {
        mount_move(folder, format!("{MOUNTED}{folder}")).doing(|| format!("move `{folder}` into the root"))?;
    }
    empty_initramfs()?;
    rustix::process::chdir(MOUNTED).doing(|| "enter the root".to_owned())?;
    mount_move(".", "/").doing(|| "make the root `/`".to_owned())?;
    rustix::process::chroot(".").doing(|| "make the root `/`".to_owned())?;
    rustix::process::chdir("/").doing(|| "enter the root".to_owned())?;
    let error = Command::new(NEXT).env_clear().exec();
    Err(error).doing(|| format!("execute `{NEXT}`"))
}

fn empty_initramfs() -> Result<(), AgentError> {
    if !root_is_in_memory() {
        return Err(AgentError::Wrong("the initramfs is not in memory; nothing in it is deleted".into()));
    }
    let doing = || "empty the initramfs".to_owned();
    let root = Path::new("/").symlink_metadata().doing(doing)?.dev();
    for entry in std::fs::read_dir("/").doing(doing)? {
        let entry = entry.doing(doing)?;
        let metadata = entry.path().symlink_metadata().doing(doing)?;
        // What is on another device is the root we go to.
        if metadata.dev() == root {
            let removed = if metadata.is_dir() {
                std::fs::remove_dir_all(entry.path())
            } else {
                std::fs::remove_file(entry.path())
            };
            removed.doing(|| format!("delete `{}` of the initramfs", entry.path().display()))?;
        }
    }
    Ok(())
}

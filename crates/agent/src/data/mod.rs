//! `/data`, the one writable place: checked, mounted, and grown to the disk.
//!
//! Invariant: growing never moves the start of anything, and each step can be done again after a power cut.

mod ext4;
mod grow;

use crate::boot::slot::{wait_for_device, Disk};
use crate::error::{chain, AgentError, Doing};
use crate::log::Log;
use crate::{file, thread, time};
pub use ext4::Superblock;
use ext4::{SUPERBLOCK_BYTES, SUPERBLOCK_OFFSET};
use rustix::mount::{mount as mount_at, unmount as unmount_at, MountFlags, UnmountFlags};
use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

pub const MOUNTED: &str = "/data";
/// What the agent keeps for itself.
pub const OWN_FOLDER: &str = "/data/osagent";
const LABEL: &str = "data";
const CHECKER: &str = "/usr/sbin/e2fsck";
/// The watchdog is fed meanwhile, so something else has to end a check that hangs.
const CHECK_PATIENCE: Duration = Duration::from_secs(600);

/// The mounted partition.
pub struct Data {
    pub device: String,
}

/// Mounts the partition `data` of `disk`; calls `feed` again and again while something takes long.
pub fn mount(disk: &str, log: &Arc<Log>, feed: &mut dyn FnMut()) -> Result<Data, AgentError> {
    // Growing that fails leaves a smaller /data, which is better than none.
    if let Err(error) = grow::partition(disk, log) {
        log.warn(&format!("the data partition keeps its size: {}", chain(&error)));
    }
    let device = Disk::read(disk)?.device(LABEL)?;
    wait_for_device(&device, feed)?;
    let superblock = superblock(&device)?;
    if !superblock.clean {
        check(&device, log, feed);
    }
    let flags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC).union(MountFlags::NOATIME);
    mount_at(&device, MOUNTED, "ext4", flags, c"errors=remount-ro,usrquota")
        .doing(|| format!("mount `{device}` at `{MOUNTED}`"))?;
    let (data, log) = (Data { device: device.clone() }, log.clone());
    // A large disk takes a while, and nobody has to wait for it.
    thread::start("grow", move || {
        if let Err(error) = grow::file_system(&device, &superblock, &log) {
            log.warn(&format!("`{MOUNTED}` keeps its size: {}", chain(&error)));
        }
    })?;
    Ok(data)
}

/// Everything is on the disk after this.
pub fn unmount(log: &Log) {
    rustix::fs::sync();
    if unmount_at(MOUNTED, UnmountFlags::empty()).is_err() {
        // Something still holds a file; read-only is as safe on the disk.
        if let Err(error) = rustix::mount::mount_remount(MOUNTED, MountFlags::RDONLY, c"") {
            log.warn(&format!("`{MOUNTED}` could neither be unmounted nor made read-only: {error}"));
        }
    }
}

fn superblock(device: &str) -> Result<Superblock, AgentError> {
    let bytes = file::open(device)
        .and_then(|file| file::read_at(&file, SUPERBLOCK_OFFSET, SUPERBLOCK_BYTES))
        .doing(|| format!("read `{device}`"))?;
    Superblock::parse(&bytes).ok_or_else(|| AgentError::Wrong(format!("`{device}` holds no ext4 file system")))
}

/// Repairs what can be repaired: first what is safe, then, rather than never to boot again, everything.
fn check(device: &str, log: &Log, feed: &mut dyn FnMut()) {
    if !std::path::Path::new(CHECKER).exists() {
        log.warn(&format!("`{device}` was not left clean, and there is no `{CHECKER}`"));
        return;
    }
    for mode in ["-p", "-y"] {
        let mut command = Command::new(CHECKER);
        command.args([mode, device]).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.spawn().and_then(|child| wait_for(child, feed)) {
            Ok(status) => {
                log.warn(&format!("`{device}` was not left clean; `e2fsck {mode}`: {status}"));
                // 0 to 3: clean by now (e2fsck(8), exit code).
                if matches!(status.code(), Some(0..=3)) {
                    return;
                }
            }
            Err(error) => log.warn(&format!("`{device}` was not left clean; `e2fsck {mode}`: {error}")),
        }
    }
}

fn wait_for(mut child: Child, feed: &mut dyn FnMut()) -> io::Result<ExitStatus> {
    let deadline = time::now() + CHECK_PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if time::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::other("it took too long"));
        }
        feed();
        std::thread::sleep(Duration::from_millis(20));
    }
}

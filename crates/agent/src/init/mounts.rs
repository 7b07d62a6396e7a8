//! The file systems of a running system, beyond those the initramfs brought along.
//!
//! Invariant: what can be written can neither run nor be a device.

use crate::error::{AgentError, Doing};
use rustix::mount::{mount, MountFlags};
use std::ffi::CStr;

const CLOSED: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

pub fn file_systems() -> Result<(), AgentError> {
    at("tmpfs", "/tmp", CLOSED, c"mode=1777,size=25%")?;
    for folder in ["/dev/pts", "/dev/shm"] {
        std::fs::create_dir_all(folder).doing(|| format!("make the folder `{folder}`"))?;
    }
    let terminals = MountFlags::NOSUID.union(MountFlags::NOEXEC);
    at("devpts", "/dev/pts", terminals, c"mode=620,gid=5,ptmxmode=666")?;
    at("tmpfs", "/dev/shm", CLOSED, c"mode=1777,size=25%")?;
    links()?;
    optional("securityfs", "/sys/kernel/security");
    if optional("cgroup2", "/sys/fs/cgroup") {
        let services = "/sys/fs/cgroup/services";
        std::fs::create_dir_all(services).doing(|| format!("make the folder `{services}`"))?;
    }
    Ok(())
}

/// What programs expect in `/dev` and devtmpfs does not make.
fn links() -> Result<(), AgentError> {
    for (link, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ] {
        match std::os::unix::fs::symlink(target, link) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).doing(|| format!("make the link `{link}`"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn at(kind: &str, target: &str, flags: MountFlags, data: &CStr) -> Result<(), AgentError> {
    mount(kind, target, kind, flags, data).doing(|| format!("mount {kind} at `{target}`"))
}

/// What a kernel may have been built without.
fn optional(kind: &str, target: &str) -> bool {
    mount(kind, target, kind, CLOSED, c"").is_ok()
}

//! A mounted image and what is mounted over it, to the system calls that make it a root.
//!
//! Invariant: everything that can be written in it is nosuid, nodev and noexec, so what runs is what the image holds;
//! nothing is written outside of the sandbox's own mounts.

use super::program::{c_string, locked_flags, mount_operation, Call, Operation};
use super::{Mount, SandboxError};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

const CLOSED: u64 = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
const NODES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

pub(super) fn compile(folder: &Path, mounts: &[Mount]) -> Result<Vec<Operation>, SandboxError> {
    let mut image = Image { folder: folder.to_owned(), operations: Vec::new() };
    // Without this, mounts would reach the host where `/` is shared.
    image.push("make mounts private", "none", Path::new("/"), "", libc::MS_REC | libc::MS_PRIVATE, "")?;
    // Onto itself: what becomes the root must be a mount of this namespace.
    image.push("mount the image", folder, folder, "", libc::MS_BIND, "")?;
    let kept = libc::MS_NOSUID | libc::MS_NODEV | locked_flags(folder);
    let flags = libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY | kept;
    image.push("make the image read-only", "none", folder, "", flags, "")?;
    for mount in mounts {
        image.mount(mount)?;
    }
    if mounts.iter().any(|mount| matches!(mount, Mount::Dev)) {
        let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NOEXEC;
        image.push("make /dev read-only", "none", &image.inside(Path::new("/dev")), "", flags, "")?;
    }
    let call = Call::PivotRoot { root: c_string(folder.as_os_str())? };
    image.operations.push(Operation { step: "change the root".to_owned(), call });
    Ok(image.operations)
}

struct Image {
    folder: PathBuf,
    operations: Vec<Operation>,
}

impl Image {
    fn mount(&mut self, mount: &Mount) -> Result<(), SandboxError> {
        match mount {
            Mount::ReadOnly { from, to } => {
                let target = self.inside(to);
                self.push(&format!("mount `{}`", to.display()), from, &target, "", libc::MS_BIND, "")?;
                let kept = libc::MS_NOSUID | libc::MS_NODEV | locked_flags(from);
                let flags = libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY | kept;
                self.push(&format!("make `{}` read-only", to.display()), "none", &target, "", flags, "")
            }
            Mount::Writable { from, to } => {
                let target = self.inside(to);
                self.push(&format!("mount `{}`", to.display()), from, &target, "", libc::MS_BIND, "")?;
                let flags = libc::MS_BIND | libc::MS_REMOUNT | CLOSED | locked_flags(from);
                self.push(&format!("close `{}`", to.display()), "none", &target, "", flags, "")
            }
            Mount::Proc | Mount::ProcessesOnly => {
                let data = if matches!(mount, Mount::ProcessesOnly) { "subset=pid" } else { "" };
                let target = self.inside(Path::new("/proc"));
                self.push("mount /proc", "proc", &target, "proc", CLOSED | libc::MS_RDONLY, data)
            }
            Mount::Dev => self.devices(),
            Mount::Device { from, to } => {
                let target = self.inside(to);
                if let Some(parent) = to.parent().filter(|parent| *parent != Path::new("/dev")) {
                    self.make(&format!("make `{}`", parent.display()), Call::MakeFolder { path: self.path(parent)? });
                }
                self.make(&format!("make `{}`", to.display()), Call::MakeFile { path: self.path(to)? });
                self.push(&format!("mount `{}`", to.display()), from, &target, "", libc::MS_BIND, "")
            }
            Mount::Tmpfs { to, size_bytes } => {
                let data = format!("mode=1777,size={size_bytes}");
                self.push(&format!("mount `{}`", to.display()), "tmpfs", &self.inside(to), "tmpfs", CLOSED, &data)
            }
            Mount::Overlay { to, .. } => Err(SandboxError::Prepare {
                path: to.clone(),
                source: std::io::Error::new(std::io::ErrorKind::Unsupported, "an image has no overlays"),
            }),
        }
    }

    /// Device nodes cannot be made in a user namespace, so the host's are bound over empty files.
    fn devices(&mut self) -> Result<(), SandboxError> {
        let target = self.inside(Path::new("/dev"));
        let flags = libc::MS_NOSUID | libc::MS_NOEXEC;
        self.push("mount /dev", "tmpfs", &target, "tmpfs", flags, "mode=755,size=64k")?;
        for (name, points_at) in LINKS {
            let path = self.path(&Path::new("/dev").join(name))?;
            self.make("link in /dev", Call::Symlink { target: c_string(OsStr::new(points_at))?, path });
        }
        for name in NODES {
            let (node, place) = (Path::new("/dev").join(name), self.inside(&Path::new("/dev").join(name)));
            self.make(&format!("make /dev/{name}"), Call::MakeFile { path: self.path(&node)? });
            self.push(&format!("mount /dev/{name}"), &node, &place, "", libc::MS_BIND, "")?;
        }
        self.make("make /dev/shm", Call::MakeFolder { path: self.path(Path::new("/dev/shm"))? });
        self.push("mount /dev/shm", "tmpfs", &target.join("shm"), "tmpfs", CLOSED, "mode=1777,size=25%")
    }

    fn inside(&self, path: &Path) -> PathBuf {
        self.folder.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn path(&self, path: &Path) -> Result<std::ffi::CString, SandboxError> {
        c_string(self.inside(path).as_os_str())
    }

    fn make(&mut self, step: &str, call: Call) {
        self.operations.push(Operation { step: step.to_owned(), call });
    }

    fn push(
        &mut self,
        step: &str,
        source: impl AsRef<OsStr>,
        target: &Path,
        kind: &str,
        flags: u64,
        data: &str,
    ) -> Result<(), SandboxError> {
        self.operations.push(mount_operation(step, source.as_ref(), target, kind, flags, data)?);
        Ok(())
    }
}

//! Compiles a sandbox into a list of system calls with their arguments ready.
//!
//! The child of a fork in a threaded program may not allocate; so everything it needs is made here, before.
//! Invariant: an operation owns its strings, so running it touches no allocator and no lock.

use super::{image, Mount, Network, Root, Sandbox, SandboxError};
use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub(super) struct Program {
    pub operations: Vec<Operation>,
    pub argv: Vec<CString>,
    pub env: Vec<CString>,
    pub cwd: CString,
    pub hostname: CString,
    pub isolated_network: bool,
}

pub(super) struct Operation {
    /// For the message when it fails.
    pub step: String,
    pub call: Call,
}

pub(super) enum Call {
    Mount {
        source: CString,
        target: CString,
        kind: CString,
        flags: u64,
        data: CString,
    },
    MakeFolder {
        path: CString,
    },
    MakeFile {
        path: CString,
    },
    Symlink {
        target: CString,
        path: CString,
    },
    /// Makes the folder the root and detaches the old one.
    PivotRoot {
        root: CString,
    },
}

/// Bind mounts keep the flags that the host's mount has locked; these are the ones a user may not drop.
const BIND: u64 = libc::MS_BIND | libc::MS_REC;

pub(super) fn compile(sandbox: &Sandbox) -> Result<Program, SandboxError> {
    let operations = match &sandbox.root {
        Root::Layers { folders, scratch } => {
            let mut compiler =
                Compiler { root: scratch.join("root"), scratch: scratch.clone(), operations: Vec::new() };
            compiler.root(sandbox, folders)?;
            for mount in &sandbox.mounts {
                compiler.mount(mount)?;
            }
            compiler.seal()?;
            compiler.operations
        }
        Root::Image(folder) => image::compile(folder, &sandbox.mounts)?,
    };
    Ok(Program {
        operations,
        argv: sandbox.argv.iter().map(|word| c_string(word)).collect::<Result<_, _>>()?,
        env: sandbox.env.iter().map(variable).collect::<Result<_, _>>()?,
        cwd: c_string(sandbox.cwd.as_os_str())?,
        hostname: c_string(OsStr::new(&sandbox.hostname))?,
        isolated_network: matches!(sandbox.network, Network::None),
    })
}

struct Compiler {
    /// Where the new root is mounted before it becomes `/`.
    root: PathBuf,
    scratch: PathBuf,
    operations: Vec<Operation>,
}

impl Compiler {
    fn root(&mut self, sandbox: &Sandbox, folders: &[PathBuf]) -> Result<(), SandboxError> {
        let (upper, work) = (self.scratch.join("upper"), self.scratch.join("work"));
        for folder in [&self.root, &upper, &work] {
            make_folder(folder)?;
        }
        for mount in &sandbox.mounts {
            prepare_mount_point(&upper, mount)?;
        }
        // Without this, mounts would reach the host where `/` is shared.
        self.push("make mounts private", "none", Path::new("/"), "", libc::MS_REC | libc::MS_PRIVATE, "")?;
        let data = overlay_options(folders, &upper, &work)?;
        let root = self.root.clone();
        self.push("mount the tool tree", "overlay", &root, "overlay", 0, &data)
    }

    fn mount(&mut self, mount: &Mount) -> Result<(), SandboxError> {
        match mount {
            Mount::ReadOnly { from, to } => {
                let target = self.inside(to);
                let step = format!("mount `{}`", to.display());
                self.push(&step, from, &target, "", BIND, "")?;
                let flags = libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY | locked_flags(from);
                self.push(&format!("make `{}` read-only", to.display()), "none", &target, "", flags, "")
            }
            Mount::Writable { from, to } => {
                let target = self.inside(to);
                self.push(&format!("mount `{}`", to.display()), from, &target, "", BIND, "")
            }
            Mount::Overlay { lower, upper, work, to } => {
                make_folder(upper)?;
                make_folder(work)?;
                let data = overlay_options(lower, upper, work)?;
                let target = self.inside(to);
                self.push(&format!("mount `{}`", to.display()), "overlay", &target, "overlay", 0, &data)
            }
            Mount::Proc | Mount::ProcessesOnly => {
                let target = self.inside(Path::new("/proc"));
                let data = if matches!(mount, Mount::ProcessesOnly) { "subset=pid" } else { "" };
                // Where root started us, the one user inside is root to the kernel's own files as well: it could set
                // `/proc/sys` or reboot by `/proc/sysrq-trigger`, which ask for no capability.
                let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
                self.push("mount /proc", "proc", &target, "proc", flags, data)
            }
            Mount::Dev => self.devices(),
            Mount::Device { from, to } => {
                let target = self.inside(to);
                self.push(&format!("mount `{}`", to.display()), from, &target, "", libc::MS_BIND, "")
            }
            Mount::Tmpfs { to, size_bytes } => {
                let target = self.inside(to);
                let data = format!("mode=1777,size={size_bytes}");
                let flags = libc::MS_NOSUID | libc::MS_NODEV;
                self.push(&format!("mount `{}`", to.display()), "tmpfs", &target, "tmpfs", flags, &data)
            }
        }
    }

    /// Device nodes cannot be made in a user namespace, so the host's are bound over plain files.
    fn devices(&mut self) -> Result<(), SandboxError> {
        let nodes = self.scratch.join("dev");
        make_folder(&nodes)?;
        for name in ["pts", "shm"] {
            make_folder(&nodes.join(name))?;
        }
        for (name, target) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("ptmx", "pts/ptmx"),
        ] {
            let link = nodes.join(name);
            std::os::unix::fs::symlink(target, &link).map_err(prepare(&link))?;
        }
        for name in DEVICES {
            let node = nodes.join(name);
            std::fs::write(&node, "").map_err(prepare(&node))?;
        }
        let target = self.inside(Path::new("/dev"));
        self.push("mount /dev", &nodes, &target, "", libc::MS_BIND, "")?;
        for name in DEVICES {
            let source = Path::new("/dev").join(name);
            if source.exists() {
                self.push(&format!("mount /dev/{name}"), &source, &target.join(name), "", libc::MS_BIND, "")?;
            }
        }
        let flags = libc::MS_NOSUID | libc::MS_NOEXEC;
        let data = "newinstance,ptmxmode=0666,mode=0620";
        self.push("mount /dev/pts", "devpts", &target.join("pts"), "devpts", flags, data)?;
        self.push("mount /dev/shm", "tmpfs", &target.join("shm"), "tmpfs", flags | libc::MS_NODEV, "mode=1777")
    }

    fn seal(&mut self) -> Result<(), SandboxError> {
        let root = self.root.clone();
        let flags = libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY;
        self.push("make the tool tree read-only", "none", &root, "", flags, "")?;
        let call = Call::PivotRoot { root: c_string(root.as_os_str())? };
        self.operations.push(Operation { step: "change the root".to_owned(), call });
        Ok(())
    }

    fn inside(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
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

pub(super) fn mount_operation(
    step: &str,
    source: &OsStr,
    target: &Path,
    kind: &str,
    flags: u64,
    data: &str,
) -> Result<Operation, SandboxError> {
    let call = Call::Mount {
        source: c_string(source)?,
        target: c_string(target.as_os_str())?,
        kind: c_string(OsStr::new(kind))?,
        flags,
        data: c_string(OsStr::new(data))?,
    };
    Ok(Operation { step: step.to_owned(), call })
}

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Makes the place where a mount goes, in the root's upper layer.
fn prepare_mount_point(upper: &Path, mount: &Mount) -> Result<(), SandboxError> {
    let (to, is_file) = match mount {
        Mount::ReadOnly { from, to } | Mount::Writable { from, to } | Mount::Device { from, to } => {
            (to.as_path(), !from.is_dir())
        }
        Mount::Overlay { to, .. } | Mount::Tmpfs { to, .. } => (to.as_path(), false),
        Mount::Proc | Mount::ProcessesOnly => (Path::new("/proc"), false),
        Mount::Dev => (Path::new("/dev"), false),
    };
    let place = upper.join(to.strip_prefix("/").unwrap_or(to));
    if is_file {
        make_folder(place.parent().unwrap_or(upper))?;
        return std::fs::write(&place, "").map_err(prepare(&place));
    }
    make_folder(&place)
}

/// `nosuid`, `nodev` and `noexec` of the file system that `path` is on: a bind mount made in a user
/// namespace must keep them.
pub(super) fn locked_flags(path: &Path) -> u64 {
    let Ok(stat) = rustix::fs::statvfs(path) else { return 0 };
    let pairs = [
        (rustix::fs::StatVfsMountFlags::NOSUID, libc::MS_NOSUID),
        (rustix::fs::StatVfsMountFlags::NODEV, libc::MS_NODEV),
        (rustix::fs::StatVfsMountFlags::NOEXEC, libc::MS_NOEXEC),
        (rustix::fs::StatVfsMountFlags::NOATIME, libc::MS_NOATIME),
        (rustix::fs::StatVfsMountFlags::RELATIME, libc::MS_RELATIME),
    ];
    pairs.iter().filter(|(flag, _)| stat.f_flag.contains(*flag)).map(|(_, flag)| flag).sum()
}

fn overlay_options(lower: &[PathBuf], upper: &Path, work: &Path) -> Result<String, SandboxError> {
    let escaped = |path: &Path| {
        let text = path.to_str().ok_or_else(|| SandboxError::Nul(path.display().to_string()))?;
        Ok(text.replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,"))
    };
    let lower: Vec<String> = lower.iter().map(|path| escaped(path)).collect::<Result<_, SandboxError>>()?;
    Ok(format!("lowerdir={},upperdir={},workdir={},userxattr", lower.join(":"), escaped(upper)?, escaped(work)?))
}

fn make_folder(path: &Path) -> Result<(), SandboxError> {
    std::fs::create_dir_all(path).map_err(prepare(path))
}

fn prepare(path: &Path) -> impl FnOnce(io::Error) -> SandboxError + '_ {
    move |source| SandboxError::Prepare { path: path.to_owned(), source }
}

fn variable((name, value): &(std::ffi::OsString, std::ffi::OsString)) -> Result<CString, SandboxError> {
    let mut text = name.clone();
    text.push("=");
    text.push(value);
    c_string(&text)
}

pub(super) fn c_string(text: &OsStr) -> Result<CString, SandboxError> {
    CString::new(text.as_bytes()).map_err(|_| SandboxError::Nul(text.to_string_lossy().into_owned()))
}

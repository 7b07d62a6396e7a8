//! Paths and ports to a Landlock domain, landlock(7): what a thread and all that it starts can still reach.
//!
//! Source: linux/landlock.h; up to version 6 of the interface, that of Linux 6.12. Invariant: what no rule names is denied,
//! as far as the kernel knows how to deny it, and [`Landlock::missing`] says what it does not. Enforcing makes system
//! calls only, and never gives anything.
#![allow(unsafe_code)]

#[cfg(test)]
mod tests;

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What stays possible. A folder stands for all that is beneath it; rights of several rules add up. A path that is not there
/// when the domain is entered gives nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// To read.
    pub read: Vec<PathBuf>,
    /// To read and execute.
    pub read_execute: Vec<PathBuf>,
    /// To read, write, make, rename and remove, but neither to execute nor to make device nodes.
    pub write: Vec<PathBuf>,
    /// Device nodes, or their folder: to read, write and control with ioctl(2).
    pub device: Vec<PathBuf>,
    /// Ports on which TCP sockets may be bound; 0 is any that the kernel chooses.
    pub bind_tcp: Vec<u16>,
    /// Ports to which TCP sockets may connect.
    pub connect_tcp: Vec<u16>,
    /// No signal, and no connection to an abstract unix socket, leaves the domain.
    pub scope: bool,
}

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const MAKE_CHAR: u64 = 1 << 6;
const MAKE_BLOCK: u64 = 1 << 11;
/// Rename or link into another folder: version 2.
const REFER: u64 = 1 << 13;
/// Version 3.
const TRUNCATE: u64 = 1 << 14;
/// Version 5.
const IOCTL_DEV: u64 = 1 << 15;
/// Of version 1: from `EXECUTE` to `MAKE_SYM`.
const FIRST_FILE_RIGHTS: u64 = (1 << 13) - 1;
/// Rights that a rule on something else than a folder may have.
const RIGHTS_OF_NO_FOLDER: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;

const BIND_TCP: u64 = 1;
const CONNECT_TCP: u64 = 1 << 1;
/// Abstract unix sockets, signals.
const SCOPES: u64 = 0b11;

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: u32 = 1;
const RULE_NET_PORT: u32 = 2;

/// `struct landlock_ruleset_attr`; an older kernel takes the beginning of it, or all while the rest is zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Handled {
    files: u64,
    tcp: u64,
    scopes: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// `struct landlock_net_port_attr`.
#[repr(C)]
struct NetPort {
    allowed: u64,
    port: u64,
}

/// A domain that waits to be entered.
#[derive(Debug)]
pub struct Landlock {
    version: u32,
    handled: Handled,
    paths: Vec<(CString, u64)>,
    ports: Vec<NetPort>,
}

impl std::fmt::Debug for NetPort {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}: {:#b}", self.port, self.allowed)
    }
}

/// The version of the interface that the running kernel has; 0: it has none, or none in use.
pub fn version() -> u32 {
    let nothing = std::ptr::null::<Handled>();
    // SAFETY: asks for a number; with this flag the kernel reads nothing.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, CREATE_RULESET_VERSION) };
    u32::try_from(version).unwrap_or(0)
}

impl Rules {
    /// For the running kernel.
    pub fn prepare(&self) -> io::Result<Landlock> {
        self.prepare_for(version())
    }

    fn prepare_for(&self, version: u32) -> io::Result<Landlock> {
        let handled = handled(version, self.scope);
        let write = FIRST_FILE_RIGHTS & !(EXECUTE | MAKE_CHAR | MAKE_BLOCK) | REFER | TRUNCATE;
        let lists = [
            (&self.read, READ_FILE | READ_DIR),
            (&self.read_execute, READ_FILE | READ_DIR | EXECUTE),
            (&self.write, write),
            (&self.device, READ_FILE | READ_DIR | WRITE_FILE | IOCTL_DEV),
        ];
        let mut paths = Vec::new();
        for (list, rights) in lists {
            for path in list {
                paths.push((c_string(path)?, rights & handled.files));
            }
        }
        let ports = [(&self.bind_tcp, BIND_TCP), (&self.connect_tcp, CONNECT_TCP)];
        let ports = ports
            .iter()
            .flat_map(|(list, allowed)| list.iter().map(|port| NetPort { allowed: *allowed, port: u64::from(*port) }));
        let ports = if handled.tcp == 0 { Vec::new() } else { ports.collect() };
        Ok(Landlock { version, handled, paths, ports })
    }
}

fn handled(version: u32, scope: bool) -> Handled {
    let from = |first, rights| if version >= first { rights } else { 0 };
    Handled {
        files: from(1, FIRST_FILE_RIGHTS) | from(2, REFER) | from(3, TRUNCATE) | from(5, IOCTL_DEV),
        tcp: from(4, BIND_TCP | CONNECT_TCP),
        scopes: if scope { from(6, SCOPES) } else { 0 },
    }
}

fn c_string(path: &Path) -> io::Result<CString> {
    let invalid = |_| io::Error::new(io::ErrorKind::InvalidInput, format!("`{}` has a NUL", path.display()));
    CString::new(path.as_os_str().as_bytes()).map_err(invalid)
}

impl Landlock {
    /// The version of the interface that it was prepared for; 0: entering it does nothing.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// What of the rules the kernel does not know how to enforce, for people; empty with Linux 6.12 and later.
    pub fn missing(&self) -> Vec<&'static str> {
        let parts = [
            (1, "files"),
            (2, "moving files between folders"),
            (3, "truncating files"),
            (4, "TCP ports"),
            (5, "control of devices"),
            (6, "signals and abstract sockets"),
        ];
        parts.iter().filter(|(first, _)| self.version < *first).map(|(_, what)| *what).collect()
    }

    /// Binds this thread, and what it starts, for ever; the error is errno. It needs `no_new_privs`, prctl(2), and does
    /// not allocate, so it may follow a fork. Paths are looked up now. A filter of system calls comes after it.
    pub fn enforce(&self) -> Result<(), i32> {
        if self.version == 0 {
            return Ok(());
        }
        // SAFETY: the structure is valid for its size, and only read.
        let ruleset = unsafe {
            libc::syscall(libc::SYS_landlock_create_ruleset, &raw const self.handled, size_of::<Handled>(), 0_u32)
        };
        let ruleset = descriptor(ruleset)?;
        let entered = self.fill(ruleset).and_then(|()| {
            // SAFETY: takes numbers only.
            check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0_u32) })
        });
        close(ruleset);
        entered
    }

    fn fill(&self, ruleset: i32) -> Result<(), i32> {
        for (path, rights) in &self.paths {
            // SAFETY: a string with its NUL.
            let opened = unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
            match descriptor(opened.into()) {
                Ok(parent) => {
                    let added = allow_beneath(ruleset, parent, *rights);
                    close(parent);
                    added?;
                }
                Err(libc::ENOENT | libc::ENOTDIR) => {}
                Err(errno) => return Err(errno),
            }
        }
        for port in &self.ports {
            // SAFETY: the structure is valid, and only read.
            check(unsafe {
                libc::syscall(libc::SYS_landlock_add_rule, ruleset, RULE_NET_PORT, port as *const NetPort, 0_u32)
            })?;
        }
        Ok(())
    }
}

fn allow_beneath(ruleset: i32, parent: i32, rights: u64) -> Result<(), i32> {
    // SAFETY: all zeros is a valid `stat`, which the call fills in; the descriptor is open.
    let is_folder = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        check(libc::fstat(parent, &raw mut stat).into())?;
        stat.st_mode & libc::S_IFMT == libc::S_IFDIR
    };
    let allowed = if is_folder { rights } else { rights & RIGHTS_OF_NO_FOLDER };
    let rule = PathBeneath { allowed, parent };
    // SAFETY: the structure is valid, and only read.
    check(unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &raw const rule, 0_u32) })
}

fn check(answer: libc::c_long) -> Result<(), i32> {
    match answer {
        // SAFETY: the place of errno of this thread.
        ..=-1 => Err(unsafe { *libc::__errno_location() }),
        _ => Ok(()),
    }
}

fn descriptor(answer: libc::c_long) -> Result<i32, i32> {
    check(answer).map(|()| answer as i32)
}

fn close(descriptor: i32) {
    // SAFETY: one of ours, used no more.
    unsafe { libc::close(descriptor) };
}

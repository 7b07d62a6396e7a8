//! Where a repository is in; this process, able to fetch from there and to write what it has open, and to do nothing else.
//!
//! It reads what anybody may have sent. Invariant: everything that it may still reach is in the tables here; what it has opened
//! before, the other slot and the state, it keeps. What comes back from [`enter`] has been seen to be confined.

use crate::data::OWN_FOLDER;
use crate::{network, system_calls};
use osbuild_format::app::policy::{self, Case, Condition, SystemCall, Verdict};
use osbuild_format::device::update::{CA, ROOT};
use osbuild_sys::confinement::{drop_privileges, Confinement, Resource};
use osbuild_sys::landlock::{self, Rules};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where trusted metadata is kept, the one folder that stays writable.
pub const METADATA: &str = "update/metadata";

/// What is read while an update is looked for: whom to trust, and how the C library finds addresses.
const READ: [&str; 4] = [ROOT, CA, network::SHOWN, "/etc/hosts"];
/// A long answer about a name comes over TCP.
const DNS: u16 = 53;
const LIMITS: [(Resource, u64); 5] = [
    (Resource::OpenFiles, 64),
    (Resource::CoreBytes, 0),
    // Four times what an update may take: a backstop where no control group is one.
    (Resource::DataBytes, 128 << 20),
    (Resource::LockedBytes, 0),
    (Resource::MessageQueueBytes, 0),
];
const STATUS_BYTES: usize = 8192;

/// Of those that an app with the network may make, with the same conditions on their arguments, by purpose. Not among them:
/// programs and processes, signals to others, links, modes and owners, pipes, and servers.
#[rustfmt::skip]
const CALLS: &[&[&str]] = &[
    // Open files: the slot, the state, metadata, sockets.
    &["close", "copy_file_range", "dup", "fadvise64", "fcntl", "fdatasync", "fsync", "ftruncate", "ioctl", "lseek", "pread64",
      "preadv", "pwrite64", "pwritev", "read", "readv", "sendfile", "splice", "write", "writev"],
    // Files that Landlock leaves.
    &["faccessat", "faccessat2", "fstat", "fstatfs", "getcwd", "getdents64", "mkdirat", "newfstatat", "openat", "readlinkat",
      "renameat", "renameat2", "statfs", "statx", "umask", "unlinkat"],
    &["access", "lstat", "mkdir", "open", "readlink", "rename", "rmdir", "stat", "unlink"],
    // Memory.
    &["brk", "madvise", "membarrier", "mincore", "mmap", "mprotect", "mremap", "munmap"],
    // Threads: names are looked up in one of its own.
    &["arch_prctl", "clone", "clone3", "exit", "exit_group", "futex", "get_robust_list", "getpid", "gettid", "prctl", "rseq",
      "sched_getaffinity", "sched_yield", "set_robust_list", "set_tid_address", "tgkill", "tkill"],
    &["getrlimit", "getrusage", "prlimit64"],
    // Signals to itself.
    &["restart_syscall", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack"],
    // Time, and waiting.
    &["clock_getres", "clock_gettime", "clock_nanosleep", "gettimeofday", "nanosleep", "poll", "ppoll", "time"],
    // A client's sockets. A socket of UDP is bound, one of TCP is not: Landlock has no rule for that.
    &["bind", "connect", "getpeername", "getsockname", "getsockopt", "recvfrom", "recvmsg", "sendmmsg", "sendmsg", "sendto",
      "setsockopt", "shutdown", "socket"],
    // Who it is, and chance.
    &["getegid", "geteuid", "getgid", "getrandom", "getuid", "sysinfo", "uname"],
];

const AF_UNIX: u64 = 1;
const EAFNOSUPPORT: u16 = 97;
/// linux/sched.h.
const CLONE_THREAD: u64 = 0x1_0000;

/// What a place of a repository makes necessary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The folder of a stick.
    folder: Option<PathBuf>,
    ports: Vec<u16>,
}

impl Reach {
    /// Of a base, as it is in the device's configuration.
    pub fn of(base: &str) -> Reach {
        match base.strip_prefix("file://") {
            Some(folder) => Reach { folder: Some(folder.into()), ports: Vec::new() },
            None => Reach { folder: None, ports: osbuild_http::ports(base) },
        }
    }
}

/// Takes everything away that the update does not need. `never`: devices that must not be writable afterwards. What comes back is
/// the kernel's status of this process, to be read again.
pub fn enter(reach: &Reach, never: &[String]) -> Result<File, String> {
    let wrong = |error: io::Error| format!("the updater cannot be confined: {error}");
    if landlock::version() == 0 {
        return Err("the updater cannot be confined, so nothing is fetched: the kernel has no Landlock in use; \
                    build it with `CONFIG_SECURITY_LANDLOCK`, and leave `landlock` in `lsm=`"
            .to_owned());
    }
    let status = crate::file::open("/proc/self/status").map_err(wrong)?;
    let metadata = Path::new(OWN_FOLDER).join(METADATA);
    // A rule on a folder that is made later would allow nothing.
    std::fs::create_dir_all(&metadata).map_err(wrong)?;
    let confinement = confinement(reach, &metadata)?;
    let entered = drop_privileges().and_then(|()| confinement.enforce());
    entered.map_err(|errno| wrong(io::Error::from_raw_os_error(errno)))?;
    is_confined(&text(&status).map_err(wrong)?, never)?;
    Ok(status)
}

fn confinement(reach: &Reach, metadata: &Path) -> Result<Confinement, String> {
    let rules = Rules {
        read: READ.iter().map(PathBuf::from).chain(reach.folder.clone()).collect(),
        write: vec![metadata.to_owned()],
        connect_tcp: reach.ports.iter().copied().chain((!reach.ports.is_empty()).then_some(DNS)).collect(),
        scope: true,
        ..Rules::default()
    };
    let landlock = rules.prepare().map_err(|error| format!("the updater cannot be confined to its files: {error}"))?;
    let filter = system_calls::filter(&calls()).map_err(|error| crate::error::chain(&error))?;
    Ok(Confinement { limits: LIMITS.to_vec(), no_new_code: true, landlock: Some(landlock), filters: vec![filter] })
}

fn calls() -> Vec<SystemCall> {
    let mut calls = policy::of_network(std::env::consts::ARCH);
    calls.retain(|call| CALLS.iter().any(|group| group.contains(&call.name)));
    calls.iter_mut().for_each(narrow);
    calls
}

/// An app is alone with its kind: its sockets, processes and users are its own. This process is root among others.
fn narrow(call: &mut SystemCall) {
    let first = |value| Condition { argument: 0, mask: u32::MAX.into(), value };
    match call.name {
        // The agent listens at a socket of this kind.
        "socket" => {
            let what = "sockets of this device";
            let refused = Case { what, conditions: vec![first(AF_UNIX)], verdict: Verdict::Errno(EAFNOSUPPORT) };
            call.cases.insert(0, refused);
        }
        "clone" => {
            let thread = Condition { argument: 0, mask: CLONE_THREAD, value: CLONE_THREAD };
            call.cases.iter_mut().for_each(|case| case.conditions.push(thread));
        }
        // Its own limits, not those of PID 1.
        "prlimit64" => call.cases.iter_mut().for_each(|case| case.conditions.push(first(0))),
        _ => {}
    }
}

/// Looks at what holds, not at what was asked for: who reads from the network with root's rights must not go on.
fn is_confined(status: &str, never: &[String]) -> Result<(), String> {
    for (name, wanted) in [("NoNewPrivs", "1"), ("Seccomp", "2"), ("CapEff", "0000000000000000")] {
        let found = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        if found != Some(wanted) {
            let found = found.unwrap_or("nothing");
            return Err(format!(
                "the updater is not confined, so nothing is fetched: `{name}` is {found}, not {wanted}"
            ));
        }
    }
    for path in never {
        let problem = match OpenOptions::new().write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => continue,
            Err(error) => format!("`{path}` is not denied to it but says: {error}"),
            Ok(_) => format!("it can write to `{path}`"),
        };
        return Err(format!("the updater is not confined, so nothing is fetched: {problem}"));
    }
    Ok(())
}

/// From the start, however often it was read before.
pub fn text(status: &File) -> io::Result<String> {
    let mut bytes = vec![0; STATUS_BYTES];
    let length = status.read_at(&mut bytes, 0)?;
    bytes.truncate(length);
    String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests;

//! What a process could still do, taken away from it: capabilities, limits, new code, files and ports, system calls.
//!
//! A sandbox confines the program that it is about to execute, the device's updater itself. Invariant: what is taken away does
//! not come back, for this thread and all that it starts; it is done by system calls only, so it may follow a fork.
#![allow(unsafe_code)]

use crate::landlock::Landlock;
use crate::seccomp::Filter;

/// What is taken away, beside the capabilities.
#[derive(Debug, Default)]
pub struct Confinement {
    /// Soft and hard limits, setrlimit(2).
    pub limits: Vec<(Resource, u64)>,
    /// No memory becomes executable that was not so from the start: prctl(2), PR_SET_MDWE.
    pub no_new_code: bool,
    pub landlock: Option<Landlock>,
    /// The last one decides first; in a sandbox they must let execve(2) pass.
    pub filters: Vec<Filter>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    OpenFiles,
    /// Bytes of a core file; 0: none.
    CoreBytes,
    /// Bytes of memory that can be written and is nobody else's, used or not.
    DataBytes,
    /// Bytes that may not be swapped.
    LockedBytes,
    QueuedSignals,
    MessageQueueBytes,
}

/// Version 3 of the capability interface, capset(2): every set empty.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

/// Linux `include/uapi/linux/prctl.h`, since 6.3.
const PR_SET_MDWE: libc::c_int = 65;
const PR_MDWE_REFUSE_EXEC_GAIN: libc::c_ulong = 1;

impl Confinement {
    /// The error is errno. It needs `no_new_privs`, so [`drop_privileges`] comes first.
    pub fn enforce(&self) -> Result<(), i32> {
        if self.no_new_code {
            // SAFETY: takes numbers only.
            check(unsafe { libc::prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) })?;
        }
        self.landlock.as_ref().map_or(Ok(()), Landlock::enforce)?;
        // After Landlock, which opens paths beside all that is open: fewer files than that may be allowed.
        self.limits.iter().try_for_each(|(resource, most)| limit(*resource, *most))?;
        self.filters.iter().try_for_each(Filter::install)
    }
}

fn limit(resource: Resource, most: u64) -> Result<(), i32> {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    let number = match resource {
        Resource::OpenFiles => libc::RLIMIT_NOFILE,
        Resource::CoreBytes => libc::RLIMIT_CORE,
        Resource::DataBytes => libc::RLIMIT_DATA,
        Resource::LockedBytes => libc::RLIMIT_MEMLOCK,
        Resource::QueuedSignals => libc::RLIMIT_SIGPENDING,
        Resource::MessageQueueBytes => libc::RLIMIT_MSGQUEUE,
    };
    // SAFETY: the structure is valid, and only read.
    check(unsafe { libc::setrlimit(number, &raw const limit) })
}

/// Every capability, and any way to new ones; the error is errno. Who is root afterwards owns root's files, and no more.
pub fn drop_privileges() -> Result<(), i32> {
    let header = CapabilityHeader { version: 0x2008_0522, pid: 0 };
    let empty = [0_u32; 6];
    // SAFETY: numbers, and two structures of the sizes that the version names, which are only read.
    unsafe {
        for capability in 0..64 {
            // Numbers past the kernel's last are refused, which is as good.
            libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
        }
        if libc::syscall(libc::SYS_capset, &raw const header, empty.as_ptr()) != 0 {
            return Err(errno());
        }
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    }
}

fn check(answer: libc::c_int) -> Result<(), i32> {
    match answer {
        0 => Ok(()),
        _ => Err(errno()),
    }
}

fn errno() -> i32 {
    // SAFETY: the place of errno of this thread.
    unsafe { *libc::__errno_location() }
}

//! The calls whose arguments do not matter, by purpose: what static and dynamic programs of musl, glibc and Rust, and
//! daemons such as Mosquitto, make.
//!
//! Invariant: none of them reaches beyond the sandbox, whatever its arguments: the mount, pid and network namespaces, the
//! user and Landlock decide about files, processes and hosts. A call that changes the system, a namespace, another process'
//! memory or the kernel's code is not here, nor one whose main use is to find faults of the kernel (io_uring, bpf,
//! userfaultfd, keys).

use super::{Case, SystemCall, Verdict};

pub(super) struct Group {
    purpose: &'static str,
    names: &'static [&'static str],
    verdict: Verdict,
}

impl Group {
    pub(super) fn calls(&self) -> impl Iterator<Item = SystemCall> + '_ {
        let case = || Case { what: "", conditions: Vec::new(), verdict: self.verdict };
        self.names.iter().map(move |name| SystemCall { name, purpose: self.purpose, cases: vec![case()] })
    }
}

const fn allow(purpose: &'static str, names: &'static [&'static str]) -> Group {
    Group { purpose, names, verdict: Verdict::Allow }
}

const fn refuse(purpose: &'static str, errno: u16, names: &'static [&'static str]) -> Group {
    Group { purpose, names, verdict: Verdict::Errno(errno) }
}

const EPERM: u16 = 1;
const ENOSYS: u16 = 38;
const EOPNOTSUPP: u16 = 95;

/// On every processor.
#[rustfmt::skip]
pub(super) const EVERYWHERE: &[Group] = &[
    allow("read and write open files", &[
        "close", "close_range", "copy_file_range", "dup", "dup3", "fadvise64", "fallocate", "fcntl", "fdatasync", "flock",
        "fsync", "ftruncate", "lseek", "pread64", "preadv", "preadv2", "pwrite64", "pwritev", "pwritev2", "read", "readahead",
        "readv", "sendfile", "splice", "sync_file_range", "syncfs", "write", "writev",
    ]),
    allow("find, make and name files", &[
        "chdir", "faccessat", "faccessat2", "fchdir", "fgetxattr", "flistxattr", "fstat", "fstatfs", "getcwd", "getdents64",
        "getxattr", "lgetxattr", "linkat", "listxattr", "llistxattr", "mkdirat", "newfstatat", "openat", "openat2",
        "readlinkat", "renameat", "renameat2", "statfs", "statx", "symlinkat", "truncate", "umask", "unlinkat", "utimensat",
    ]),
    // The kernel lets an app give away nothing, and its file systems take no setuid bit seriously.
    allow("change owners and modes of its own files", &[
        "fchmod", "fchmodat", "fchmodat2", "fchown", "fchownat",
    ]),
    refuse("attributes of files, which storage does not keep", EOPNOTSUPP, &[
        "fremovexattr", "fsetxattr", "lremovexattr", "lsetxattr", "removexattr", "setxattr",
    ]),
    allow("memory", &[
        "brk", "madvise", "membarrier", "mincore", "mlock", "mlock2", "mlockall", "mremap", "msync", "munlock", "munlockall",
        "munmap", "pkey_alloc", "pkey_free",
    ]),
    refuse("memory near a processor, which allocators ask for in passing", ENOSYS, &[
        "get_mempolicy", "mbind", "set_mempolicy",
    ]),
    allow("processes and threads", &[
        "execve", "exit", "exit_group", "futex", "futex_waitv", "get_robust_list", "getpgid", "getpid", "getppid", "getsid",
        "gettid", "kill", "pidfd_open", "pidfd_send_signal", "rseq", "set_robust_list", "set_tid_address", "setpgid",
        "setsid", "tgkill", "tkill", "wait4", "waitid",
    ]),
    // The C library falls back to `clone`, whose flags can be looked at: those of clone3 lie in memory.
    refuse("processes and threads", ENOSYS, &["clone3"]),
    allow("limits and priorities, within those that the app was given", &[
        "getcpu", "getpriority", "getrlimit", "getrusage", "ioprio_get", "ioprio_set", "prlimit64", "sched_get_priority_max",
        "sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam", "sched_getscheduler",
        "sched_rr_get_interval", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler", "sched_yield",
        "setpriority", "setrlimit", "times",
    ]),
    allow("signals", &[
        "restart_syscall", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn",
        "rt_sigsuspend", "rt_sigtimedwait", "rt_tgsigqueueinfo", "sigaltstack", "signalfd4",
    ]),
    allow("read the time, sleep, and be woken", &[
        "clock_getres", "clock_gettime", "clock_nanosleep", "getitimer", "gettimeofday", "nanosleep", "setitimer",
        "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timer_settime", "timerfd_create",
        "timerfd_gettime", "timerfd_settime",
    ]),
    allow("wait for several things at once", &[
        "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "eventfd2", "inotify_add_watch", "inotify_init1",
        "inotify_rm_watch", "pipe2", "ppoll", "pselect6",
    ]),
    allow("use sockets that it has", &[
        "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "recvfrom", "recvmmsg",
        "recvmsg", "shutdown",
    ]),
    allow("who and where it is", &[
        "capget", "getegid", "geteuid", "getgid", "getgroups", "getrandom", "getresgid", "getresuid", "getuid", "sysinfo",
        "uname",
    ]),
    // Daemons that want to give up rights they do not have go on.
    refuse("change its user, which it cannot", EPERM, &[
        "capset", "setfsgid", "setfsuid", "setgid", "setgroups", "setregid", "setresgid", "setresuid", "setreuid", "setuid",
    ]),
];

/// Older calls for the same purposes, which newer processors never had.
#[rustfmt::skip]
pub(super) const X86_64: &[Group] = &[
    allow("read and write open files", &["dup2"]),
    allow("find, make and name files", &[
        "access", "creat", "futimesat", "getdents", "link", "lstat", "mkdir", "open", "readlink", "rename", "rmdir", "stat",
        "symlink", "unlink", "utime", "utimes",
    ]),
    allow("change owners and modes of its own files", &["chmod", "chown", "lchown"]),
    allow("processes and threads", &["arch_prctl", "fork", "getpgrp", "vfork"]),
    allow("signals", &["pause", "signalfd"]),
    allow("read the time, sleep, and be woken", &["alarm", "time"]),
    allow("wait for several things at once", &[
        "epoll_create", "epoll_wait", "eventfd", "inotify_init", "pipe", "poll", "select",
    ]),
];

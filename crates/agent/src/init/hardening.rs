//! Switches of the kernel that a device wants thrown, whatever the kernel's defaults.
//!
//! Invariant: a switch the kernel does not have is skipped; one that it refuses is logged.

use crate::file;
use crate::log::Log;
use std::io::ErrorKind;

const SWITCHES: [(&str, &str); 24] = [
    // Nothing loads after this; kernels of ours have no modules to begin with.
    ("kernel/modules_disabled", "1"),
    ("kernel/kexec_load_disabled", "1"),
    ("kernel/kptr_restrict", "2"),
    ("kernel/dmesg_restrict", "1"),
    ("kernel/sysrq", "0"),
    ("kernel/unprivileged_bpf_disabled", "1"),
    ("kernel/perf_event_paranoid", "3"),
    ("kernel/yama/ptrace_scope", "1"),
    ("kernel/io_uring_disabled", "2"),
    // A broken kernel restarts instead of waiting for somebody to come by.
    ("kernel/panic", "5"),
    ("kernel/panic_on_oops", "1"),
    // Core dumps would fill /data and leak what services know: their limit is 0, which a program that a pattern names
    // would not be asked for. Apps that ask for them have a limit, and work in the storage that bounds them.
    ("kernel/core_pattern", "core"),
    ("fs/suid_dumpable", "0"),
    ("fs/protected_hardlinks", "1"),
    ("fs/protected_symlinks", "1"),
    ("fs/protected_fifos", "2"),
    ("fs/protected_regular", "2"),
    ("net/core/bpf_jit_harden", "2"),
    ("net/ipv4/tcp_syncookies", "1"),
    ("net/ipv4/conf/all/accept_redirects", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/all/accept_source_route", "0"),
    ("net/ipv6/conf/all/accept_redirects", "0"),
    ("net/ipv6/conf/default/accept_redirects", "0"),
];

pub fn apply(log: &Log) {
    for (switch, value) in SWITCHES {
        match file::set(format!("/proc/sys/{switch}"), value) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => log.info(&format!("the kernel keeps `{switch}` as it is: {error}")),
        }
    }
}

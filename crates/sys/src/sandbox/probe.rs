//! Whether this machine lets us make sandboxes, and if not, what to switch on.
//!
//! Invariant: the answer comes from trying, not from reading settings; settings only explain a failure.
#![allow(unsafe_code)]

use super::Child;
use std::ffi::CStr;
use std::io;

#[derive(Debug, thiserror::Error)]
#[error("this machine does not let `{user}` make user namespaces, which the sandbox needs: {reason}")]
pub struct Unavailable {
    pub user: String,
    pub reason: String,
    /// A command for the administrator.
    pub remedy: String,
}

/// Settings that switch user namespaces off, the value that does, and the command that switches them on.
const SETTINGS: [(&str, &str, &str); 3] = [
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
];

/// Tries in a short-lived child what every sandbox begins with: namespaces, a map of its user, and a mount.
pub fn probe() -> Result<(), Unavailable> {
    let error = match try_namespaces() {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let user = format!("uid {}", rustix::process::geteuid().as_raw());
    for (path, off, remedy) in SETTINGS {
        if std::fs::read_to_string(path).is_ok_and(|value| value.trim() == off) {
            let setting = path.trim_start_matches("/proc/sys/").replace('/', ".");
            let reason = format!("{setting} is {off}");
            return Err(Unavailable { user, reason, remedy: format!("ask an administrator to run `{remedy}`") });
        }
    }
    let remedy = "in a container, allow `unshare` (seccomp) and user namespaces; else see user_namespaces(7)";
    Err(Unavailable { user, reason: error.to_string(), remedy: remedy.to_owned() })
}

fn try_namespaces() -> io::Result<()> {
    let map = format!("0 {} 1", rustix::process::geteuid().as_raw());
    // SAFETY: fork-like clone; the child makes system calls on what is prepared here, and exits.
    let pid = unsafe {
        let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::SIGCHLD;
        let pid = libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0);
        if pid == 0 {
            libc::_exit(begin(map.as_bytes()));
        }
        pid
    };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    let status = Child::new(pid as libc::pid_t).wait()?;
    match status.code() {
        Some(0) => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        None => Err(io::Error::other(status.to_string())),
    }
}

/// Where AppArmor restricts user namespaces they can be made, and everything in them is denied. Returns errno, or 0.
unsafe fn begin(map: &[u8]) -> libc::c_int {
    let done = put(c"/proc/self/setgroups", b"deny")
        && put(c"/proc/self/uid_map", map)
        && libc::mount(
            c"none".as_ptr(),
            c"/".as_ptr(),
            c"".as_ptr(),
            libc::MS_REC | libc::MS_PRIVATE,
            std::ptr::null(),
        ) == 0;
    match done {
        true => 0,
        false => *libc::__errno_location(),
    }
}

unsafe fn put(path: &CStr, bytes: &[u8]) -> bool {
    let file = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
    file >= 0 && libc::write(file, bytes.as_ptr().cast(), bytes.len()) == bytes.len() as isize
}

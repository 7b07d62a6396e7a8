//! Whether this machine lets us make sandboxes, and if not, what to switch on.
//!
//! Invariant: the answer comes from trying, not from reading settings; settings only explain a failure.
#![allow(unsafe_code)]

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

/// Tries to make a user and a mount namespace in a short-lived child.
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
    // SAFETY: fork-like clone; the child exits at once.
    let pid = unsafe {
        let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::SIGCHLD;
        let pid = libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0);
        if pid == 0 {
            libc::_exit(0);
        }
        pid
    };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut status = 0;
    // SAFETY: reaps the child made above.
    unsafe { libc::waitpid(pid as libc::pid_t, &mut status, 0) };
    Ok(())
}

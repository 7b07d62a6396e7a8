//! The product's health checks, one after the other.
//!
//! Invariant: each ends, by itself or by us with all that it has started; the first that fails is named.

use osbuild_format::device::update::HealthCheck;
use rustix::io::Errno;
use rustix::process::{kill_process_group, waitid, Pid, Signal, WaitId, WaitIdOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Says why the system is not healthy.
pub fn check_all(checks: &[HealthCheck]) -> Result<(), String> {
    checks.iter().try_for_each(|check| run(check).map_err(|reason| format!("health check `{}` {reason}", check.name)))
}

fn run(check: &HealthCheck) -> Result<(), String> {
    let program = check.argv.first().ok_or("has nothing to run")?;
    let mut command = Command::new(program);
    command.args(&check.argv[1..]).current_dir("/").env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    // A pipe that nobody reads would end a check that writes to it.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // So that what it starts can be ended with it.
    command.process_group(0);
    let mut child = command.spawn().map_err(|error| format!("cannot start `{program}`: {error}"))?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or("has no number")?;
    let in_time = ends_within(group, Duration::from_secs(check.timeout_seconds.into()));
    // Until it is waited for, no other group has its number.
    let _ = kill_process_group(group, Signal::KILL);
    let status = child.wait().map_err(|error| format!("cannot be waited for: {error}"))?;
    match in_time.map_err(|error| format!("cannot be waited for: {error}"))? {
        false => Err(format!("took longer than {} s", check.timeout_seconds)),
        true if status.success() => Ok(()),
        true => Err(format!("failed: {status}")),
    }
}

/// Whether a child ends in this time; it has still to be waited for.
fn ends_within(child: Pid, patience: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + patience;
    let looks = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    loop {
        match waitid(WaitId::Pid(child), looks) {
            Ok(Some(_)) => return Ok(true),
            Ok(None) | Err(Errno::INTR) if Instant::now() < deadline => std::thread::sleep(BETWEEN_LOOKS),
            Ok(None) | Err(Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(script: &str) -> HealthCheck {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        HealthCheck { name: "web".into(), argv, timeout_seconds: 1 }
    }

    #[test]
    fn the_first_check_that_fails_is_named() {
        assert_eq!(check_all(&[check("exit 0")]), Ok(()));
        let failed = check_all(&[check("exit 0"), check("exit 3")]).expect_err("it failed");
        assert!(failed.starts_with("health check `web` failed: ") && failed.contains('3'), "{failed}");
        assert!(check_all(&[check("sleep 9")]).expect_err("too long").contains("took longer than 1 s"));
    }

    #[test]
    fn what_a_check_has_started_ends_with_it() {
        let left = std::env::temp_dir().join(format!("osagent-health-{}", std::process::id()));
        let script = format!("(sleep 2; : > {}) & sleep 9", left.display());
        assert!(check_all(&[check(&script)]).expect_err("too long").contains("took longer"));
        let script = format!("(sleep 1; : > {}) & exit 0", left.display());
        assert_eq!(check_all(&[check(&script)]), Ok(()));
        std::thread::sleep(Duration::from_millis(1500));
        let exists = left.exists();
        let _ = std::fs::remove_file(&left);
        assert!(!exists, "it went on by itself");
    }
}

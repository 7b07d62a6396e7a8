//! A worker, as PID 1 starts and hears it.
//!
//! Invariant: nothing of it is waited for; where there are control groups, what it takes of the memory is bounded.

use crate::file;
use crate::update::report::Words;
use crate::update::worker::{Order, COMMAND};
use osbuild_sys::service::{spawn, Credentials, Input};
use rustix::fs::OFlags;
use rustix::process::{kill_process, Pid, Signal};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PROGRAM: &str = "/usr/bin/osagent";
const GROUP: &str = "/sys/fs/cgroup/update";
/// A backstop: what a worker takes itself is at most 32 MiB, and what it writes is counted too until it is on the disk.
const GROUP_BYTES: &str = "67108864";
/// Another backstop, for one that says nothing: each part of a payload is told of before it is fetched, and the slowest server that is put up
/// with takes hours for one.
pub const MOST_SILENCE: Duration = Duration::from_secs(24 * 3600);

/// What a worker was started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// What could not be done when the device started.
    Start,
    Commit,
    /// An installation that the policy allows; until when updates were put off when it began, since the kernel's start.
    Install {
        deferred_until: Duration,
    },
    /// The same, for somebody who wants it now.
    InstallNow,
    /// To look, or to write something down, for somebody.
    Asked,
    /// To write something down that is known already.
    Own,
}

pub struct Worker {
    pub output: File,
    pub words: Words,
    pub errand: Errand,
    /// When it has said something, or began.
    pub heard: Duration,
    pid: u32,
}

impl Worker {
    pub fn start(order: &Order, errand: Errand, now: Duration) -> io::Result<Worker> {
        let mut command = Command::new(PROGRAM);
        command.arg(COMMAND).arg(serde_json::to_string(order)?).current_dir("/").env_clear();
        let group = if order.is_background() { group()? } else { None };
        let mut child = spawn(command, &Credentials { uid: 0, gid: 0 }, Input::Null, group.as_ref())?;
        // What it says in words goes nowhere: its report has the reason.
        drop(child.stderr.take());
        let output = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"))?;
        let output = File::from(OwnedFd::from(output));
        rustix::fs::fcntl_setfl(&output, OFlags::NONBLOCK)?;
        Ok(Worker { output, words: Words::default(), errand, heard: now, pid: child.id() })
    }

    /// What it has written is good; its output then ends, as that of any other. Its confined copy ends with it.
    pub fn kill(&self) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// The file a process writes to in order to enter the group; none without control groups.
fn group() -> io::Result<Option<File>> {
    let folder = Path::new(GROUP);
    if !folder.parent().is_some_and(|parent| parent.join("cgroup.procs").exists()) {
        return Ok(None);
    }
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Only where a system with apps has divided the machine's memory.
    if folder.join("memory.max").exists() {
        file::set(folder.join("memory.max"), GROUP_BYTES)?;
    }
    OpenOptions::new().write(true).open(folder.join("cgroup.procs")).map(Some)
}

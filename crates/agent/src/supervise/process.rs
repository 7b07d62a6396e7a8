//! A service's declaration to a running process with a control group, folders and a captured output of its own.
//!
//! Invariant: when a service has ended, nothing it started is left.

use super::unit::Exit;
use crate::file;
use crate::log::{Level, Log, Splitter};
use crate::time;
use osbuild_format::device::ServiceConfig;
use osbuild_sys::service::{spawn, Credentials, Input};
use rustix::fs::OFlags;
use rustix::process::{kill_process_group, Pid, Signal, WaitStatus};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const GROUPS: &str = "/sys/fs/cgroup/services";
const SEARCH_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// Read from one stream before the others get their turn.
const TURN_BYTES: usize = 16 * 1024;

/// What a bounded stream may bring at once, and each second after that. Whoever writes more waits.
const BURST_BYTES: usize = 64 * 1024;
const BYTES_PER_SECOND: usize = 16 * 1024;
/// What one read brings at most; less than that is not worth a turn.
const CHUNK_BYTES: usize = 4096;
const UNTIL_A_CHUNK: Duration = Duration::from_millis(250);

/// One of a process's two output streams.
pub struct Stream {
    file: File,
    level: Level,
    splitter: Splitter,
    budget: Option<Budget>,
}

/// How much more may be read now.
struct Budget {
    bytes: usize,
    filled: Duration,
}

impl Budget {
    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.filled);
        let more = passed.as_secs_f64() * BYTES_PER_SECOND as f64;
        if more >= 1.0 {
            self.bytes = BURST_BYTES.min(self.bytes.saturating_add(more as usize));
            self.filled = now;
        }
    }
}

/// Starts the service; gives back its pid and what it writes.
pub fn start(service: &ServiceConfig) -> io::Result<(u32, Vec<Stream>)> {
    let (runtime, state) = folders(service)?;
    let mut command = Command::new(&service.argv[0]);
    command.args(&service.argv[1..]).current_dir("/").env_clear();
    command.env("PATH", SEARCH_PATH).env("HOME", "/").env("USER", &service.user).env("LOGNAME", &service.user);
    command.env("RUNTIME_DIRECTORY", runtime).env("STATE_DIRECTORY", state);
    if service.terminal.is_some() {
        command.env("TERM", "vt220");
    }
    command.envs(&service.env);
    let input = service.terminal.clone().map_or(Input::Null, Input::Terminal);
    let group = group(&service.name)?;
    let mut child = spawn(command, &Credentials { uid: service.uid, gid: service.gid }, input, group.as_ref())?;
    let mut streams = Vec::new();
    if let Some(out) = child.stdout.take() {
        streams.push(Stream::new(OwnedFd::from(out), Level::Info)?);
    }
    if let Some(errors) = child.stderr.take() {
        streams.push(Stream::new(OwnedFd::from(errors), Level::Warning)?);
    }
    Ok((child.id(), streams))
}

/// A place in memory and one on `/data` that belong to the service's user.
fn folders(service: &ServiceConfig) -> io::Result<(PathBuf, PathBuf)> {
    let runtime = Path::new("/run/services").join(&service.name);
    let state = Path::new("/data/services").join(&service.name);
    for folder in [&runtime, &state] {
        std::fs::create_dir_all(folder)?;
        chown(folder, Some(service.uid), Some(service.gid))?;
    }
    Ok((runtime, state))
}

/// The file a process writes to in order to enter the service's group; none without control groups.
fn group(name: &str) -> io::Result<Option<File>> {
    let folder = Path::new(GROUPS).join(name);
    if !Path::new(GROUPS).exists() {
        return Ok(None);
    }
    match std::fs::create_dir(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).open(folder.join("cgroup.procs")).map(Some)
}

/// Asks the process and those in its session's first group to end.
pub fn terminate(service: &ServiceConfig, pid: u32) {
    signal(pid, Signal::TERM);
    if service.terminal.is_some() {
        // Shells at a terminal do not heed the other.
        signal(pid, Signal::HUP);
    }
}

/// Ends everything the service ever started.
pub fn kill(name: &str, pid: u32) {
    // The control group knows them all; without one the group of processes has to do.
    if file::set(Path::new(GROUPS).join(name).join("cgroup.kill"), "1").is_err() {
        signal(pid, Signal::KILL);
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended by itself meanwhile, which is what was wanted.
        let _ = kill_process_group(pid, signal);
    }
}

pub fn exit_of(status: WaitStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        // Not asked for: neither stops nor continuations are waited for.
        (None, None) => Exit::Code(0),
    }
}

impl Stream {
    fn new(descriptor: OwnedFd, level: Level) -> io::Result<Self> {
        rustix::fs::fcntl_setfl(&descriptor, OFlags::NONBLOCK)?;
        Ok(Stream { file: File::from(descriptor), level, splitter: Splitter::default(), budget: None })
    }

    /// One whose writer waits when it writes faster than a log is for.
    pub fn bounded(descriptor: OwnedFd, level: Level) -> io::Result<Self> {
        let budget = Some(Budget { bytes: BURST_BYTES, filled: time::now() });
        Ok(Stream { budget, ..Stream::new(descriptor, level)? })
    }

    /// When it may be read again; none: now.
    pub fn rests_until(&mut self, now: Duration) -> Option<Duration> {
        let budget = self.budget.as_mut()?;
        budget.fill(now);
        (budget.bytes < CHUNK_BYTES).then(|| now + UNTIL_A_CHUNK)
    }

    /// Logs what is there to be read; false: it is over.
    pub fn drain(&mut self, unit: &str, log: &Log) -> bool {
        let mut buffer = [0; CHUNK_BYTES];
        let mut taken = 0;
        let most = self.budget.as_ref().map_or(TURN_BYTES, |budget| budget.bytes.min(TURN_BYTES));
        while taken < most {
            match self.file.read(&mut buffer) {
                Ok(count) if count > 0 => {
                    taken += count;
                    if let Some(budget) = &mut self.budget {
                        budget.bytes = budget.bytes.saturating_sub(count);
                    }
                    self.splitter.push(&buffer[..count]).iter().for_each(|line| log.write(self.level, unit, line));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    self.splitter.finish().iter().for_each(|line| log.write(self.level, unit, line));
                    return false;
                }
            }
        }
        true
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_flood_is_read_at_the_rate_of_a_log_and_loses_nothing() {
        let (read, write) = rustix::pipe::pipe().expect("a pipe");
        let mut stream = Stream::bounded(read, Level::Info).expect("a stream");
        let log = Log::in_file(crate::file::open("/dev/null").expect("it is there"));
        let mut writer = File::from(write);
        let mut drained = 0;
        for _ in 0..100 {
            writer.write_all(&[b'x'; 4096]).expect("there is room");
            if stream.rests_until(time::now()).is_some() {
                break;
            }
            assert!(stream.drain("app", &log));
            drained += 4096;
        }
        assert!((BURST_BYTES..BURST_BYTES + 8192).contains(&drained), "{drained}");
        assert!(stream.rests_until(time::now() + Duration::from_secs(1)).is_none());
    }
}

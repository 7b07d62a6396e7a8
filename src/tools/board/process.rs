//! Programs of the virtual board: a name and arguments to a running process.
//!
//! Invariant: dropping a process ends it, by its own id.

use super::BoardError;
use crate::io::file::{self, at};
use std::ffi::OsString;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where the board's programs come from.
#[derive(Clone, Debug)]
pub enum ToolRoot {
    /// The checked-out tool tree `board`: a process sees it as its root, read-only.
    Tree(PathBuf),
    /// The host itself.
    Host,
}

/// What to start.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// Absolute, inside the tree.
    pub program: String,
    pub args: Vec<OsString>,
    /// Folders and files that keep their path inside the sandbox.
    pub writable: Vec<PathBuf>,
    pub readable: Vec<PathBuf>,
    /// Where its output goes; none: the terminal, which it then also reads from.
    pub log: Option<PathBuf>,
    /// Whether it may open the host's `/dev/kvm`.
    pub kvm: bool,
}

pub struct Process {
    child: Child,
    launch: Launch,
    ended: Option<String>,
}

/// How often a wait looks again.
const POLL: Duration = Duration::from_millis(5);

impl ToolRoot {
    /// The host's path of a file of the tree.
    pub fn path(&self, inside: &str) -> PathBuf {
        match self {
            ToolRoot::Tree(tree) => tree.join(inside.trim_start_matches('/')),
            ToolRoot::Host => PathBuf::from(inside),
        }
    }

    pub fn spawn(&self, launch: Launch) -> Result<Process, BoardError> {
        let start = |source| BoardError::Start { program: launch.program.clone(), source };
        let mut command = Command::new(&launch.program);
        command.args(&launch.args);
        if let Some(log) = &launch.log {
            let out = file::create(log)?;
            let err = out.try_clone().map_err(at("open", log))?;
            command.stdin(Stdio::null()).stdout(out).stderr(err);
        }
        let child = command.spawn().map_err(|e| start(e.into()))?;
        Ok(Process { child, launch, ended: None })
    }

    /// Runs to the end; anything but success within `timeout` is an error that shows the log's end.
    pub fn run(&self, launch: Launch, timeout: Duration) -> Result<(), BoardError> {
        let mut process = self.spawn(launch)?;
        match process.wait(timeout)? {
            Some(exit) if exit == SUCCESS => Ok(()),
            Some(_) => Err(process.ended_error()),
            None => Err(BoardError::Silent { program: process.launch.program.clone(), waited: timeout }),
        }
    }

    /// Runs with this terminal until it ends.
    pub fn run_attached(&self, launch: Launch) -> Result<(), BoardError> {
        let mut process = self.spawn(launch)?;
        process.finish()?;
        match process.ended.as_deref() {
            Some(SUCCESS) => Ok(()),
            _ => Err(process.ended_error()),
        }
    }
}

/// How the end of a process that succeeded is spelt.
pub const SUCCESS: &str = "exit status: 0";

impl Process {
    /// How it ended; none while it runs.
    pub fn poll(&mut self) -> Result<Option<&str>, BoardError> {
        if self.ended.is_none() {
            let talk = |source| BoardError::Talk { program: self.launch.program.clone(), source };
            self.ended = self.child.try_wait().map_err(talk)?.map(|status| status.to_string());
        }
        Ok(self.ended.as_deref())
    }

    /// Waits for its end; none when `timeout` passed first.
    pub fn wait(&mut self, timeout: Duration) -> Result<Option<String>, BoardError> {
        let start = Instant::now();
        loop {
            if let Some(exit) = self.poll()? {
                return Ok(Some(exit.to_owned()));
            }
            if start.elapsed() >= timeout {
                return Ok(None);
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits until `ready` answers, the process ends (an error) or `timeout` passes (an error).
    pub fn wait_until<T>(
        &mut self,
        timeout: Duration,
        mut ready: impl FnMut() -> std::io::Result<Option<T>>,
    ) -> Result<T, BoardError> {
        let start = Instant::now();
        let program = self.launch.program.clone();
        loop {
            if let Some(value) = ready().map_err(|source| BoardError::Talk { program: program.clone(), source })? {
                return Ok(value);
            }
            if self.poll()?.is_some() {
                return Err(self.ended_error());
            }
            if start.elapsed() >= timeout {
                return Err(BoardError::Silent { program, waited: timeout });
            }
            std::thread::sleep(POLL);
        }
    }

    pub fn ended_error(&self) -> BoardError {
        BoardError::Ended {
            program: self.launch.program.clone(),
            exit: self.ended.clone().unwrap_or_else(|| "no exit yet".to_owned()),
            tail: self.launch.log.as_deref().map(tail).unwrap_or_default(),
        }
    }

    /// Waits for its end, however long that takes.
    fn finish(&mut self) -> Result<(), BoardError> {
        let talk = |source| BoardError::Talk { program: self.launch.program.clone(), source };
        self.ended = Some(self.child.wait().map_err(talk)?.to_string());
        Ok(())
    }

    /// Ends it now.
    pub fn stop(&mut self) {
        if self.ended.is_none() {
            // It may have ended by itself in the meantime, which is what is wanted.
            let _ = self.child.kill();
            self.ended = self.child.wait().ok().map(|status| status.to_string());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The last lines of a log that may be long.
fn tail(log: &Path) -> String {
    const TAIL_BYTES: u64 = 4096;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = file::open(log).map_err(|e| e.source)?;
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

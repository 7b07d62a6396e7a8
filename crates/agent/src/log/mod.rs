//! The structured log: entries in, JSON lines in `/run/log` out, the important ones on the console too.
//!
//! Invariant: a log takes at most twice its limit of memory; losing it never stops the agent.

mod record;

pub use record::{Level, Splitter};

use crate::{console, time};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Of the agent and of services.
const OWN: &str = "/run/log/osagent.jsonl";
/// Of one app each, so that no app pushes the entries of others out.
const APPS: &str = "/run/log/apps";
/// `/run` is memory: when a file is full it replaces the one before.
pub const LIMIT_FILE_BYTES: usize = 256 * 1024;
const LIMIT_APP_BYTES: usize = 64 * 1024;

/// The agent's own name among the units.
pub const AGENT: &str = "osagent";

pub struct Log {
    file: Mutex<Option<Output>>,
}

struct Output {
    file: File,
    path: PathBuf,
    size_bytes: usize,
    limit_bytes: usize,
}

/// The files of the agent's log, the older entries first.
pub fn own_files() -> [PathBuf; 2] {
    files(Path::new(OWN))
}

/// The files of an app's log, the older entries first.
pub fn app_files(id: &str) -> [PathBuf; 2] {
    files(&app_file(id))
}

fn app_file(id: &str) -> PathBuf {
    Path::new(APPS).join(format!("{id}.jsonl"))
}

fn files(current: &Path) -> [PathBuf; 2] {
    [previous(current), current.to_owned()]
}

fn previous(current: &Path) -> PathBuf {
    current.with_extension("jsonl.1")
}

impl Log {
    pub fn open() -> Self {
        Log::at(Path::new(OWN), LIMIT_FILE_BYTES)
    }

    /// What an app writes, and what the agent has to say of it.
    pub fn of_app(id: &str) -> Self {
        Log::at(&app_file(id), LIMIT_APP_BYTES)
    }

    /// A log that cannot be opened says so on the console and keeps to it.
    fn at(path: &Path, limit_bytes: usize) -> Self {
        let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let output = folder.and_then(|()| Output::open(path, limit_bytes));
        if let Err(error) = &output {
            console::say(&format!("no log: cannot open `{}`: {error}", path.display()));
        }
        Log { file: Mutex::new(output.ok()) }
    }

    /// One that only tests look into: nothing reaches the machine that runs them.
    #[cfg(test)]
    pub fn in_file(file: File) -> Self {
        let path = PathBuf::new();
        Log { file: Mutex::new(Some(Output { file, path, size_bytes: 0, limit_bytes: LIMIT_FILE_BYTES })) }
    }

    pub fn info(&self, message: &str) {
        self.write(Level::Info, AGENT, message);
    }

    /// Shown on the console as well.
    pub fn tell(&self, message: &str) {
        self.info(message);
        console::say(message);
    }

    /// Shown on the console as well.
    pub fn warn(&self, message: &str) {
        self.write(Level::Warning, AGENT, message);
        console::say(message);
    }

    /// Shown on the console as well.
    pub fn error(&self, message: &str) {
        self.write(Level::Error, AGENT, message);
        console::say(message);
    }

    pub fn write(&self, level: Level, unit: &str, message: &str) {
        let line = record::line(time::milliseconds(), level, unit, message);
        // A thread that died while it wrote has left at worst half a line.
        let mut output = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = output.as_mut() {
            if let Err(error) = open.append(line.as_bytes()) {
                console::say(&format!("no more log: cannot write `{}`: {error}", open.path.display()));
                *output = None;
            }
        }
    }
}

impl Output {
    fn open(path: &Path, limit_bytes: usize) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let size_bytes = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        Ok(Output { file, path: path.to_owned(), size_bytes, limit_bytes })
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.size_bytes.saturating_add(line.len()) > self.limit_bytes {
            std::fs::rename(&self.path, previous(&self.path))?;
            *self = Output::open(&self.path, self.limit_bytes)?;
        }
        self.size_bytes += line.len();
        self.file.write_all(line)
    }
}

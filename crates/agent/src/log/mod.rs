//! The structured log: entries in, JSON lines in `/run/log` out, the important ones on the console too.
//!
//! Invariant: the log takes at most twice [`LIMIT_FILE_BYTES`] of memory; losing it never stops the agent.

mod record;

pub use record::{Level, Splitter};

use crate::{console, time};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, PoisonError};

const FOLDER: &str = "/run/log";
/// The newest entries.
pub const CURRENT: &str = "/run/log/osagent.jsonl";
/// Those before them.
pub const PREVIOUS: &str = "/run/log/osagent.jsonl.1";
/// `/run` is memory: when a file is full it replaces the one before.
pub const LIMIT_FILE_BYTES: usize = 256 * 1024;

/// The agent's own name among the units.
pub const AGENT: &str = "osagent";

pub struct Log {
    file: Mutex<Option<Output>>,
}

struct Output {
    file: File,
    size_bytes: usize,
}

impl Log {
    /// A log that cannot be opened says so on the console and keeps to it.
    pub fn open() -> Self {
        let output = std::fs::create_dir_all(FOLDER).and_then(|()| Output::open());
        if let Err(error) = &output {
            console::say(&format!("no log: cannot open `{CURRENT}`: {error}"));
        }
        Log { file: Mutex::new(output.ok()) }
    }

    /// One that only tests look into: nothing reaches the machine that runs them.
    #[cfg(test)]
    pub fn in_file(file: File) -> Self {
        Log { file: Mutex::new(Some(Output { file, size_bytes: 0 })) }
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
                console::say(&format!("no more log: cannot write `{CURRENT}`: {error}"));
                *output = None;
            }
        }
    }
}

impl Output {
    fn open() -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(CURRENT)?;
        Ok(Output { file, size_bytes: 0 })
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.size_bytes + line.len() > LIMIT_FILE_BYTES {
            std::fs::rename(CURRENT, PREVIOUS)?;
            *self = Output::open()?;
        }
        self.size_bytes += line.len();
        self.file.write_all(line)
    }
}

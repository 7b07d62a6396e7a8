//! A device at the end of a serial line: a command of its agent in, what it says out.
//!
//! Invariant: output of a command that ends is shown only whole; what is followed is shown as it comes.

use super::super::super::interrupt;
use super::super::super::report::Failure;
use super::super::super::session::Session;
use super::PATIENCE;
use crate::io::file;
use crate::tools::board::Stop;
use crate::tools::serial::{Console, SerialError};
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::RefCell;
use std::io::Write;
use std::path::{Path, PathBuf};

/// More than an hour of a line.
const INPUT_LIMIT_BYTES: u64 = 32 << 20;

pub struct Serial {
    path: PathBuf,
    console: RefCell<Console>,
}

impl Serial {
    pub fn open(session: &Session, path: &Path) -> Result<Serial, Failure> {
        let console = Console::open(path, &Stop::at(session.wish_to_stop())).map_err(failure)?;
        Ok(Serial { path: path.to_owned(), console: RefCell::new(console) })
    }

    pub fn place(&self) -> String {
        self.path.display().to_string()
    }

    pub fn ask(&self, command: &str, input: Option<&Path>) -> Result<String, Failure> {
        let mut console = self.console.borrow_mut();
        if let Some(path) = input {
            let content = file::read(path, INPUT_LIMIT_BYTES)?;
            let bar = bar();
            let brought = console.bring(&content, &mut |there, all| {
                bar.set_length(all);
                bar.set_position(there);
            });
            bar.finish_and_clear();
            brought.map_err(failure)?;
        }
        let ended = console.run(command, input.is_some(), PATIENCE).map_err(failure)?;
        let output = String::from_utf8_lossy(&ended.output).into_owned();
        match ended.status {
            0 => Ok(output),
            status => Err(self.refusal(status, &output)),
        }
    }

    pub fn show(&self, command: &str) -> Result<(), Failure> {
        print!("{}", self.ask(command, None)?);
        Ok(())
    }

    pub fn follow(&self, command: &str) -> Result<(), Failure> {
        let mut show = |line: &str| {
            let mut output = std::io::stdout().lock();
            // Whoever stopped to read it ends us with a signal of its own.
            let _ = writeln!(output, "{line}").and_then(|()| output.flush());
        };
        match self.console.borrow_mut().follow(command, &mut show).map_err(failure)? {
            0 => Ok(()),
            // It has said why itself.
            status => Err(self.refusal(status, "")),
        }
    }

    fn refusal(&self, status: u8, said: &str) -> Failure {
        let (place, said) = (self.path.display(), said.trim());
        match said.is_empty() {
            true => Failure::new(format!("the device at {place} refused: exit status: {status}")),
            false => Failure::new(format!("the device at {place} says: {said}")),
        }
    }
}

/// Seen on a terminal only.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("  {bar:30} {bytes} of {total_bytes}, {bytes_per_sec}") {
        bar.set_style(style);
    }
    bar
}

fn failure(error: SerialError) -> Failure {
    let (exit, help) = (if matches!(error, SerialError::Interrupted) { interrupt::EXIT } else { 1 }, error.help());
    let failure = Failure { exit, ..Failure::from(error) };
    match help {
        Some(help) => failure.help(help),
        None => failure,
    }
}

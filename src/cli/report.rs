//! How an error reaches the user: its causes, one a line, then what to do.
//!
//! Invariant: the exit status is 2 for a wrong command line, 130 after Ctrl-C, 1 for everything else.

use super::remedy;
use std::error::Error;
use std::fmt::Write;

/// An error with an optional hint, ready to be printed.
#[derive(Debug)]
pub struct Failure {
    pub message: String,
    pub help: Option<String>,
    pub exit: u8,
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Failure { message: message.into(), help: None, exit: 1 }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            // Writing to a string cannot fail.
            let _ = write!(message, "\n  because: {error}");
            cause = error.source();
        }
        let help = remedy::of(&error, &message);
        Failure { message, help, exit: 1 }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Diagnostics bring their own label.
        let label = if self.message.starts_with("error") { "" } else { "error: " };
        write!(f, "{label}{}", self.message.trim_end())?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

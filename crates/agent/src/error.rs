//! What can go wrong on the device, as one type, and its causes as one line of text.
//!
//! Invariant: each error says what the agent was doing; its `Display` never repeats its source.

use osbuild_format::command_line::CommandLineError;
use osbuild_format::device::DeviceConfigError;
use osbuild_format::verity::VeritySuperblockError;
use std::fmt::Write;
use std::io;

#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("cannot {doing}")]
    System {
        doing: String,
        #[source]
        source: io::Error,
    },
    #[error("{0}")]
    Wrong(String),
    #[error("cannot use `{path}`")]
    Config {
        path: String,
        #[source]
        source: DeviceConfigError,
    },
    #[error(transparent)]
    CommandLine(#[from] CommandLineError),
    #[error("cannot use the verity superblock of `{device}`")]
    Superblock {
        device: String,
        #[source]
        source: VeritySuperblockError,
    },
}

/// Names what was being done when a system call failed.
pub trait Doing<T> {
    /// `what` completes "cannot ...".
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, AgentError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, AgentError> {
        self.map_err(|error| AgentError::System { doing: what(), source: error.into() })
    }
}

/// The error and what caused it, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_follow_on_the_same_line() {
        let failed: Result<(), io::Error> = Err(io::Error::from_raw_os_error(2));
        let error = failed.doing(|| "mount `/data`".to_owned()).expect_err("it failed");
        assert_eq!(chain(&error), "cannot mount `/data`: No such file or directory (os error 2)");
    }
}

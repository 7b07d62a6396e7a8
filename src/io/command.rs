//! Host processes (git, cargo, QEMU): argv in, exit and captured output out.
//!
//! Invariant: a failure shows argv, the exit and the end of stderr.

use std::process::{Command, Output};

#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("cannot start `{argv}`")]
    Start {
        argv: String,
        #[source]
        source: std::io::Error,
    },
    #[error("`{argv}` ended with {exit}: {stderr_tail}")]
    Failed { argv: String, exit: String, stderr_tail: String },
}

/// Runs to the end and returns what it printed; a non-zero exit is an error.
#[allow(clippy::disallowed_methods)]
pub fn run(command: &mut Command) -> Result<Output, CommandError> {
    let argv = argv_of(command);
    let output = command.output().map_err(|source| CommandError::Start { argv: argv.clone(), source })?;
    if output.status.success() {
        return Ok(output);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = stderr.lines().collect();
    let stderr_tail = lines[lines.len().saturating_sub(10)..].join("\n");
    Err(CommandError::Failed { argv, exit: output.status.to_string(), stderr_tail })
}

/// The command line as a person would type it.
pub fn argv_of(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|a| a.to_string_lossy().into_owned()));
    words.join(" ")
}

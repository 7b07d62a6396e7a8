//! Host processes (git, cargo, QEMU): argv in, exit and captured output out.
//!
//! Invariant: a failure shows argv, the exit and the end of stderr.

use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Between two looks at a program that runs.
const PAUSE: Duration = Duration::from_millis(10);

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
    #[error("`{argv}` did not end within {seconds} s")]
    Late { argv: String, seconds: u64 },
    #[error("`{argv}` writes more than {limit} bytes")]
    Long { argv: String, limit: usize },
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

/// Gives `input` to a program and returns what it prints, at most `limit` bytes; its stderr is the user's to see.
pub fn answer(command: &mut Command, input: &[u8], limit: usize, time: Duration) -> Result<Vec<u8>, CommandError> {
    let argv = argv_of(command);
    let start = |source| CommandError::Start { argv: argv.clone(), source };
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(start)?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let deadline = Instant::now() + time;
    // Not joined when time is up: what the program started may hold its ends of the pipes.
    let input = input.to_vec();
    std::thread::spawn(move || {
        // A program that does not read all of it says by its exit whether that was wrong.
        let _ = stdin.map(|mut pipe| pipe.write_all(&input));
    });
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.map(|pipe| pipe.take(limit as u64 + 1).read_to_end(&mut bytes)).transpose();
        let _ = send.send(read.map(|_| bytes));
    });
    let late = || CommandError::Late { argv: argv.clone(), seconds: time.as_secs() };
    let status = loop {
        match child.try_wait().map_err(start)? {
            Some(status) => break status,
            None if Instant::now() >= deadline => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(late());
            }
            None => std::thread::sleep(PAUSE),
        }
    };
    if !status.success() {
        // Whoever goes on writing when nobody reads any more ends by a signal.
        if receive.recv_timeout(PAUSE).is_ok_and(|read| read.is_ok_and(|bytes| bytes.len() > limit)) {
            return Err(CommandError::Long { argv, limit });
        }
        let stderr_tail = "it says why above".to_owned();
        return Err(CommandError::Failed { argv, exit: status.to_string(), stderr_tail });
    }
    let left = deadline.saturating_duration_since(Instant::now()).max(PAUSE);
    let bytes = receive.recv_timeout(left).map_err(|_| late())?.map_err(start)?;
    match bytes.len() > limit {
        true => Err(CommandError::Long { argv, limit }),
        false => Ok(bytes),
    }
}

/// The command line as a person would type it.
pub fn argv_of(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|a| a.to_string_lossy().into_owned()));
    words.join(" ")
}

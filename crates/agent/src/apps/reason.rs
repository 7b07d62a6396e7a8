//! Why an app ended, for a person and for a program.
//!
//! Invariant: every end has exactly one reason; what the kernel or the agent did to the app comes before what its
//! process looks like from outside.

use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Reason {
    /// It ended by itself.
    Exit {
        code: i32,
    },
    Signal {
        signal: i32,
        core_dumped: bool,
    },
    /// The kernel ended it at its memory limit.
    OutOfMemory {
        limit_bytes: u64,
    },
    /// The kernel ended it for a system call that its capabilities do not allow.
    ForbiddenCall {
        name: String,
    },
    /// It did not say `WATCHDOG=1` in time.
    Watchdog {
        seconds: u32,
    },
    /// It did not accept connections.
    Unhealthy {
        port: u16,
        tries: u32,
    },
    /// It did not say `READY=1` in time.
    NotReady {
        seconds: u64,
    },
    NotStarted {
        error: String,
    },
    /// Asked for.
    Stopped,
    /// A rule of the product, not a fault of the app.
    Policy {
        rule: String,
    },
    /// A block of its image is not what its signed manifest says.
    Corrupted,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Reason::Exit { code: 0 } => write!(f, "ended by itself, without an error"),
            Reason::Exit { code } => write!(f, "ended by itself: exit code {code}"),
            Reason::Signal { signal, core_dumped } => {
                write!(f, "killed by signal {signal}{}", signal_name(*signal))?;
                if *core_dumped {
                    write!(f, ", a core file is in its storage")?;
                }
                Ok(())
            }
            Reason::OutOfMemory { limit_bytes } => write!(f, "out of memory: its limit is {} KiB", limit_bytes / 1024),
            Reason::ForbiddenCall { name } => write!(f, "forbidden system call: {name}"),
            Reason::Watchdog { seconds } => write!(f, "watchdog: it gave no sign of life for {seconds} s"),
            Reason::Unhealthy { port, tries } => {
                write!(f, "unhealthy: it did not accept a connection on port {port}, {tries} times in a row")
            }
            Reason::NotReady { seconds } => write!(f, "it was not ready within {seconds} s"),
            Reason::NotStarted { error } => write!(f, "not started: {error}"),
            Reason::Stopped => write!(f, "stopped on request"),
            Reason::Policy { rule } => write!(f, "stopped by policy: {rule}"),
            Reason::Corrupted => write!(f, "a block of its image is not what its signed manifest says"),
        }
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        3 => " (SIGQUIT)",
        4 => " (SIGILL: an illegal instruction)",
        6 => " (SIGABRT: it gave itself up)",
        7 => " (SIGBUS: memory that cannot be read)",
        8 => " (SIGFPE: a division by zero or the like)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV: memory that is not its own)",
        13 => " (SIGPIPE)",
        14 => " (SIGALRM)",
        15 => " (SIGTERM)",
        31 => " (SIGSYS: a forbidden system call)",
        _ => "",
    }
}

/// What is known of an end.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// What the agent ended it for.
    pub cause: Option<Reason>,
    /// As waitpid(2) gives it, of the app's own process; none: the whole sandbox was killed.
    pub status: Option<i32>,
    pub ended_for_memory: bool,
    pub memory_limit_bytes: u64,
    pub forbidden_call: Option<String>,
    pub corrupted: bool,
}

const SIGKILL: i32 = 9;
const SIGBUS: i32 = 7;
const SIGSYS: i32 = 31;

impl Evidence {
    pub fn reason(self) -> Reason {
        if let Some(cause) = self.cause {
            return cause;
        }
        let (code, signal, core_dumped) = match self.status {
            Some(status) if status & 0x7f == 0 => (Some(status >> 8 & 0xff), 0, false),
            Some(status) => (None, status & 0x7f, status & 0x80 != 0),
            None => (None, SIGKILL, false),
        };
        match (code, signal) {
            (_, SIGSYS) => Reason::ForbiddenCall { name: self.forbidden_call.unwrap_or_else(|| "unknown".to_owned()) },
            (_, SIGKILL) if self.ended_for_memory => Reason::OutOfMemory { limit_bytes: self.memory_limit_bytes },
            (_, SIGBUS) if self.corrupted => Reason::Corrupted,
            (Some(code), _) => Reason::Exit { code },
            (None, signal) => Reason::Signal { signal, core_dumped },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_best_is_the_reason() {
        let evidence = |status| Evidence { status, memory_limit_bytes: 1 << 20, ..Evidence::default() };
        let killed = Evidence { ended_for_memory: true, ..evidence(None) };
        let forbidden = Evidence { forbidden_call: Some("mount".into()), ..evidence(Some(31)) };
        let watchdog = Evidence { cause: Some(Reason::Watchdog { seconds: 3 }), ..evidence(Some(9)) };
        for (evidence, wanted) in [
            (evidence(Some(0)), "ended by itself, without an error"),
            (evidence(Some(3 << 8)), "ended by itself: exit code 3"),
            (
                evidence(Some(11 | 0x80)),
                "killed by signal 11 (SIGSEGV: memory that is not its own), a core file is in its storage",
            ),
            (evidence(None), "killed by signal 9 (SIGKILL)"),
            (killed, "out of memory: its limit is 1024 KiB"),
            (forbidden, "forbidden system call: mount"),
            (watchdog, "watchdog: it gave no sign of life for 3 s"),
            (
                Evidence { corrupted: true, ..evidence(Some(7)) },
                "a block of its image is not what its signed manifest says",
            ),
        ] {
            assert_eq!(evidence.reason().to_string(), wanted);
        }
    }
}

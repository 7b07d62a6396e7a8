//! One program that the supervisor looks after: what is asked of it, and where it stands.
//!
//! Invariant: a unit is up only while it runs and, if it announces that itself, has said that it is ready.

use super::backoff::Backoff;
use osbuild_format::app::CrashLoop;
use osbuild_format::device::{Restart, ServiceConfig};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// It could not be started: an errno.
    NotStarted(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal(signal) => write!(f, "signal {signal}"),
            Exit::NotStarted(errno) => write!(f, "not started: {}", std::io::Error::from_raw_os_error(*errno)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// For those it starts after.
    Waiting,
    Running {
        pid: u32,
        since: Duration,
        ready: bool,
    },
    /// Until it is tried again.
    Pausing {
        until: Duration,
    },
    /// SIGTERM was sent; SIGKILL follows at `kill_at`.
    Stopping {
        pid: u32,
        kill_at: Duration,
    },
    /// SIGKILL was sent.
    Killed {
        pid: u32,
        at: Duration,
    },
    /// It ended well and need not run again.
    Finished,
    /// It ended badly and may not run again.
    Failed,
    Stopped,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Running { ready: false, .. } => "starting",
            State::Running { .. } => "running",
            State::Pausing { .. } => "pausing",
            State::Stopping { .. } | State::Killed { .. } => "stopping",
            State::Finished => "finished",
            State::Failed => "failed",
            State::Stopped => "stopped",
        }
    }

    pub fn pid(self) -> Option<u32> {
        match self {
            State::Running { pid, .. } | State::Stopping { pid, .. } | State::Killed { pid, .. } => Some(pid),
            _ => None,
        }
    }

    pub(super) fn is_up(self) -> bool {
        matches!(self, State::Running { ready: true, .. } | State::Finished)
    }
}

/// What is asked of a unit.
#[derive(Clone, Debug)]
pub struct UnitConfig {
    /// No other unit has it.
    pub name: String,
    /// Units that must be up before; those that do not exist are not waited for.
    pub after: Vec<String>,
    pub restart: Restart,
    pub stop_timeout: Duration,
    /// The system is healthy only while this unit is up.
    pub critical: bool,
    /// It says itself when it is up.
    pub notifies: bool,
    /// More ends than these, and it is not started again.
    pub crash_loop: Option<CrashLoop>,
}

impl UnitConfig {
    pub fn of_service(service: &ServiceConfig) -> Self {
        UnitConfig {
            name: service.name.clone(),
            after: service.after.clone(),
            restart: service.restart,
            stop_timeout: Duration::from_secs(u64::from(service.stop_timeout_seconds)),
            critical: service.critical,
            notifies: false,
            crash_loop: None,
        }
    }
}

pub struct Unit {
    pub config: UnitConfig,
    pub state: State,
    pub restarts: u32,
    pub last_exit: Option<Exit>,
    /// It failed because it ended too often.
    pub looped: bool,
    pub(super) backoff: Backoff,
    /// Asked for by a person: start again at once, whatever the policy says.
    pub(super) again: bool,
    /// Asked for by a person: do not start again.
    pub(super) held: bool,
    /// Ends that nobody asked for, within the window of the crash loop.
    ends: VecDeque<Duration>,
}

impl Unit {
    pub(super) fn new(config: UnitConfig) -> Self {
        Unit {
            config,
            state: State::Waiting,
            restarts: 0,
            last_exit: None,
            looped: false,
            backoff: Backoff::default(),
            again: false,
            held: false,
            ends: VecDeque::new(),
        }
    }

    pub(super) fn terminate(&mut self, pid: u32, now: Duration) {
        self.state = State::Stopping { pid, kill_at: now + self.config.stop_timeout };
    }

    /// Whoever starts it again by hand gives it a new chance.
    pub(super) fn forgive(&mut self) {
        self.held = false;
        self.looped = false;
        self.ends.clear();
        self.backoff = Backoff::default();
    }

    pub(super) fn ended(&mut self, exit: Exit, ran: Duration, now: Duration, stopping: bool) {
        let well = exit == Exit::Code(0);
        self.last_exit = Some(exit);
        let again = std::mem::take(&mut self.again);
        let restarts = self.config.restart == Restart::Always || (self.config.restart == Restart::OnFailure && !well);
        self.state = if stopping || self.held {
            State::Stopped
        } else if again {
            self.restarts = self.restarts.saturating_add(1);
            State::Waiting
        } else if restarts && self.loops(now) {
            self.looped = true;
            State::Failed
        } else if restarts {
            self.restarts = self.restarts.saturating_add(1);
            State::Pausing { until: now + self.backoff.after_run(ran) }
        } else if well {
            State::Finished
        } else {
            State::Failed
        };
    }

    /// Counts an end.
    fn loops(&mut self, now: Duration) -> bool {
        let Some(limit) = self.config.crash_loop else { return false };
        let window = Duration::from_secs(u64::from(limit.window_seconds));
        self.ends.push_back(now);
        while self.ends.front().is_some_and(|end| now.saturating_sub(*end) > window) {
            self.ends.pop_front();
        }
        u32::try_from(self.ends.len()).unwrap_or(u32::MAX) > limit.ends
    }
}

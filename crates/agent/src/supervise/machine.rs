//! The supervisor's decisions as a state machine: events and the time in, actions out.
//!
//! Invariant: pure. A unit starts only when all in its `after` are up, and is stopped only when no running unit
//! has it in its `after`. A stop ends whatever processes do: each unit is given up a while after its SIGKILL.

use super::backoff::Backoff;
use osbuild_format::device::{Restart, ServiceConfig};
use std::fmt;
use std::time::Duration;

/// A critical service counts as up once it has run this long: what dies at once was never up.
pub const SETTLED: Duration = Duration::from_millis(150);

/// How long a stop waits for a process after SIGKILL: one that the kernel itself holds, in a read of a dead disk say,
/// dies when that ends, or never.
pub const AFTER_KILL: Duration = Duration::from_secs(5);

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

    fn is_up(self) -> bool {
        matches!(self, State::Running { .. } | State::Finished)
    }
}

/// What the caller must do; units are numbered as they were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start it, then report with [`Supervisor::started`] or [`Supervisor::not_started`].
    Start(usize),
    Terminate {
        unit: usize,
        pid: u32,
    },
    Kill {
        unit: usize,
        pid: u32,
    },
    /// The system stops without waiting any longer for it to die.
    Abandon {
        unit: usize,
        pid: u32,
    },
}

pub struct Unit {
    pub name: String,
    pub critical: bool,
    pub state: State,
    pub restarts: u32,
    pub last_exit: Option<Exit>,
    after: Vec<usize>,
    restart: Restart,
    stop_timeout: Duration,
    backoff: Backoff,
    /// Asked for by a person: start again at once, whatever the policy says.
    again: bool,
}

pub struct Supervisor {
    units: Vec<Unit>,
    stopping: bool,
}

impl Supervisor {
    /// `services` are validated: names are unique, and `after` names existing ones without a cycle.
    pub fn new(services: &[ServiceConfig]) -> Self {
        let place = |name: &String| services.iter().position(|s| s.name == *name);
        let unit = |service: &ServiceConfig| Unit {
            name: service.name.clone(),
            critical: service.critical,
            state: State::Waiting,
            restarts: 0,
            last_exit: None,
            after: service.after.iter().filter_map(place).collect(),
            restart: service.restart,
            stop_timeout: Duration::from_secs(u64::from(service.stop_timeout_seconds)),
            backoff: Backoff::default(),
            again: false,
        };
        Supervisor { units: services.iter().map(unit).collect(), stopping: false }
    }

    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// Everything that is to be done now. Starting a unit may make the next one ready: call until it is empty.
    pub fn due(&mut self, now: Duration) -> Vec<Action> {
        self.end_pauses(now);
        let mut actions = Vec::new();
        for index in 0..self.units.len() {
            match self.units[index].state {
                State::Waiting if !self.stopping && self.may_start(index) => actions.push(Action::Start(index)),
                State::Waiting | State::Pausing { .. } if self.stopping => self.units[index].state = State::Stopped,
                State::Running { pid, .. } if self.stopping && !self.is_needed(index) => {
                    actions.push(self.terminate(index, pid, now));
                }
                State::Stopping { pid, kill_at } if now >= kill_at => {
                    self.units[index].state = State::Killed { pid, at: now };
                    actions.push(Action::Kill { unit: index, pid });
                }
                State::Killed { pid, at } if self.stopping && now >= at + AFTER_KILL => {
                    self.units[index].state = State::Stopped;
                    actions.push(Action::Abandon { unit: index, pid });
                }
                _ => {}
            }
        }
        actions
    }

    /// A unit whose pause is over waits like any other: what it starts after may have gone down meanwhile.
    fn end_pauses(&mut self, now: Duration) {
        for unit in &mut self.units {
            if matches!(unit.state, State::Pausing { until } if now >= until) {
                unit.state = State::Waiting;
            }
        }
    }

    pub fn started(&mut self, index: usize, pid: u32, now: Duration) {
        self.units[index].state = State::Running { pid, since: now };
    }

    pub fn not_started(&mut self, index: usize, errno: i32, now: Duration) {
        self.ended(index, Exit::NotStarted(errno), Duration::ZERO, now);
    }

    /// The unit that `pid` was, if it was one.
    pub fn exited(&mut self, pid: u32, exit: Exit, now: Duration) -> Option<usize> {
        let index = self.units.iter().position(|unit| unit.state.pid() == Some(pid))?;
        let ran = match self.units[index].state {
            State::Running { since, .. } => now.saturating_sub(since),
            _ => Duration::ZERO,
        };
        self.ended(index, exit, ran, now);
        Some(index)
    }

    /// False: there is no such unit, or everything is being stopped.
    pub fn restart(&mut self, name: &str, now: Duration) -> Result<Option<Action>, NoSuchUnit> {
        let index = self.units.iter().position(|unit| unit.name == name && !self.stopping).ok_or(NoSuchUnit)?;
        match self.units[index].state {
            State::Running { pid, .. } => {
                self.units[index].again = true;
                Ok(Some(self.terminate(index, pid, now)))
            }
            State::Stopping { .. } | State::Killed { .. } => {
                self.units[index].again = true;
                Ok(None)
            }
            _ => {
                self.units[index].state = State::Waiting;
                Ok(None)
            }
        }
    }

    /// From now on nothing starts; what runs is stopped in reverse order.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    pub fn all_stopped(&self) -> bool {
        self.units.iter().all(|unit| unit.state.pid().is_none())
    }

    /// Names of the critical units that are not up.
    pub fn missing(&self, now: Duration) -> Vec<&str> {
        let settled = |unit: &&Unit| match unit.state {
            State::Running { since, .. } => now < since + SETTLED,
            state => !state.is_up(),
        };
        self.units.iter().filter(|unit| unit.critical).filter(settled).map(|unit| unit.name.as_str()).collect()
    }

    /// When something is due that no event will announce.
    pub fn wake_at(&self, now: Duration) -> Option<Duration> {
        let due = |unit: &Unit| match unit.state {
            State::Pausing { until } if !self.stopping => Some(until),
            State::Stopping { kill_at, .. } => Some(kill_at),
            State::Killed { at, .. } if self.stopping => Some(at + AFTER_KILL),
            State::Running { since, .. } if unit.critical => Some(since + SETTLED).filter(|at| *at > now),
            _ => None,
        };
        self.units.iter().filter_map(due).min()
    }

    fn may_start(&self, index: usize) -> bool {
        self.units[index].after.iter().all(|earlier| self.units[*earlier].state.is_up())
    }

    /// Whether a unit that still runs was started after this one.
    fn is_needed(&self, index: usize) -> bool {
        self.units.iter().any(|unit| unit.after.contains(&index) && unit.state.pid().is_some())
    }

    fn terminate(&mut self, index: usize, pid: u32, now: Duration) -> Action {
        let unit = &mut self.units[index];
        unit.state = State::Stopping { pid, kill_at: now + unit.stop_timeout };
        Action::Terminate { unit: index, pid }
    }

    fn ended(&mut self, index: usize, exit: Exit, ran: Duration, now: Duration) {
        let stopping = self.stopping;
        let unit = &mut self.units[index];
        let well = exit == Exit::Code(0);
        unit.last_exit = Some(exit);
        let again = std::mem::take(&mut unit.again);
        unit.state = if stopping {
            State::Stopped
        } else if again {
            unit.restarts = unit.restarts.saturating_add(1);
            State::Waiting
        } else if unit.restart == Restart::Always || (unit.restart == Restart::OnFailure && !well) {
            unit.restarts = unit.restarts.saturating_add(1);
            State::Pausing { until: now + unit.backoff.after_run(ran) }
        } else if well {
            State::Finished
        } else {
            State::Failed
        };
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such service, or the system is going down")]
pub struct NoSuchUnit;

//! The supervisor's decisions as a state machine: events and the time in, actions out.
//!
//! Invariant: pure. A unit starts only when all in its `after` are up, and is stopped only when no running unit
//! has it in its `after`. A stop ends whatever processes do: each unit is given up a while after its SIGKILL.

use super::unit::{Exit, State, Unit, UnitConfig};
use std::time::Duration;

/// A critical service counts as up once it has run this long: what dies at once was never up.
pub const SETTLED: Duration = Duration::from_millis(150);

/// How long a stop waits for a process after SIGKILL: one that the kernel itself holds, in a read of a dead disk say,
/// dies when that ends, or never.
pub const AFTER_KILL: Duration = Duration::from_secs(5);

/// What the caller must do; units are numbered as they were given, and keep their number.
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

pub struct Supervisor {
    /// None: it was removed.
    units: Vec<Option<Unit>>,
    stopping: bool,
}

impl Supervisor {
    /// Names are unique. Units whose `after` goes round in a circle never start, but a stop ends even those.
    pub fn new(units: impl IntoIterator<Item = UnitConfig>) -> Self {
        Supervisor { units: units.into_iter().map(|config| Some(Unit::new(config))).collect(), stopping: false }
    }

    /// One more; its name is not taken.
    pub fn add(&mut self, config: UnitConfig) -> usize {
        self.units.push(Some(Unit::new(config)));
        self.units.len() - 1
    }

    /// Forgets a unit that does not run; false: it does.
    pub fn remove(&mut self, index: usize) -> bool {
        let runs = self.unit(index).is_some_and(|unit| unit.state.pid().is_some());
        if let Some(place) = self.units.get_mut(index).filter(|_| !runs) {
            *place = None;
        }
        !runs
    }

    pub fn units(&self) -> impl Iterator<Item = &Unit> {
        self.units.iter().flatten()
    }

    pub fn unit(&self, index: usize) -> Option<&Unit> {
        self.units.get(index)?.as_ref()
    }

    fn unit_mut(&mut self, index: usize) -> Option<&mut Unit> {
        self.units.get_mut(index)?.as_mut()
    }

    /// Everything that is to be done now. Starting a unit may make the next one ready: call until it is empty.
    pub fn due(&mut self, now: Duration) -> Vec<Action> {
        self.end_pauses(now);
        let in_a_circle = self.stopping && self.waits_for_itself();
        (0..self.units.len()).filter_map(|index| self.due_of(index, in_a_circle, now)).collect()
    }

    fn due_of(&mut self, index: usize, in_a_circle: bool, now: Duration) -> Option<Action> {
        let stopping = self.stopping;
        let (may_start, is_needed) = (self.may_start(index), self.is_needed(index) && !in_a_circle);
        let unit = self.unit_mut(index)?;
        match unit.state {
            State::Waiting if !stopping && may_start => return Some(Action::Start(index)),
            State::Waiting | State::Pausing { .. } if stopping => unit.state = State::Stopped,
            State::Running { pid, .. } if stopping && !is_needed => {
                unit.terminate(pid, now);
                return Some(Action::Terminate { unit: index, pid });
            }
            State::Stopping { pid, kill_at } if now >= kill_at => {
                unit.state = State::Killed { pid, at: now };
                return Some(Action::Kill { unit: index, pid });
            }
            State::Killed { pid, at } if stopping && now >= at + AFTER_KILL => {
                unit.state = State::Stopped;
                return Some(Action::Abandon { unit: index, pid });
            }
            _ => {}
        }
        None
    }

    /// A unit whose pause is over waits like any other: what it starts after may have gone down meanwhile.
    fn end_pauses(&mut self, now: Duration) {
        for unit in self.units.iter_mut().flatten() {
            if matches!(unit.state, State::Pausing { until } if now >= until) {
                unit.state = State::Waiting;
            }
        }
    }

    pub fn started(&mut self, index: usize, pid: u32, now: Duration) {
        if let Some(unit) = self.unit_mut(index) {
            unit.state = State::Running { pid, since: now, ready: !unit.config.notifies };
        }
    }

    /// It has said so; whatever else it does, this changes nothing but that.
    pub fn ready(&mut self, index: usize) {
        if let Some(State::Running { ready, .. }) = self.unit_mut(index).map(|unit| &mut unit.state) {
            *ready = true;
        }
    }

    pub fn not_started(&mut self, index: usize, errno: i32, now: Duration) {
        self.ended(index, Exit::NotStarted(errno), Duration::ZERO, now);
    }

    /// The unit that `pid` is, if it is one.
    pub fn unit_of(&self, pid: u32) -> Option<usize> {
        self.units.iter().position(|unit| unit.as_ref().is_some_and(|unit| unit.state.pid() == Some(pid)))
    }

    /// The unit that `pid` was, if it was one.
    pub fn exited(&mut self, pid: u32, exit: Exit, now: Duration) -> Option<usize> {
        let index = self.unit_of(pid)?;
        let ran = match self.unit(index)?.state {
            State::Running { since, .. } => now.saturating_sub(since),
            _ => Duration::ZERO,
        };
        self.ended(index, exit, ran, now);
        Some(index)
    }

    pub fn find(&self, name: &str) -> Result<usize, NoSuchUnit> {
        let named = |unit: &Option<Unit>| unit.as_ref().is_some_and(|unit| unit.config.name == name);
        self.units.iter().position(named).filter(|_| !self.stopping).ok_or(NoSuchUnit)
    }

    pub fn restart(&mut self, name: &str, now: Duration) -> Result<Option<Action>, NoSuchUnit> {
        let index = self.find(name)?;
        let unit = self.unit_mut(index).ok_or(NoSuchUnit)?;
        unit.forgive();
        match unit.state {
            State::Running { pid, .. } => {
                unit.again = true;
                unit.terminate(pid, now);
                return Ok(Some(Action::Terminate { unit: index, pid }));
            }
            State::Stopping { .. } | State::Killed { .. } => unit.again = true,
            _ => unit.state = State::Waiting,
        }
        Ok(None)
    }

    /// Starts it unless it runs; one that is just being stopped starts again after that.
    pub fn start_unit(&mut self, name: &str) -> Result<(), NoSuchUnit> {
        let index = self.find(name)?;
        let unit = self.unit_mut(index).ok_or(NoSuchUnit)?;
        unit.forgive();
        match unit.state {
            State::Running { .. } => {}
            State::Stopping { .. } | State::Killed { .. } => unit.again = true,
            _ => unit.state = State::Waiting,
        }
        Ok(())
    }

    /// Stops it, and keeps it stopped.
    pub fn stop_unit(&mut self, name: &str, now: Duration) -> Result<Option<Action>, NoSuchUnit> {
        let index = self.find(name)?;
        let unit = self.unit_mut(index).ok_or(NoSuchUnit)?;
        unit.held = true;
        unit.again = false;
        match unit.state {
            State::Running { pid, .. } => {
                unit.terminate(pid, now);
                return Ok(Some(Action::Terminate { unit: index, pid }));
            }
            State::Waiting | State::Pausing { .. } => unit.state = State::Stopped,
            _ => {}
        }
        Ok(None)
    }

    /// From now on nothing starts; what runs is stopped in reverse order.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    pub fn all_stopped(&self) -> bool {
        self.units().all(|unit| unit.state.pid().is_none())
    }

    /// Names of the critical units that are not up.
    pub fn missing(&self, now: Duration) -> Vec<&str> {
        let settling = |unit: &&Unit| match unit.state {
            State::Running { since, ready, .. } => !ready || now < since + SETTLED,
            state => !state.is_up(),
        };
        let critical = self.units().filter(|unit| unit.config.critical);
        critical.filter(settling).map(|unit| unit.config.name.as_str()).collect()
    }

    /// When something is due that no event will announce.
    pub fn wake_at(&self, now: Duration) -> Option<Duration> {
        let due = |unit: &Unit| match unit.state {
            State::Pausing { until } if !self.stopping => Some(until),
            State::Stopping { kill_at, .. } => Some(kill_at),
            State::Killed { at, .. } if self.stopping => Some(at + AFTER_KILL),
            State::Running { since, .. } if unit.config.critical => Some(since + SETTLED).filter(|at| *at > now),
            _ => None,
        };
        self.units().filter_map(due).min()
    }

    fn may_start(&self, index: usize) -> bool {
        let Some(unit) = self.unit(index) else { return false };
        let is_up =
            |name: &String| self.units().filter(|other| other.config.name == *name).all(|other| other.state.is_up());
        unit.config.after.iter().all(is_up)
    }

    /// Whether a unit that still runs was started after this one.
    fn is_needed(&self, index: usize) -> bool {
        let Some(unit) = self.unit(index) else { return false };
        self.units().any(|other| other.config.after.contains(&unit.config.name) && other.state.pid().is_some())
    }

    /// Units run, none of them ends, and each is needed by another: then all are stopped at once, rather than never.
    fn waits_for_itself(&self) -> bool {
        let running = |index: &usize| self.unit(*index).is_some_and(|unit| unit.state.pid().is_some());
        let mut running = (0..self.units.len()).filter(running).peekable();
        let waits = |index| {
            let runs = self.unit(index).is_some_and(|unit| matches!(unit.state, State::Running { .. }));
            runs && self.is_needed(index)
        };
        running.peek().is_some() && running.all(waits)
    }

    fn ended(&mut self, index: usize, exit: Exit, ran: Duration, now: Duration) {
        let stopping = self.stopping;
        if let Some(unit) = self.unit_mut(index) {
            unit.ended(exit, ran, now, stopping);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such service, or the system is going down")]
pub struct NoSuchUnit;

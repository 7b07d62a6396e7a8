//! Updates, as PID 1 sees them: when a worker is started, and for what.
//!
//! Invariant: one worker at a time; PID 1 never waits for it, and whatever becomes of it, the system goes on or restarts.

mod able;
mod asked;
mod heard;
mod moment;
mod worker;

use super::Agent;
use crate::end::End;
use crate::update::partitions::Partitions;
use crate::update::report::{Progress, Report};
use crate::update::start::{self, Beginning, Begun, Tried};
use crate::update::worker::{policy, Circumstances, Order};
use crate::{file, time};
pub use moment::Deferrals;
use moment::{due_later, AGAIN};
use osbuild_format::device::DeviceConfig;
use osbuild_update::policy::{first_check_wait, may_install, Moment, Policy};
use osbuild_update::reason::NotNow;
use osbuild_update::state::{Journal, State};
use serde_json::Value;
use std::sync::mpsc::Receiver;
use std::time::Duration;
use worker::{Errand, Worker, MOST_SILENCE};

/// Why a trial ends whose commit took too long.
const LATE: &str = "it was not committed in time";
const FIRST: Duration = Duration::from_secs(30);
/// The kernel makes another one for each start.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Beyond what the health checks may take themselves.
const TO_COMMIT: Duration = Duration::from_secs(180);
/// Until another try to start the worker that commits.
const TO_COMMIT_AGAIN: Duration = Duration::from_secs(5);
/// For a worker that is killed to be gone.
const TO_END: Duration = Duration::from_secs(10);

/// For a client to ask once more before its own shell is stopped.
const TO_TELL: Duration = Duration::from_millis(1000);

pub struct Updates {
    /// Version of the slot that runs and is not committed yet.
    trial: Option<String>,
    unable: Option<String>,
    /// Of a first try that took too long.
    first: Option<Receiver<Tried>>,
    worker: Option<Worker>,
    progress: Option<Progress>,
    result: Option<Report>,
    /// The last that somebody has asked for.
    asked: Option<Report>,
    /// That is committed; none: it could not be read.
    epoch: Option<u32>,
    /// As the last worker left it; to read it for every status would keep the code for that in memory.
    state: Value,
    next: Duration,
    /// Restart if it is still on trial then.
    commit_deadline: Option<Duration>,
    /// When the worker that commits is started.
    commit_at: Duration,
    /// Until when somebody has put updates off while a worker ran, in seconds since 1970: for the next worker to write down.
    put_off: Option<u64>,
    /// A release is armed: by then, who has waited for that has been told.
    restart_at: Option<Duration>,
    /// Workers in a row that failed and got nowhere.
    failures: u32,
    /// The next look does not wait for its time.
    hurries: bool,
    /// The worker that commits was ended, since it took too long.
    late: bool,
    /// Why the last worker did nothing: for programs, and for people.
    why: Option<(String, String)>,
}

impl Updates {
    pub fn new(begun: Begun, config: &DeviceConfig, device_id: &str) -> Self {
        let (trial, unable) = match begun.beginning {
            Beginning::Trial(version) => (Some(version), None),
            Beginning::Unable(reason) => (None, Some(reason)),
            Beginning::Ordinary | Beginning::Restart => (None, None),
        };
        // Without it each start of a device has the same place among the others'.
        let boot = file::text(BOOT_ID).unwrap_or_default();
        let wait = first_check_wait(&policy(config), device_id, &boot);
        let next = time::now() + FIRST + Duration::from_secs(wait);
        let (epoch, first, state, commit_at) = (begun.epoch, begun.late, shown(), Duration::ZERO);
        let (worker, progress, result, asked, commit_deadline, restart_at) = (None, None, None, None, None, None);
        let (put_off, failures, hurries, late, why) = (None, 0, false, false, None);
        Updates {
            trial,
            unable,
            first,
            worker,
            progress,
            result,
            asked,
            epoch,
            state,
            next,
            commit_deadline,
            commit_at,
            put_off,
            restart_at,
            failures,
            hurries,
            late,
            why,
        }
    }

    pub fn worker(&self) -> Option<&Worker> {
        self.worker.as_ref()
    }

    pub fn is_on_trial(&self) -> bool {
        self.trial.is_some()
    }
}

impl Agent {
    /// Commits a healthy trial, and looks for updates when it is time.
    pub(super) fn keep_updating(&mut self) {
        if !self.health.is_decided() || self.ending.is_some() {
            return;
        }
        let now = time::now();
        if let Some(worker) = self.updates.worker.as_mut().filter(|worker| now >= worker.heard + MOST_SILENCE) {
            self.parts.log.error("the updater has said nothing for a day: it is ended");
            worker.heard = now;
            worker.kill();
        }
        if self.updates.commit_deadline.is_some_and(|deadline| now >= deadline) {
            // Its end is heard of, and noted; unless nothing ends it.
            let Some(worker) = self.updates.worker.as_ref().filter(|_| !self.updates.late) else {
                let reason = match &self.updates.result {
                    Some(Report::Failed { reason }) if !self.updates.late => reason.clone(),
                    _ => LATE.to_owned(),
                };
                self.parts.log.error(&format!("the release on trial is not committed: {reason}; rebooting"));
                start::failed(&self.parts.facts.slot, &reason, &self.parts.log);
                return self.end(End::Reboot);
            };
            worker.kill();
            self.updates.late = true;
            self.updates.commit_deadline = Some(now + TO_END);
        }
        if self.updates.restart_at.is_some_and(|at| now >= at) {
            return self.end(End::Reboot);
        }
        if self.updates.worker.is_some() || self.updates.restart_at.is_some() {
            return;
        }
        if self.updates.unable.is_some() {
            return self.try_to_be_able();
        }
        if self.updates.trial.is_some() {
            if self.updates.commit_deadline.is_none() {
                let checks = self.parts.config.update.health.iter();
                let seconds: u64 = checks.map(|check| u64::from(check.timeout_seconds)).sum();
                self.updates.commit_deadline = Some(now + TO_COMMIT + Duration::from_secs(seconds));
            }
            if now >= self.updates.commit_at {
                self.updates.commit_at = now + TO_COMMIT_AGAIN;
                self.begin(&Order::Commit, Errand::Commit);
            }
        } else if self.parts.config.update.url.is_some() && now >= self.updates.next {
            let wait = if std::mem::take(&mut self.updates.hurries) { None } else { self.not_due() };
            if let Some(wait) = wait {
                self.updates.next = now + wait;
                return;
            }
            self.updates.next = now + AGAIN;
            let circumstances = self.circumstances(None, false);
            let errand = Errand::Install { deferred_until: self.deferrals.until() };
            self.begin(&Order::Install { unasked: true, circumstances }, errand);
        }
    }

    /// How long the repository is not to be asked yet, where the time is known.
    fn not_due(&self) -> Option<Duration> {
        self.parts.network.clock().server.as_ref()?;
        let (now, state) = (time::unix().as_secs(), state()?);
        let at = due_later(&state, &policy(&self.parts.config), now, self.parts.apps.device_id())?;
        Some(Duration::from_secs(at.saturating_sub(now).max(1)))
    }

    pub(super) fn updates_wake_at(&self) -> Option<Duration> {
        let decided = self.health.is_decided() && self.ending.is_none();
        let rests = self.updates.worker.is_none() && self.updates.restart_at.is_none();
        let next = if self.updates.unable.is_some() {
            Some(self.updates.next)
        } else if self.updates.trial.is_some() {
            Some(self.updates.commit_at)
        } else {
            self.parts.config.update.url.as_ref().map(|_| self.updates.next)
        };
        let next = next.filter(|_| rests);
        let silence = self.updates.worker.as_ref().map(|worker| worker.heard + MOST_SILENCE);
        let all = next.into_iter().chain(silence).chain(self.updates.commit_deadline).chain(self.updates.restart_at);
        all.min().filter(|_| decided)
    }

    /// A system that is not healthy does not wait for its turn: how often it comes here is bounded by how long it stays up.
    pub(super) fn look_for_updates_now(&mut self) {
        self.updates.next = time::now();
        self.updates.hurries = true;
    }

    /// The wishes of apps to put updates off have changed: what waits for their end may come sooner.
    pub(super) fn change_deferrals(&mut self, change: impl FnOnce(&mut Deferrals)) {
        let before = self.deferrals.until();
        change(&mut self.deferrals);
        if self.deferrals.until() < before {
            self.updates.next = self.updates.next.min(time::now() + AGAIN);
        }
    }

    /// Whether updates are put off until then, as far as the product allows it.
    fn is_put_off(&self, until: Duration) -> bool {
        // What is not healthy restarts anyway.
        if self.health.is_overdue() {
            return false;
        }
        let now_seconds = time::unix().as_secs();
        let offered = state().and_then(|state| state.offered);
        let moment = Moment {
            now_seconds,
            is_certain: false,
            offered_seconds: offered.map_or(now_seconds, |offered| offered.since_seconds),
            deferred_until_seconds: now_seconds + until.saturating_sub(time::now()).as_secs(),
        };
        let policy = Policy { window: None, ..policy(&self.parts.config) };
        matches!(may_install(&policy, moment), Err(NotNow::Deferred { .. }))
    }

    fn circumstances(&self, from: Option<String>, full: bool) -> Circumstances {
        let synchronized = self.parts.network.clock().server.is_some();
        // An app of a system that is not healthy has nothing to protect from a restart.
        let left = if self.health.is_overdue() { 0 } else { self.deferrals.left(time::now()).as_secs() };
        let deferred_until_seconds = if left == 0 { 0 } else { time::unix().as_secs() + left };
        Circumstances { synchronized, deferred_until_seconds, from, full }
    }

    fn begin(&mut self, order: &Order, errand: Errand) -> bool {
        match Worker::start(order, errand, time::now()) {
            Ok(worker) => {
                self.updates.why = None;
                self.updates.worker = Some(worker);
                true
            }
            Err(error) => {
                self.parts.log.warn(&format!("the updater cannot be started: {error}"));
                self.updates.result = Some(Report::Failed { reason: error.to_string() });
                false
            }
        }
    }
}

/// What is on `/data`. None: it cannot be read.
fn state() -> Option<State> {
    let storage = Partitions::only_state(false).ok()?;
    Journal::load(&storage).ok().map(|(_, state, _)| state)
}

/// The same for people and programs.
fn shown() -> Value {
    state().map_or(Value::Null, |state| serde_json::to_value(state).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_before_the_restart() {
        assert!(TO_TELL >= 2 * crate::control::update::BETWEEN_LOOKS);
    }
}

//! Updates, as PID 1 sees them: when a worker is started, and what is done about its last word.
//!
//! Invariant: one worker at a time; PID 1 never waits for it, and whatever becomes of it, the system goes on or restarts.

use super::Agent;
use crate::control::{Answer, UpdateAction};
use crate::end::End;
use crate::update::partitions::Partitions;
use crate::update::report::{Progress, Report, Words};
use crate::update::start::{Beginning, Begun};
use crate::update::worker::{policy, Circumstances, Order, COMMAND};
use crate::{file, time};
use osbuild_format::device::DeviceConfig;
use osbuild_sys::service::{spawn, Credentials, Input};
use osbuild_update::policy::{first_check_wait, may_check, next_check, Policy};
use osbuild_update::reason::NotNow;
use osbuild_update::state::{Journal, Phase, State};
use rustix::fs::OFlags;
use serde_json::{json, Value};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PROGRAM: &str = "/usr/bin/osagent";
const GROUP: &str = "/sys/fs/cgroup/update";
/// A backstop: what a worker takes itself is at most 32 MiB, and what it writes is counted too until it is on the disk.
const GROUP_BYTES: &str = "67108864";
/// After a first failure, and until the network is there.
const AGAIN: Duration = Duration::from_secs(300);
const FIRST: Duration = Duration::from_secs(30);
/// The kernel makes another one for each start.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Beyond what the health checks may take themselves.
const TO_COMMIT: Duration = Duration::from_secs(180);

/// For a client to ask once more before its own shell is stopped.
const TO_TELL: Duration = Duration::from_millis(1000);

pub struct Updates {
    /// Version of the slot that runs and is not committed yet.
    trial: Option<String>,
    unable: Option<String>,
    worker: Option<Worker>,
    progress: Option<Progress>,
    result: Option<Report>,
    /// That is committed; none: it could not be read.
    epoch: Option<u32>,
    /// As the last worker left it; to read it for every status would keep the code for that in memory.
    state: Value,
    next: Duration,
    /// Restart if it is still on trial then.
    commit_deadline: Option<Duration>,
    /// Until when somebody has put updates off while a worker ran, in seconds since 1970: for the next worker to write down.
    put_off: Option<u64>,
    /// A release is armed: by then, who has waited for that has been told.
    restart_at: Option<Duration>,
    /// Workers in a row that failed and got nowhere.
    failures: u32,
}

pub struct Worker {
    pub output: File,
    words: Words,
    commits: bool,
    /// Until when apps had put updates off when it began; none: it was asked for, whatever they say.
    deferred_until: Option<Duration>,
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
        let (epoch, state) = (begun.epoch, shown());
        let (worker, progress, result, commit_deadline, restart_at) = (None, None, None, None, None);
        let (put_off, failures) = (None, 0);
        Updates {
            trial,
            unable,
            worker,
            progress,
            result,
            epoch,
            state,
            next,
            commit_deadline,
            put_off,
            restart_at,
            failures,
        }
    }

    pub fn worker(&self) -> Option<&Worker> {
        self.worker.as_ref()
    }
}

impl Agent {
    /// Commits a healthy trial, and looks for updates when it is time.
    pub(super) fn keep_updating(&mut self) {
        if self.ready_ms.is_none() || self.ending.is_some() || self.updates.unable.is_some() {
            return;
        }
        let now = time::now();
        if self.updates.commit_deadline.is_some_and(|deadline| now >= deadline) {
            self.parts.log.error("the release on trial was not committed in time; rebooting");
            return self.end(End::Reboot);
        }
        if self.updates.restart_at.is_some_and(|at| now >= at) {
            return self.end(End::Reboot);
        }
        if self.updates.worker.is_some() || self.updates.restart_at.is_some() {
            return;
        }
        if self.updates.trial.is_some() {
            if self.updates.commit_deadline.is_none() {
                let checks = self.parts.config.update.health.iter();
                let seconds: u64 = checks.map(|check| u64::from(check.timeout_seconds)).sum();
                self.updates.commit_deadline = Some(now + TO_COMMIT + Duration::from_secs(seconds));
                self.begin(&Order::Commit);
            }
        } else if self.parts.config.update.url.is_some() && now >= self.updates.next {
            if let Some(wait) = self.not_due() {
                self.updates.next = now + wait;
                return;
            }
            self.updates.next = now + AGAIN;
            let circumstances = self.circumstances(None, false);
            self.begin(&Order::Install { unasked: true, circumstances });
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
        let ready = self.ready_ms.is_some() && self.ending.is_none() && self.updates.unable.is_none();
        let rests = self.updates.worker.is_none() && self.updates.restart_at.is_none();
        let looks = self.parts.config.update.url.is_some() && rests && self.updates.trial.is_none();
        let next = looks.then_some(self.updates.next);
        next.into_iter().chain(self.updates.commit_deadline).chain(self.updates.restart_at).min().filter(|_| ready)
    }

    pub(super) fn answer_update(&mut self, action: UpdateAction) -> Answer {
        if let Some(reason) = &self.updates.unable {
            return Answer::Refused(format!("this device cannot update: {reason}"));
        }
        if let (UpdateAction::Defer { seconds }, None, Some(_)) = (&action, self.ending, &self.updates.worker) {
            // Whoever has to put off what is going on cannot wait until it is over.
            let until_seconds = self.until(*seconds);
            self.updates.put_off = Some(until_seconds);
            return Answer::Status(serde_json::to_value(Report::Deferred { until_seconds }).unwrap_or_default());
        }
        if self.ending.is_some() || self.updates.restart_at.is_some() || self.updates.worker.is_some() {
            return Answer::Refused("another update is under way, or the system is going down".to_owned());
        }
        if let Some(version) = &self.updates.trial {
            return Answer::Refused(format!("{version} is on trial: it has to be committed first"));
        }
        let order = match action {
            UpdateAction::Check { from } => Order::Check(self.circumstances(from, false)),
            UpdateAction::Install { from, full } => {
                Order::Install { unasked: false, circumstances: self.circumstances(from, full) }
            }
            UpdateAction::Defer { seconds } => Order::Defer { until_seconds: self.until(seconds) },
        };
        match self.begin(&order) {
            true => Answer::Done,
            false => Answer::Refused("the updater cannot be started; the log says why".to_owned()),
        }
    }

    /// When a deferral ends that begins now, in seconds since 1970.
    fn until(&self, seconds: u64) -> u64 {
        time::unix().as_secs() + seconds.min(self.parts.config.update.defer_limit_seconds.into())
    }

    pub(super) fn updates_status(&self) -> Value {
        json!({
            "slot": self.parts.facts.slot, "version": self.parts.config.version, "state": self.updates.state,
            "working": self.updates.worker.is_some(), "progress": self.updates.progress, "epoch": self.updates.epoch,
            "trial": self.updates.trial, "unable": self.updates.unable,
            "result": self.updates.result, "text": self.updates.result.as_ref().map(Report::text),
        })
    }

    fn circumstances(&self, from: Option<String>, full: bool) -> Circumstances {
        let synchronized = self.parts.network.clock().server.is_some();
        let left = self.updates_deferred_until.saturating_sub(time::now()).as_secs();
        let deferred_until_seconds = if left == 0 { 0 } else { time::unix().as_secs() + left };
        Circumstances { synchronized, deferred_until_seconds, from, full }
    }

    fn begin(&mut self, order: &Order) -> bool {
        match start(order) {
            Ok(worker) => {
                let waits = matches!(order, Order::Install { unasked: true, .. });
                let deferred_until = waits.then_some(self.updates_deferred_until);
                self.updates.worker = Some(Worker { deferred_until, ..worker });
                true
            }
            Err(error) => {
                self.parts.log.warn(&format!("the updater cannot be started: {error}"));
                self.updates.result = Some(Report::Failed { reason: error.to_string() });
                false
            }
        }
    }

    pub(super) fn hear_worker(&mut self) {
        let Some(worker) = &mut self.updates.worker else { return };
        let mut part = [0; 1024];
        match worker.output.read(&mut part) {
            Ok(0) => {}
            Ok(count) => {
                let progress = worker.words.hear(&part[..count]);
                self.updates.progress = progress.or(self.updates.progress.take());
                return;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // As good as its end.
            Err(_) => {}
        }
        let Some(worker) = self.updates.worker.take() else { return };
        let before = done(&self.updates.state);
        self.updates.progress = None;
        self.updates.state = shown();
        let report = worker.words.report();
        self.parts.log.info(&format!("update: {}", report.text()));
        let got_nowhere = matches!(report, Report::Failed { .. }) && done(&self.updates.state) <= before;
        self.updates.failures = if got_nowhere { self.updates.failures.saturating_add(1) } else { 0 };
        let put_off = self.updates.put_off.take();
        let left = put_off.map_or(0, |until| until.saturating_sub(time::unix().as_secs()));
        let deferred_until = longer(self.updates_deferred_until, left, time::now());
        if matches!(report, Report::Armed { .. }) && is_newly_deferred(worker.deferred_until, deferred_until) {
            // The next worker knows, and knows for how long that may be.
            self.updates.next = time::now();
        } else {
            self.conclude(&report, worker.commits);
        }
        self.updates.result = Some(report);
        if let Some(until_seconds) = put_off.filter(|_| self.ending.is_none()) {
            self.begin(&Order::Defer { until_seconds });
        }
    }

    fn conclude(&mut self, report: &Report, commits: bool) {
        match report {
            Report::Armed { .. } => {
                self.parts.log.tell(&format!("restarting: {}", report.text()));
                self.updates.restart_at = Some(time::now() + TO_TELL);
            }
            Report::Committed { epoch } if commits => {
                self.updates.epoch = Some(*epoch);
                let version = self.updates.trial.take().unwrap_or_default();
                self.updates.commit_deadline = None;
                self.parts.log.tell(&format!("{version} is committed"));
            }
            report if commits => {
                self.parts.log.error(&format!("the release on trial is not committed: {}; rebooting", report.text()));
                self.end(End::Reboot);
            }
            Report::NotNow { details, .. } => {
                // A time at which the reason ends, or else the time of the next check.
                let at = ends(details).or_else(|| {
                    let state = state()?;
                    Some(next_check(&policy(&self.parts.config), state.checked_seconds, self.parts.apps.device_id()))
                });
                let wait = at.unwrap_or_default().saturating_sub(time::unix().as_secs());
                self.updates.next = time::now() + AGAIN.max(Duration::from_secs(wait));
            }
            // Nobody else commits: who says so has been taken over.
            Report::Failed { .. } | Report::Committed { .. } => {
                let interval = Duration::from_secs(self.parts.config.update.check_interval_seconds.into());
                self.updates.next = time::now() + pause(self.updates.failures, interval);
            }
            // What was put off until now may be put off for less long now.
            Report::Deferred { .. } => self.updates.next = self.updates.next.min(time::now() + AGAIN),
            Report::Offered { .. } => {}
        }
    }
}

/// When the repository is to be asked again, in seconds since 1970; none: now. A device that restarts often asks no more often for
/// that; but what is under way, or waits for its moment, goes on.
fn due_later(state: &State, policy: &Policy, now_seconds: u64, device_id: &str) -> Option<u64> {
    if state.phase != Phase::Idle || state.offered.is_some() {
        return None;
    }
    match may_check(policy, now_seconds, state.checked_seconds, device_id) {
        Err(NotNow::NotDue { at_seconds }) => Some(at_seconds),
        _ => None,
    }
}

/// Until when updates are put off: by apps, or by a person for so many seconds more.
fn longer(by_apps: Duration, left_seconds: u64, now: Duration) -> Duration {
    match left_seconds {
        0 => by_apps,
        left => by_apps.max(now + Duration::from_secs(left)),
    }
}

/// Whether somebody has put updates off since a worker began that takes notice of it.
fn is_newly_deferred(then: Option<Duration>, now: Duration) -> bool {
    then.is_some_and(|then| then < now)
}

/// When the reason ends for which nothing was done, in seconds since 1970; none: with the next check.
fn ends(details: &Value) -> Option<u64> {
    // A time server is asked all the while.
    let soon = details.get("why").is_some_and(|why| why == "no-time").then_some(0);
    soon.or_else(|| ["at_seconds", "until_seconds"].iter().find_map(|name| details.get(name)?.as_u64()))
}

/// Until the next try. A payload that is damaged on the server, or a medium that does not keep what is written, would be paid for
/// again every few minutes, in traffic and in wear; a failure that came further goes on soon.
fn pause(failures: u32, interval: Duration) -> Duration {
    let doubled = 1 << failures.saturating_sub(1).min(16);
    AGAIN.saturating_mul(doubled).min(interval.max(AGAIN))
}

/// Segments that an installation under way has written.
fn done(state: &Value) -> u64 {
    state.pointer("/phase/done").and_then(Value::as_u64).unwrap_or(0)
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

fn start(order: &Order) -> io::Result<Worker> {
    let mut command = Command::new(PROGRAM);
    command.arg(COMMAND).arg(serde_json::to_string(order)?).current_dir("/").env_clear();
    let group = if order.is_background() { group()? } else { None };
    let mut child = spawn(command, &Credentials { uid: 0, gid: 0 }, Input::Null, group.as_ref())?;
    // What it says in words goes nowhere: its report has the reason.
    drop(child.stderr.take());
    let output = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"))?;
    let output = File::from(OwnedFd::from(output));
    rustix::fs::fcntl_setfl(&output, OFlags::NONBLOCK)?;
    let commits = matches!(order, Order::Commit);
    Ok(Worker { output, words: Words::default(), commits, deferred_until: None })
}

/// The file a process writes to in order to enter the group; none without control groups.
fn group() -> io::Result<Option<File>> {
    let folder = Path::new(GROUP);
    if !folder.parent().is_some_and(|parent| parent.join("cgroup.procs").exists()) {
        return Ok(None);
    }
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Only where a system with apps has divided the machine's memory.
    if folder.join("memory.max").exists() {
        file::set(folder.join("memory.max"), GROUP_BYTES)?;
    }
    OpenOptions::new().write(true).open(folder.join("cgroup.procs")).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use osbuild_format::command_line::Slot;
    use osbuild_update::state::Candidate;

    #[test]
    fn a_client_is_told_before_the_restart() {
        assert!(TO_TELL >= 2 * crate::control::update::BETWEEN_LOOKS);
    }

    #[test]
    fn failures_that_get_nowhere_become_rare() {
        let interval = Duration::from_secs(6 * 3600);
        let minutes = [0, 1, 2, 3, 7, u32::MAX].map(|failures| pause(failures, interval).as_secs() / 60);
        assert_eq!(minutes, [5, 5, 10, 20, 320, 360]);
        assert_eq!(pause(9, Duration::from_secs(60)), AGAIN, "not sooner than after one");
        let state = State {
            phase: Phase::Installing { candidate: candidate(), slot: Slot::B, header: String::new(), done: 7 },
            ..State::default()
        };
        assert_eq!(done(&serde_json::to_value(state).expect("JSON")), 7);
        assert_eq!(done(&Value::Null), 0);
    }

    #[test]
    fn a_start_is_no_reason_to_ask_unless_something_waits() {
        let policy = Policy { check_interval_seconds: 6000, window: None, defer_limit_seconds: 0 };
        let mut state = State::default();
        assert_eq!(due_later(&state, &policy, 1 << 31, "device"), None, "never asked");
        state.checked(1 << 31, None);
        let at = due_later(&state, &policy, (1 << 31) + 60, "device").expect("asked a minute ago");
        assert_eq!(due_later(&state, &policy, at, "device"), None);
        assert_ne!(due_later(&state, &policy, 1 << 31, "another"), Some(at), "not all devices at once");
        state.checked(1 << 31, Some("2.0.0"));
        assert_eq!(due_later(&state, &policy, (1 << 31) + 60, "device"), None, "it waits for its moment");
        state.checked(1 << 31, None);
        state.phase = Phase::Committing { candidate: candidate(), slot: Slot::B };
        assert_eq!(due_later(&state, &policy, (1 << 31) + 60, "device"), None, "it is not ended");
    }

    #[test]
    fn each_reason_that_ends_by_itself_says_when() {
        let details = |why: &NotNow| serde_json::to_value(why).expect("JSON");
        assert_eq!(ends(&details(&NotNow::OutsideWindow { at_seconds: 7 })), Some(7));
        assert_eq!(ends(&details(&NotNow::Deferred { until_seconds: 8 })), Some(8));
        assert_eq!(ends(&details(&NotNow::NoTime)), Some(0), "soon");
        assert_eq!(ends(&details(&NotNow::UpToDate)), None);
    }

    #[test]
    fn what_apps_put_off_after_a_worker_began_counts_unless_it_was_asked_for() {
        let time = Duration::from_secs;
        assert!(is_newly_deferred(Some(time(5)), time(9)));
        assert!(!is_newly_deferred(Some(time(9)), time(9)), "it knew");
        assert!(!is_newly_deferred(None, time(9)), "somebody wants it now");
        assert!(is_newly_deferred(Some(time(5)), longer(time(5), 30, time(6))), "a person, while it ran");
        assert!(!is_newly_deferred(Some(time(50)), longer(time(50), 30, time(6))), "no longer than it knew");
        assert!(!is_newly_deferred(Some(time(0)), longer(time(0), 0, time(6))), "taken back");
    }

    fn candidate() -> Candidate {
        Candidate { name: "5e".repeat(32), version: "2.0.0".into(), epoch: 1 }
    }
}

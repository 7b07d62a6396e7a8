//! Whether the system is healthy, and what becomes of one that is not.
//!
//! Invariant: a release on trial that is not healthy never stays. Any other restarts, too, but each time later, and looks for an update
//! before: no release lasts for ever that could be replaced, however little of it works.

use super::Agent;
use crate::data::OWN_FOLDER;
use crate::end::End;
use crate::update::start;
use crate::{file, time};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a restart does not mend in this time is for an update or for somebody who looks.
const MOST_STAY: Duration = Duration::from_secs(6 * 3600);
/// For an update that is under way when the system would restart; what is written by then need not be fetched again.
const FOR_AN_UPDATE: Duration = Duration::from_secs(3600);

pub struct Health {
    deadline: Duration,
    /// When an unhealthy system restarts; not before the deadline.
    end: Duration,
    /// The deadline has passed.
    overdue: bool,
    failed: FailedStarts,
    /// From the firmware's hand-over, or the kernel's start.
    ready_ms: Option<u64>,
}

impl Health {
    /// `patience`: for a start to become healthy.
    pub fn new(now: Duration, patience: Duration) -> Self {
        let failed = FailedStarts::new(Path::new(OWN_FOLDER));
        let (deadline, end) = (now + patience, now + stay(patience, failed.count()));
        Health { deadline, end, overdue: false, failed, ready_ms: None }
    }

    pub fn ready_ms(&self) -> Option<u64> {
        self.ready_ms
    }

    /// What a status calls it.
    pub fn word(&self) -> &'static str {
        match (self.ready_ms, self.overdue) {
            (Some(_), _) => "ready",
            (None, false) => "starting",
            (None, true) => "unhealthy",
        }
    }

    /// An update may take a system away that works, or one that never will.
    pub fn is_decided(&self) -> bool {
        self.ready_ms.is_some() || self.overdue
    }

    /// Its deadline has passed, and it is not healthy.
    pub fn is_overdue(&self) -> bool {
        self.ready_ms.is_none() && self.overdue
    }

    /// Counts this start among those that were not healthy. Where that cannot be kept each would be the first: it stays up then as if
    /// there had been many.
    fn count(&mut self, now: Duration) -> io::Result<()> {
        self.failed.count_one().inspect_err(|_| self.end = self.end.max(now + MOST_STAY))
    }

    /// None: it need not be looked at for its time.
    pub fn wake_at(&self, updates: bool, now: Duration) -> Option<Duration> {
        match (self.ready_ms, self.overdue) {
            (Some(_), _) => None,
            (None, false) => Some(self.deadline),
            (None, true) if updates && now >= self.end => Some(self.end + FOR_AN_UPDATE),
            (None, true) => Some(self.end),
        }
    }

    /// Whether the time of an unhealthy system is over. `updates`: one is being installed.
    fn is_over(&self, updates: bool, now: Duration) -> bool {
        now >= if updates { self.end + FOR_AN_UPDATE } else { self.end }
    }
}

impl Agent {
    pub(super) fn judge_health(&mut self) {
        if self.health.ready_ms.is_some() || self.ending.is_some() {
            return;
        }
        let now = time::now();
        let mut missing = self.supervisor.missing(now);
        missing.extend(self.parts.apps.missing(&self.parts.config));
        if missing.is_empty() {
            let kernel = time::in_milliseconds(now);
            let ready = kernel + self.fixed.loader_ms.unwrap_or(0);
            self.health.ready_ms = Some(ready);
            self.next_status = now;
            self.parts.log.tell(&format!("ready in {ready} ms (kernel {} ms)", self.parts.facts.kernel_ms));
            self.rest_soon();
            // One more than there was is no harm: the next such start only lasts longer.
            let _ = self.health.failed.forget();
        } else if now >= self.health.deadline && !self.health.overdue {
            self.health.overdue = true;
            self.next_status = now;
            self.is_unhealthy(&missing.join("`, `"), now);
        } else if self.health.overdue && self.health.is_over(self.updates.worker().is_some(), now) {
            self.parts.log.error("still not healthy; rebooting");
            self.end(End::Reboot);
        }
    }

    fn is_unhealthy(&mut self, missing: &str, now: Duration) {
        let seconds = self.parts.config.health_deadline_seconds;
        let reason = format!("not healthy within {seconds} s: `{missing}` is not up");
        if self.updates.is_on_trial() {
            self.parts.log.error(&format!("{reason}; rebooting"));
            start::failed(&self.parts.facts.slot, &reason, &self.parts.log);
            return self.end(End::Reboot);
        }
        if let Err(error) = self.health.count(now) {
            self.parts.log.warn(&format!("cannot count this start: {error}"));
        }
        if self.health.is_over(self.updates.worker().is_some(), now) {
            self.parts.log.error(&format!("{reason}; rebooting"));
            return self.end(End::Reboot);
        }
        let left = self.health.end.saturating_sub(now).as_secs();
        self.parts.log.error(&format!("{reason}; looking for an update, rebooting in {left} s"));
        self.look_for_updates_now();
    }
}

/// For how long a start stays up that does not become healthy, after so many others in a row: a restart helps against what is there by
/// chance, and the more of them have not helped the less one more will.
fn stay(patience: Duration, failed: u32) -> Duration {
    patience.saturating_mul(1 << failed.min(16)).min(MOST_STAY.max(patience))
}

/// Starts in a row that were not healthy in time and not on trial, kept over restarts.
struct FailedStarts(PathBuf);

impl FailedStarts {
    fn new(folder: &Path) -> Self {
        FailedStarts(folder.join("unhealthy"))
    }

    /// A file that cannot be read is as good as none: the system restarts after the first deadline.
    fn count(&self) -> u32 {
        file::text(&self.0).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    fn count_one(&self) -> io::Result<()> {
        file::replace(&self.0, format!("{}\n", self.count().saturating_add(1)).as_bytes(), 0o600)
    }

    fn forget(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unhealthy_start_stays_longer_than_the_one_before() {
        let seconds = |patience, failed| stay(Duration::from_secs(patience), failed).as_secs();
        assert_eq!([0, 1, 2, 5, 9, u32::MAX].map(|failed| seconds(60, failed)), [60, 120, 240, 1920, 21_600, 21_600]);
        assert_eq!(seconds(30_000, 3), 30_000, "never less than the product's own");
    }

    #[test]
    fn an_unhealthy_system_waits_for_an_update_but_not_for_ever() {
        let time = Duration::from_secs;
        let folder = std::env::temp_dir().join(format!("osagent-unhealthy-{}", std::process::id()));
        let mut health = Health {
            deadline: time(60),
            end: time(120),
            overdue: false,
            failed: FailedStarts::new(&folder),
            ready_ms: None,
        };
        assert!(!health.is_decided());
        assert_eq!((health.word(), health.wake_at(true, time(10))), ("starting", Some(time(60))));
        health.overdue = true;
        assert!(health.is_decided());
        assert_eq!((health.word(), health.wake_at(true, time(60))), ("unhealthy", Some(time(120))));
        assert!(!health.is_over(false, time(119)) && health.is_over(false, time(120)));
        assert!(!health.is_over(true, time(3719)) && health.is_over(true, time(3720)));
        assert_eq!(
            health.wake_at(true, time(120)),
            Some(time(3720)),
            "a busy loop would feed the watchdog, and nothing else"
        );
        health.ready_ms = Some(7);
        assert_eq!((health.word(), health.wake_at(false, time(60))), ("ready", None));
    }

    #[test]
    fn a_start_that_cannot_be_counted_is_not_taken_for_the_first() {
        let time = Duration::from_secs;
        let failed = FailedStarts::new(Path::new("/proc/nowhere"));
        let mut health = Health { deadline: time(60), end: time(60), overdue: true, failed, ready_ms: None };
        assert!(health.is_over(false, time(60)) && health.is_overdue());
        health.count(time(60)).expect_err("there is no such folder");
        assert!(!health.is_over(false, time(60)) && health.is_over(false, time(60) + MOST_STAY));
    }

    #[test]
    fn unhealthy_starts_are_counted_until_a_healthy_one() {
        let folder = std::env::temp_dir().join(format!("osagent-starts-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("made");
        let starts = FailedStarts::new(&folder);
        assert_eq!(starts.count(), 0);
        starts.count_one().expect("counted");
        starts.count_one().expect("counted");
        assert_eq!(FailedStarts::new(&folder).count(), 2);
        starts.forget().expect("forgotten");
        starts.forget().expect("there is nothing to forget");
        assert_eq!(starts.count(), 0);
        file::replace(&starts.0, b"many\n", 0o600).expect("written");
        assert_eq!(starts.count(), 0);
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}

//! What a worker says, to what PID 1 does next: wait, look again, restart.
//!
//! Invariant: whatever a worker has come to, a time is set for the next one, or the device restarts.

use super::moment::{done, ends, is_newly_deferred, longer, pause, AGAIN};
use super::worker::Errand;
use super::{shown, state, Agent, LATE, TO_TELL};
use crate::end::End;
use crate::time;
use crate::update::report::Report;
use crate::update::start;
use crate::update::worker::{policy, Order};
use osbuild_update::policy::next_check;
use osbuild_update::state::UNANSWERED;
use serde_json::Value;
use std::io::{self, Read};
use std::time::Duration;

impl Agent {
    pub(in super::super) fn hear_worker(&mut self) {
        let Some(worker) = &mut self.updates.worker else { return };
        let mut part = [0; 1024];
        match worker.output.read(&mut part) {
            Ok(0) => {}
            Ok(count) => {
                worker.heard = time::now();
                let progress = worker.words.hear(&part[..count]);
                self.updates.progress = progress.or(self.updates.progress.take());
                return;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // As good as its end.
            Err(_) => {}
        }
        let Some(worker) = self.updates.worker.take() else { return };
        if worker.errand == Errand::Start {
            let report = worker.words.report();
            self.updates.state = shown();
            return self.hear_start(report);
        }
        let before = done(&self.updates.state);
        self.updates.progress = None;
        self.updates.state = shown();
        let report = worker.words.report();
        self.parts.log.info(&format!("update: {}", report.text()));
        let got_nowhere = matches!(report, Report::Failed { .. }) && done(&self.updates.state) <= before;
        self.updates.failures = if got_nowhere { self.updates.failures.saturating_add(1) } else { 0 };
        let put_off = self.updates.put_off.take();
        let left = put_off.map_or(0, |until| until.saturating_sub(time::unix().as_secs()));
        let deferred_until = longer(self.deferrals.until(), left, time::now());
        let knew = match worker.errand {
            Errand::Install { deferred_until } => Some(deferred_until),
            _ => None,
        };
        let is_put_off = is_newly_deferred(knew, deferred_until) && self.is_put_off(deferred_until);
        if matches!(report, Report::Armed { .. }) && is_put_off {
            // It is armed all the same: the next worker knows better, and takes that back.
            self.look_for_updates_now();
        } else {
            self.conclude(&report, worker.errand == Errand::Commit);
        }
        if matches!(worker.errand, Errand::InstallNow | Errand::Asked) {
            self.updates.asked = Some(report.clone());
        }
        self.updates.result = Some(report);
        if let Some(until_seconds) = put_off.filter(|_| self.ending.is_none()) {
            self.begin(&Order::Defer { until_seconds }, Errand::Own);
        }
    }

    /// Until the next try of what has failed so often in a row.
    pub(super) fn pause(&self) -> Duration {
        let interval = Duration::from_secs(self.parts.config.update.check_interval_seconds.into());
        pause(self.updates.failures, interval)
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
                let reason = match report {
                    _ if self.updates.late => LATE.to_owned(),
                    Report::Failed { reason } => reason.clone(),
                    report => report.text(),
                };
                self.parts.log.error(&format!("the release on trial is not committed: {}; rebooting", report.text()));
                start::failed(&self.parts.facts.slot, &reason, &self.parts.log);
                self.end(End::Reboot);
            }
            Report::NotNow { reason, details } => {
                self.updates.why =
                    details.get("why").and_then(Value::as_str).map(|why| (why.to_owned(), reason.clone()));
                // A time at which the reason ends, or else the time of the next check.
                let at = ends(details).or_else(|| {
                    let state = state()?;
                    Some(next_check(&policy(&self.parts.config), state.checked_seconds, self.parts.apps.device_id()))
                });
                let wait = at.unwrap_or_default().saturating_sub(time::unix().as_secs());
                self.updates.next = time::now() + AGAIN.max(Duration::from_secs(wait));
            }
            // Nobody else commits, or begins: who says so has been taken over.
            Report::Failed { .. } | Report::Committed { .. } | Report::Able { .. } => {
                self.updates.why = Some((UNANSWERED.to_owned(), report.text()));
                self.updates.next = time::now() + self.pause();
            }
            // What was put off until now may be put off for less long now.
            Report::Deferred { .. } => {
                self.updates.why = Some(("deferred".to_owned(), report.text()));
                self.updates.next = self.updates.next.min(time::now() + AGAIN);
            }
            Report::Offered { .. } => {}
        }
    }
}

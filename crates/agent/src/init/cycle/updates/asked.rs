//! What people and programs ask about updates, and for: requests in, orders and a status out.
//!
//! Invariant: whatever does not happen has a reason in the status.

use super::worker::Errand;
use super::Agent;
use crate::control::{Answer, UpdateAction};
use crate::time;
use crate::update::report::Report;
use crate::update::worker::Order;
use serde_json::{json, Value};

impl Agent {
    pub(in super::super) fn answer_update(&mut self, action: UpdateAction) -> Answer {
        if let Some(reason) = &self.updates.unable {
            // Who asks has perhaps mended it.
            self.updates.next = time::now();
            return Answer::Refused(format!("this device cannot update: {reason}; it tries once more: ask again"));
        }
        let errand = self.updates.worker.as_ref().map(|worker| worker.errand);
        if let (UpdateAction::Defer { seconds }, None, Some(errand)) = (&action, self.ending, errand) {
            if errand == Errand::InstallNow {
                let reason = "somebody has asked for the update that is being installed: it is not put off";
                return Answer::Refused(reason.to_owned());
            }
            // Whoever has to put off what is going on cannot wait until it is over.
            let until_seconds = self.until(*seconds);
            self.updates.put_off = Some(until_seconds);
            return Answer::Status(serde_json::to_value(Report::Deferred { until_seconds }).unwrap_or_default());
        }
        if self.ending.is_some() || self.updates.restart_at.is_some() || errand.is_some() {
            return Answer::Refused("another update is under way, or the system is going down".to_owned());
        }
        if let Some(version) = &self.updates.trial {
            return Answer::Refused(format!("{version} is on trial: it has to be committed first"));
        }
        let (order, errand) = match action {
            UpdateAction::Check { from } => (Order::Check(self.circumstances(from, false)), Errand::Asked),
            UpdateAction::Install { from, full } => {
                let circumstances = self.circumstances(from, full);
                (Order::Install { unasked: false, circumstances }, Errand::InstallNow)
            }
            UpdateAction::Defer { seconds } => (Order::Defer { until_seconds: self.until(seconds) }, Errand::Asked),
        };
        // Whoever asks hears of this one, even when the policy begins another right after it.
        self.updates.asked = None;
        match self.begin(&order, errand) {
            true => Answer::Done,
            false => Answer::Refused("the updater cannot be started; the log says why".to_owned()),
        }
    }

    /// When a deferral ends that begins now, in seconds since 1970.
    fn until(&self, seconds: u64) -> u64 {
        time::unix().as_secs() + seconds.min(self.parts.config.update.defer_limit_seconds.into())
    }

    pub(in super::super) fn updates_status(&self) -> Value {
        let updates = &self.updates;
        json!({
            "slot": self.parts.facts.slot, "version": self.parts.config.version, "state": updates.state,
            "working": updates.worker.is_some(), "progress": updates.progress, "epoch": updates.epoch,
            "trial": updates.trial, "unable": updates.unable, "waits": self.waits(),
            "result": updates.result, "text": updates.result.as_ref().map(Report::text), "asked": updates.asked,
        })
    }

    /// Why nothing is being installed: a word for programs, a sentence for people. None: something is.
    fn waits(&self) -> Value {
        let updates = &self.updates;
        let tries = updates.worker.as_ref().is_some_and(|worker| worker.errand == Errand::Start);
        if updates.worker.is_some() && !tries || updates.restart_at.is_some() {
            return Value::Null;
        }
        let (why, reason, in_seconds) = if let Some(reason) = &updates.unable {
            let seconds = updates.next.saturating_sub(time::now()).as_secs();
            ("unable", format!("{reason}; tries again in {seconds} s"), Some(seconds))
        } else if let Some(version) = &updates.trial {
            ("on-trial", format!("{version} has to show that it is healthy first"), None)
        } else if self.parts.config.update.url.is_none() {
            ("no-repository", "the product names no repository: `osagent update install --from`".to_owned(), None)
        } else if !self.health.is_decided() {
            ("starting", "the system is not up yet".to_owned(), None)
        } else {
            let seconds = updates.next.saturating_sub(time::now()).as_secs();
            match &updates.why {
                Some((why, reason)) => (why.as_str(), format!("{reason}; looks again in {seconds} s"), Some(seconds)),
                None => ("not-due", format!("the repository is asked again in {seconds} s"), Some(seconds)),
            }
        };
        json!({ "why": why, "reason": reason, "in_seconds": in_seconds })
    }
}

//! A device that could not read what updates need when it started: another try now and then.
//!
//! Invariant: one try at a time, and what one has found is done once.

use super::moment::AGAIN;
use super::worker::Errand;
use super::Agent;
use crate::end::End;
use crate::time;
use crate::update::report::Report;
use crate::update::start::{self, Beginning, Begun};
use crate::update::worker::Order;
use std::sync::mpsc::TryRecvError;

impl Agent {
    pub(super) fn try_to_be_able(&mut self) {
        let now = time::now();
        if now < self.updates.next {
            return;
        }
        self.updates.next = now + AGAIN;
        match self.updates.first.as_ref().map(|first| first.try_recv()) {
            // Two would write over what the other has read.
            Some(Err(TryRecvError::Empty)) => {}
            Some(Ok(tried)) => {
                self.updates.first = None;
                let begun = start::begun(tried, &self.parts.facts.slot, &self.parts.log);
                self.take(begun);
            }
            Some(Err(TryRecvError::Disconnected)) | None => {
                self.updates.first = None;
                self.begin(&Order::Start, Errand::Start);
            }
        }
    }

    /// The last word of a worker that has tried.
    pub(super) fn hear_start(&mut self, report: Report) {
        let tried = match report {
            Report::Able { found } => Ok(found),
            Report::Failed { reason } => Err(reason),
            report => Err(report.text()),
        };
        let begun = start::begun(tried, &self.parts.facts.slot, &self.parts.log);
        self.take(begun);
    }

    fn take(&mut self, begun: Begun) {
        self.updates.epoch = begun.epoch;
        self.updates.unable = None;
        let failures = std::mem::take(&mut self.updates.failures);
        // What it has missed.
        self.updates.next = time::now();
        match begun.beginning {
            Beginning::Ordinary => self.parts.log.tell("this device can update again"),
            Beginning::Trial(version) => self.updates.trial = Some(version),
            Beginning::Restart => self.end(End::Reboot),
            Beginning::Unable(reason) => {
                self.updates.unable = Some(reason);
                self.updates.failures = failures.saturating_add(1);
                self.updates.next += self.pause();
            }
        }
    }
}

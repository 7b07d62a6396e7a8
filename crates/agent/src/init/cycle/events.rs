//! Whatever the kernel has to tell, waited for in one place and handed to whom it concerns.
//!
//! Invariant: nothing is read that the kernel has not said is there to be read.

use super::{Agent, Program};
use crate::end::End;
use crate::error::{AgentError, Doing};
use crate::init::power_button::Heard;
use crate::time;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};

/// What a descriptor that is waited for belongs to.
enum Source {
    Signals,
    Requests,
    Button,
    Audit,
    App(String),
    Worker,
    Stream,
    /// A stream whose writer has to wait: nobody looks.
    Resting,
}

impl Agent {
    pub(super) fn wait_for_events(&mut self) -> Result<(), AgentError> {
        let now = time::now();
        let rests = std::mem::take(&mut self.rests);
        let timeout = self.wake_at().saturating_sub(now);
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let resting: Vec<bool> = self.streams.iter_mut().map(|(_, stream)| stream.rests_until(now).is_some()).collect();
        let mut sources: Vec<Source> = Vec::new();
        let mut polled: Vec<PollFd> = Vec::new();
        for (source, descriptor) in self.sources(&resting) {
            let flags = if matches!(source, Source::Resting) { PollFlags::empty() } else { PollFlags::IN };
            sources.push(source);
            polled.push(PollFd::from_borrowed_fd(descriptor, flags));
        }
        if rests {
            self.rest();
        }
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).doing(|| "wait for events".to_owned()),
        }
        // A resting stream whose writer is gone would be ready at once, again and again.
        let is_ready =
            |(source, fd): (&Source, &PollFd)| !matches!(source, Source::Resting) && !fd.revents().is_empty();
        let ready: Vec<bool> = sources.iter().zip(&polled).map(is_ready).collect();
        drop(polled);
        self.dispatch(sources, &ready);
        Ok(())
    }

    fn sources(&self, resting: &[bool]) -> Vec<(Source, BorrowedFd<'_>)> {
        let mut all = vec![(Source::Signals, self.parts.signals.as_fd()), (Source::Requests, self.requests.as_fd())];
        all.extend(self.buttons.iter().map(|button| (Source::Button, button.as_fd())));
        all.extend(self.updates.worker().map(|worker| (Source::Worker, worker.output.as_fd())));
        all.extend(self.parts.apps.audit().map(|audit| (Source::Audit, audit)));
        all.extend(self.parts.apps.iter().map(|(id, app)| (Source::App(id.to_owned()), app.notify.as_fd())));
        let kind = |rests: &bool| if *rests { Source::Resting } else { Source::Stream };
        all.extend(self.streams.iter().zip(resting).map(|((_, stream), rests)| (kind(rests), stream.as_fd())));
        all
    }

    fn dispatch(&mut self, sources: Vec<Source>, ready: &[bool]) {
        let (mut buttons, mut streams, mut signals) = (Vec::new(), Vec::new(), false);
        for (source, ready) in sources.into_iter().zip(ready.iter().copied()) {
            match source {
                Source::Signals => signals = ready,
                Source::Button => buttons.push(ready),
                Source::Stream | Source::Resting => streams.push(ready),
                Source::Requests if ready => {
                    if let Some(asked) = self.requests.take() {
                        self.answer(asked);
                    }
                }
                Source::Audit if ready => self.parts.apps.hear_audit(),
                Source::App(id) if ready => self.hear_app(&id),
                Source::Worker if ready => self.hear_worker(),
                Source::Requests | Source::Audit | Source::App(_) | Source::Worker => {}
            }
        }
        self.hear_buttons(&buttons);
        self.drain(&streams);
        // Last, so that what an app has said and written before its end is heard first.
        if signals {
            self.take_signals();
        }
    }

    fn hear_buttons(&mut self, ready: &[bool]) {
        let (log, mut ready, mut pressed) = (&self.parts.log, ready.iter().copied(), false);
        self.buttons.retain_mut(|button| {
            let heard = if ready.next().unwrap_or(false) { button.hear() } else { Heard::Nothing };
            if heard == Heard::Gone {
                log.warn("a power button is gone");
            }
            pressed |= heard == Heard::Press;
            heard != Heard::Gone
        });
        if pressed {
            self.parts.log.tell("the power button was pressed");
            self.end(End::PowerOff);
        }
    }

    fn drain(&mut self, ready: &[bool]) {
        let parts = &self.parts;
        let mut ready = ready.iter().copied();
        self.streams.retain_mut(|(unit, stream)| {
            // Streams that came after the poll have no answer yet: they wait for the next turn.
            if !ready.next().unwrap_or(false) {
                return true;
            }
            match self.programs.get(unit) {
                Some(Program::Service(place)) => stream.drain(&parts.config.services[*place].name, &parts.log),
                Some(Program::App(id)) => {
                    let app = parts.apps.iter().find(|(known, _)| known == id);
                    app.is_some_and(|(_, app)| stream.drain(id, &app.log))
                }
                None => false,
            }
        });
    }
}

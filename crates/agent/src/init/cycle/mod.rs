//! The main loop: events of the kernel, of services and of clients in; starts, stops and answers out.
//!
//! Invariant: one turn never waits for anything but the poll, so that the watchdog measures that it goes round.

mod answers;
mod ending;
mod signals;

use super::power_button::{self, Heard, PowerButton};
use super::status_port::StatusPort;
use crate::boot::facts::Facts;
use crate::control::server::{self, Requests};
use crate::control::status::Fixed;
use crate::data::{self, Data};
use crate::end::{self, End};
use crate::error::{chain, AgentError, Doing};
use crate::log::Log;
use crate::network::Network;
use crate::supervise::process::{self, Stream};
use crate::supervise::{Action, Supervisor};
use crate::time;
use crate::watchdog::Guard;
use osbuild_format::device::DeviceConfig;
use osbuild_sys::signal::Signals;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

const BETWEEN_STATUSES: Duration = Duration::from_secs(1);
/// The clock is kept for the next boot this often, and at an orderly stop.
const BETWEEN_SAVINGS: Duration = Duration::from_secs(3600);

/// What the steps before have brought up.
pub struct Parts {
    pub signals: Signals,
    pub log: Arc<Log>,
    pub guard: Guard,
    pub facts: Facts,
    pub config: DeviceConfig,
    pub network: Network,
    pub data: Data,
}

pub struct Agent {
    parts: Parts,
    fixed: Fixed,
    supervisor: Supervisor,
    /// With the unit they belong to.
    streams: Vec<(usize, Stream)>,
    requests: Requests,
    buttons: Vec<PowerButton>,
    port: Option<StatusPort>,
    health_deadline: Duration,
    ready_ms: Option<u64>,
    ending: Option<End>,
    next_status: Duration,
    next_saving: Duration,
}

impl Agent {
    pub fn new(parts: Parts) -> Result<Self, AgentError> {
        // Ctrl-Alt-Del then comes as a signal, and so ends in an orderly stop.
        let _ = rustix::system::reboot(rustix::system::RebootCommand::CadOff);
        let now = time::now();
        Ok(Agent {
            fixed: Fixed::read(),
            supervisor: Supervisor::new(&parts.config.services),
            streams: Vec::new(),
            requests: server::start()?,
            buttons: power_button::find(),
            port: StatusPort::find(),
            health_deadline: now + Duration::from_secs(u64::from(parts.config.health_deadline_seconds)),
            ready_ms: None,
            ending: None,
            next_status: now,
            next_saving: now + BETWEEN_SAVINGS,
            parts,
        })
    }

    pub fn run(mut self) -> ! {
        self.parts.log.info(&format!("`{}` is mounted at `{}`", self.parts.data.device, data::MOUNTED));
        loop {
            self.supervise();
            self.judge_health();
            self.keep_up();
            if let Some(end) = self.ending.filter(|_| self.supervisor.all_stopped()) {
                self.finish(end);
            }
            if let Err(error) = self.wait_for_events() {
                // A loop that can no longer wait is a system that can no longer be trusted.
                end::fatal(&chain(&error));
            }
        }
    }

    /// Does what the supervisor says until it has nothing more to say.
    fn supervise(&mut self) {
        loop {
            let actions = self.supervisor.due(time::now());
            if actions.is_empty() {
                return;
            }
            actions.into_iter().for_each(|action| self.act(action));
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start(unit) => self.start(unit),
            Action::Terminate { unit, pid } => process::terminate(&self.parts.config.services[unit], pid),
            Action::Kill { unit, pid } => {
                let name = &self.parts.config.services[unit].name;
                self.parts.log.warn(&format!("service `{name}` did not stop in time: killed"));
                process::kill(name, pid);
            }
            Action::Abandon { unit, pid } => {
                let name = &self.parts.config.services[unit].name;
                self.parts
                    .log
                    .error(&format!("service `{name}` does not even die when killed: pid {pid} is left behind"));
            }
        }
    }

    fn start(&mut self, unit: usize) {
        let service = &self.parts.config.services[unit];
        match process::start(service) {
            Ok((pid, streams)) => {
                self.supervisor.started(unit, pid, time::now());
                self.streams.extend(streams.into_iter().map(|stream| (unit, stream)));
                self.parts.log.info(&format!("service `{}` started: pid {pid}", service.name));
            }
            Err(error) => {
                self.parts.log.warn(&format!("service `{}` cannot start `{}`: {error}", service.name, service.argv[0]));
                self.supervisor.not_started(unit, error.raw_os_error().unwrap_or(0), time::now());
            }
        }
    }

    fn judge_health(&mut self) {
        if self.ready_ms.is_some() || self.ending.is_some() {
            return;
        }
        let now = time::now();
        let missing = self.supervisor.missing(now);
        if missing.is_empty() {
            let kernel = time::in_milliseconds(now);
            let ready = kernel + self.fixed.loader_ms.unwrap_or(0);
            self.ready_ms = Some(ready);
            self.next_status = now;
            self.parts.log.tell(&format!("ready in {ready} ms (kernel {} ms)", self.parts.facts.kernel_ms));
        } else if now >= self.health_deadline {
            let seconds = self.parts.config.health_deadline_seconds;
            let reason = format!("not healthy within {seconds} s: `{}` is not up", missing.join("`, `"));
            self.parts.log.error(&format!("{reason}; rebooting"));
            self.end(End::Reboot);
        }
    }

    /// The chores that come round by time.
    fn keep_up(&mut self) {
        let now = time::now();
        self.parts.guard.feed();
        if self.port.is_some() && now >= self.next_status {
            self.next_status = now + BETWEEN_STATUSES;
            let status = self.status();
            if let Some(port) = &mut self.port {
                port.write(&status);
            }
        }
        if now >= self.next_saving {
            self.next_saving = now + BETWEEN_SAVINGS;
            ending::save_clock(&self.parts.log);
        }
    }

    fn wait_for_events(&mut self) -> Result<(), AgentError> {
        let timeout = self.wake_at().saturating_sub(time::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let fixed = [self.parts.signals.as_fd(), self.requests.as_fd()];
        let buttons = self.buttons.iter().map(AsFd::as_fd);
        let streams = self.streams.iter().map(|(_, stream)| stream.as_fd());
        let all = fixed.into_iter().chain(buttons).chain(streams);
        let mut polled: Vec<PollFd> = all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).doing(|| "wait for events".to_owned()),
        }
        let ready: Vec<bool> = polled.iter().map(|fd| !fd.revents().is_empty()).collect();
        let (fixed, rest) = ready.split_at(2);
        let (buttons, streams) = rest.split_at(self.buttons.len());
        if fixed[1] {
            if let Some(asked) = self.requests.take() {
                self.answer(asked);
            }
        }
        self.hear_buttons(buttons);
        self.drain(streams);
        if fixed[0] {
            self.take_signals();
        }
        Ok(())
    }

    fn wake_at(&self) -> Duration {
        let mut due = vec![self.next_saving];
        due.extend(self.parts.guard.next_feeding());
        due.extend(self.supervisor.wake_at(time::now()));
        due.extend(self.port.as_ref().map(|_| self.next_status));
        if self.ready_ms.is_none() && self.ending.is_none() {
            due.push(self.health_deadline);
        }
        due.into_iter().min().unwrap_or_default()
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
        let (log, services) = (&self.parts.log, &self.parts.config.services);
        let mut ready = ready.iter().copied();
        self.streams.retain_mut(|(unit, stream)| {
            // Streams that came after the poll have no answer yet: they wait for the next turn.
            !ready.next().unwrap_or(false) || stream.drain(&services[*unit].name, log)
        });
    }
}

//! The main loop: events of the kernel, of services, apps and clients in; starts, stops and answers out.
//!
//! Invariant: one turn never waits for anything but the poll, so that the watchdog measures that it goes round.

mod answers;
mod apps;
mod ending;
mod events;
mod health;
mod signals;
mod updates;

use super::power_button::{self, PowerButton};
use super::status_port::StatusPort;
use crate::apps::{not_started, Apps};
use crate::boot::facts::Facts;
use crate::control::server::{self, Requests};
use crate::control::status::Fixed;
use crate::data::{self, Data};
use crate::end::{self, End};
use crate::error::{chain, AgentError};
use crate::log::Log;
use crate::network::Network;
use crate::supervise::process::{self, Stream};
use crate::supervise::{Action, Supervisor, UnitConfig};
use crate::time;
use crate::update::start::Begun;
use crate::watchdog::Guard;
use osbuild_format::device::DeviceConfig;
use osbuild_sys::signal::Signals;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const BETWEEN_STATUSES: Duration = Duration::from_secs(1);
/// The clock is kept for the next boot this often, and at an orderly stop.
const BETWEEN_SAVINGS: Duration = Duration::from_secs(3600);
/// So long after a start or an answer the agent's own program is hardly needed.
const UNTIL_REST: Duration = Duration::from_secs(5);

/// What the steps before have brought up.
pub struct Parts {
    pub signals: Signals,
    pub log: Arc<Log>,
    pub guard: Guard,
    pub facts: Facts,
    pub config: DeviceConfig,
    pub network: Network,
    pub data: Data,
    pub apps: Apps,
}

/// What a unit is.
enum Program {
    /// The service of this place in the configuration.
    Service(usize),
    /// The app of this id.
    App(String),
}

pub struct Agent {
    parts: Parts,
    fixed: Fixed,
    supervisor: Supervisor,
    /// By the number of the unit.
    programs: BTreeMap<usize, Program>,
    deferrals: updates::Deferrals,
    updates: updates::Updates,
    /// With the unit they belong to.
    streams: Vec<(usize, Stream)>,
    requests: Requests,
    buttons: Vec<PowerButton>,
    port: Option<StatusPort>,
    health: health::Health,
    ending: Option<End>,
    next_status: Duration,
    next_saving: Duration,
    rest_at: Option<Duration>,
    /// Before the next wait, when nothing more of the turn is needed.
    rests: bool,
}

impl Agent {
    pub fn new(parts: Parts, begun: Begun) -> Result<Self, AgentError> {
        // Ctrl-Alt-Del then comes as a signal, and so ends in an orderly stop.
        let _ = rustix::system::reboot(rustix::system::RebootCommand::CadOff);
        let now = time::now();
        let mut supervisor = Supervisor::new(parts.config.services.iter().map(UnitConfig::of_service));
        let mut programs: BTreeMap<usize, Program> =
            (0..parts.config.services.len()).map(|place| (place, Program::Service(place))).collect();
        for (id, unit) in parts.apps.units() {
            programs.insert(supervisor.add(unit), Program::App(id));
        }
        let updates = updates::Updates::new(begun, &parts.config, parts.apps.device_id());
        Ok(Agent {
            fixed: Fixed::read(),
            supervisor,
            programs,
            deferrals: updates::Deferrals::default(),
            updates,
            streams: Vec::new(),
            requests: server::start()?,
            buttons: power_button::find(),
            port: StatusPort::find(),
            health: health::Health::new(now, Duration::from_secs(parts.config.health_deadline_seconds.into())),
            ending: None,
            next_status: now,
            next_saving: now + BETWEEN_SAVINGS,
            rest_at: None,
            rests: false,
            parts,
        })
    }

    pub fn run(mut self) -> ! {
        self.parts.log.info(&format!("`{}` is mounted at `{}`", self.parts.data.device, data::MOUNTED));
        loop {
            self.supervise();
            self.judge_apps();
            self.judge_health();
            self.keep_updating();
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
            Action::Terminate { unit, pid } => match self.programs.get(&unit) {
                Some(Program::Service(place)) => process::terminate(&self.parts.config.services[*place], pid),
                Some(Program::App(id)) => drop(self.parts.apps.get(id).map(|app| app.terminate(pid))),
                None => {}
            },
            Action::Kill { unit, pid } => {
                self.parts.log.warn(&format!("{} did not stop in time: killed", self.label(unit)));
                match self.programs.get(&unit) {
                    Some(Program::Service(place)) => process::kill(&self.parts.config.services[*place].name, pid),
                    Some(Program::App(id)) => drop(self.parts.apps.get(id).map(|app| app.kill(None))),
                    None => {}
                }
            }
            Action::Abandon { unit, pid } => {
                let label = self.label(unit);
                self.parts.log.error(&format!("{label} does not even die when killed: pid {pid} is left behind"));
            }
        }
    }

    /// For messages: "service `web`".
    fn label(&self, unit: usize) -> String {
        match self.programs.get(&unit) {
            Some(Program::Service(place)) => format!("service `{}`", self.parts.config.services[*place].name),
            Some(Program::App(id)) => format!("app `{id}`"),
            None => format!("unit {unit}"),
        }
    }

    fn start(&mut self, unit: usize) {
        self.rest_soon();
        if let Some(Program::App(id)) = self.programs.get(&unit) {
            self.parts.apps.forget_forbidden(id);
        }
        let label = self.label(unit);
        let (started, what) = match self.programs.get(&unit) {
            Some(Program::Service(place)) => {
                let service = &self.parts.config.services[*place];
                let started = process::start(service);
                (started.map_err(|error| (error.to_string(), error.raw_os_error())), service.argv[0].clone())
            }
            Some(Program::App(id)) => match self.parts.apps.get(id) {
                Some(app) => {
                    let started = app.start().map_err(|error| {
                        app.remember(not_started(&error), Duration::ZERO);
                        (chain(&error), None)
                    });
                    (started, app.package.manifest.argv[0].clone())
                }
                None => return,
            },
            None => return,
        };
        match started {
            Ok((pid, streams)) => {
                self.supervisor.started(unit, pid, time::now());
                self.streams.extend(streams.into_iter().map(|stream| (unit, stream)));
                self.parts.log.info(&format!("{label} started: pid {pid}"));
            }
            Err((reason, errno)) => {
                self.parts.log.warn(&format!("{label} cannot start `{what}`: {reason}"));
                self.supervisor.not_started(unit, errno.unwrap_or(0), time::now());
                self.judge_crash_loop(unit);
            }
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
        if self.rest_at.is_some_and(|at| now >= at) {
            self.rest_at = None;
        }
        // Whatever it woke for maps parts of the program anew, and any turn may be the last for a while.
        self.rests = true;
    }

    fn rest_soon(&mut self) {
        self.rest_at = Some(time::now() + UNTIL_REST);
    }

    /// What only a start or an answer needed goes back to the kernel.
    fn rest(&self) {
        osbuild_sys::memory::release_heap();
        if let Err(error) = osbuild_sys::memory::release_program() {
            self.parts.log.warn(&format!("the memory of the start cannot be given back: {error}"));
        }
    }

    fn wake_at(&mut self) -> Duration {
        let now = time::now();
        let mut due = vec![self.next_saving];
        due.extend(self.streams.iter_mut().filter_map(|(_, stream)| stream.rests_until(now)));
        due.extend(self.apps_wake_at());
        due.extend(self.rest_at);
        due.extend(self.updates_wake_at());
        due.extend(self.parts.guard.next_feeding());
        due.extend(self.supervisor.wake_at(time::now()));
        due.extend(self.port.as_ref().map(|_| self.next_status));
        if self.ending.is_none() {
            due.extend(self.health.wake_at(self.updates.worker().is_some(), now));
        }
        due.into_iter().min().unwrap_or_default()
    }
}

//! A vouched package to an app that can be started, stopped and asked about.
//!
//! Invariant: what the app has outside of its sandbox (image, group, network, storage, folders) is here as long as the
//! app is, and goes with it; what it stored stays.

use super::confine;
use super::group::Group;
use super::history::History;
use super::image::{self, Image};
use super::ledger::FIRST_ID;
use super::network::{namespace, Attachment, Networks};
use super::notify::{Allowance, Notify, Word};
use super::package::{Origin, Package};
use super::probe::{self, Probe};
use super::reason::{Evidence, Reason};
use super::storage;
use crate::error::{chain, AgentError, Doing};
use crate::log::{Level, Log};
use crate::supervise::process::Stream;
use crate::supervise::{Exit, UnitConfig};
use crate::{file, time};
use osbuild_format::app::{Health, Manifest, Readiness};
use osbuild_format::device::DeviceConfig;
use rustix::process::{kill_process, Pid, Signal};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{chown, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What each app sees at `/run/app`, and where its image is mounted, by its id.
const RUN: &str = "/run/apps";
/// For one that announces itself.
pub const READY_PATIENCE: Duration = Duration::from_secs(60);

/// What the product says of an app.
#[derive(Clone, Copy, Debug, Default)]
pub struct Role {
    pub third_party: bool,
    pub critical: bool,
}

pub struct App {
    pub package: Package,
    pub role: Role,
    pub log: Log,
    pub notify: Notify,
    pub wishes: Allowance,
    pub history: History,
    /// What it last said of itself.
    pub said: String,
    number: u32,
    image: Image,
    group: Group,
    storage: Option<PathBuf>,
    folder: PathBuf,
    devices: Vec<(String, PathBuf)>,
    /// None: it is alone in its namespace.
    network: Option<Attachment>,
    namespace: OwnedFd,
    probe: Option<Probe>,
    run: Option<Run>,
}

/// One life of the app.
struct Run {
    /// Of the sandbox's first process.
    pid: i32,
    since: Duration,
    /// Gives the wait status of the app's process.
    end: File,
    memory_kills: u64,
    last_sign: Duration,
    /// What the agent ends it for.
    cause: Option<Reason>,
}

/// What all apps are made with.
pub struct Workshop<'a> {
    pub config: &'a DeviceConfig,
    /// See [`osbuild_format::app::token::device_id`].
    pub device_id: &'a str,
    pub networks: &'a Networks,
}

/// Name of the app's unit among services and apps.
pub fn unit_name(id: &str) -> String {
    format!("app:{id}")
}

impl App {
    /// Everything but starting it. An error leaves nothing behind.
    pub fn prepare(package: Package, number: u32, role: Role, workshop: &Workshop) -> Result<App, AgentError> {
        let manifest = &package.manifest;
        let id = manifest.id.as_str();
        let user = FIRST_ID + number;
        let devices = devices(manifest, workshop.config)?;
        let folder = run_folder(id, manifest, workshop.device_id)?;
        let notify = Notify::listen(&folder.join("notify")).doing(|| format!("listen to the app `{id}`"))?;
        let storage = storage::provide(id, user, manifest.capabilities.storage_bytes)?;
        let group = Group::make(id, &manifest.limits)?;
        let network = match manifest.uses_network() || matches!(manifest.health, Some(Health::Tcp { .. })) {
            true => Some(workshop.networks.add(number, manifest)?),
            false => None,
        };
        // Made once rather than at each start, which it would take a third of.
        let namespace = match &network {
            Some(network) => network.namespace.try_clone().doing(|| format!("keep the network of the app `{id}`"))?,
            None => namespace::make(false)?.handle,
        };
        let probe = match (&network, &manifest.health) {
            (Some(network), Some(Health::Tcp { port, seconds })) => Some(Probe::new(network.address, *port, *seconds)),
            _ => None,
        };
        // The digest is part of the name, so that a new version is open before the old one is closed.
        let name = format!("app-{id}-{}", &package.digest[..8]);
        let image = image::open(&package, &name, &Path::new(RUN).join(id).join(&package.digest[..8]))?;
        let (log, history) = (Log::of_app(id), History::load(id));
        let said = String::new();
        let run = None;
        Ok(App {
            role,
            log,
            notify,
            wishes: Allowance::default(),
            history,
            said,
            number,
            image,
            group,
            storage,
            folder,
            devices,
            network,
            namespace,
            probe,
            run,
            package,
        })
    }

    /// Outside of its sandbox.
    pub fn user(&self) -> u32 {
        FIRST_ID + self.number
    }

    pub fn unit(&self) -> UnitConfig {
        let manifest = &self.package.manifest;
        UnitConfig {
            name: unit_name(&manifest.id),
            after: manifest.after.iter().map(|id| unit_name(id)).collect(),
            restart: manifest.restart,
            stop_timeout: Duration::from_secs(u64::from(manifest.stop_timeout_seconds)),
            critical: self.role.critical,
            notifies: manifest.ready == Readiness::Notify,
            crash_loop: Some(manifest.crash_loop),
        }
    }

    /// Gives back the pid of the sandbox's first process and what the app writes.
    pub fn start(&mut self) -> Result<(u32, Vec<Stream>), AgentError> {
        let id = &self.package.manifest.id;
        let doing = || format!("start the app `{id}`");
        // At each start: what was unplugged and plugged in again is another node, of root.
        for (_, node) in &self.devices {
            chown(node, Some(self.user()), Some(self.user()))
                .doing(|| format!("give `{}` to the app `{id}`", node.display()))?;
        }
        let (out, out_end) = pipe().doing(doing)?;
        let (errors, errors_end) = pipe().doing(doing)?;
        let place = confine::Place {
            manifest: &self.package.manifest,
            user: self.user(),
            image: self.image.folder(),
            run: &self.folder,
            storage: self.storage.as_deref(),
            devices: &self.devices,
            network: &self.namespace,
            group: self.group.door().doing(doing)?,
            output: File::from(out_end),
            errors: File::from(errors_end),
        };
        let started = confine::spawn(place)?;
        let now = time::now();
        let memory_kills = self.group.memory_kills();
        let pid = i32::try_from(started.pid).unwrap_or_default();
        self.run = Some(Run { pid, since: now, end: started.end, memory_kills, last_sign: now, cause: None });
        self.said.clear();
        if let Some(probe) = &mut self.probe {
            probe.begin(now);
        }
        let streams = [(out, Level::Info), (errors, Level::Warning)];
        let streams = streams.into_iter().map(|(pipe, level)| Stream::bounded(pipe, level));
        Ok((started.pid, streams.collect::<Result<_, _>>().doing(doing)?))
    }

    /// Asks it to end. The sandbox's first process passes the signal on.
    pub fn terminate(&mut self, pid: u32) {
        self.blame(Reason::Stopped);
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            // It may have ended by itself meanwhile, which is what was wanted.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Ends all of it at once; with a reason that counts unless there is one already.
    pub fn kill(&mut self, cause: Option<Reason>) {
        if let Some(cause) = cause {
            self.blame(cause);
        }
        if let Some(pid) = self.run.as_ref().and_then(|run| Pid::from_raw(run.pid)) {
            // The first process of a namespace takes all others along. It may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// What the next end is for, unless that is known already.
    pub fn blame(&mut self, cause: Reason) {
        if let Some(run) = &mut self.run {
            run.cause.get_or_insert(cause);
        }
    }

    pub fn heard(&mut self, word: &Word) {
        match (word, &mut self.run) {
            (Word::Watchdog | Word::Ready, Some(run)) => run.last_sign = time::now(),
            (Word::Status(text), _) => self.said.clone_from(text),
            _ => {}
        }
    }

    /// Why it should be ended now, if it should.
    pub fn complaint(&mut self, ready: bool, now: Duration) -> Option<Reason> {
        let run = self.run.as_ref().filter(|run| run.cause.is_none())?;
        if !ready {
            let late = now >= run.since + READY_PATIENCE;
            return late.then_some(Reason::NotReady { seconds: READY_PATIENCE.as_secs() });
        }
        match self.package.manifest.health {
            Some(Health::Watchdog { seconds }) => {
                let late = now >= run.last_sign + Duration::from_secs(u64::from(seconds));
                late.then_some(Reason::Watchdog { seconds })
            }
            Some(Health::Tcp { port, .. }) => {
                let failed = self.probe.as_mut().is_some_and(|probe| probe.has_failed(now));
                failed.then_some(Reason::Unhealthy { port, tries: probe::TRIES })
            }
            None => None,
        }
    }

    /// When [`App::complaint`] may next have something to say.
    pub fn wake_at(&self, ready: bool) -> Option<Duration> {
        let run = self.run.as_ref().filter(|run| run.cause.is_none())?;
        match self.package.manifest.health {
            _ if !ready => Some(run.since + READY_PATIENCE),
            Some(Health::Watchdog { seconds }) => Some(run.last_sign + Duration::from_secs(u64::from(seconds))),
            Some(Health::Tcp { .. }) => self.probe.as_ref().map(Probe::wake_at),
            None => None,
        }
    }

    /// It has ended: how it looks from outside, and why. `forbidden` tells the system call it was ended for.
    pub fn ended(&mut self, forbidden: impl FnOnce(u32) -> Option<String>) -> (Exit, Reason) {
        let Some(mut run) = self.run.take() else { return (Exit::Code(0), Reason::Stopped) };
        let status = wait_status(&mut run.end);
        let killed_by_filter = status.is_some_and(|status| status & 0x7f == 31);
        let evidence = Evidence {
            cause: run.cause,
            status,
            ended_for_memory: self.group.memory_kills() > run.memory_kills,
            memory_limit_bytes: self.package.manifest.limits.memory_bytes,
            forbidden_call: killed_by_filter.then(|| forbidden(self.user())).flatten(),
            corrupted: self.image.is_corrupted(),
        };
        let exit = match status {
            Some(status) if status & 0x7f == 0 => Exit::Code(status >> 8 & 0xff),
            Some(status) => Exit::Signal(status & 0x7f),
            None => Exit::Signal(9),
        };
        let reason = evidence.reason();
        self.remember(reason.clone(), time::now().saturating_sub(run.since));
        (exit, reason)
    }

    /// An end that never was a life counts as one.
    pub fn remember(&mut self, reason: Reason, ran: Duration) {
        let version = self.package.manifest.version.clone();
        if let Err(error) = self.history.add(&version, time::in_milliseconds(ran), reason) {
            self.log.write(Level::Warning, crate::log::AGENT, &format!("cannot keep why the app ended: {error}"));
        }
    }

    pub fn status(&self) -> serde_json::Value {
        let manifest = &self.package.manifest;
        let origin = match self.package.origin {
            Origin::Image => "image",
            Origin::Installed => "installed",
        };
        serde_json::json!({
            "id": manifest.id, "title": manifest.title, "version": manifest.version, "digest": self.package.digest,
            "origin": origin, "third_party": self.role.third_party, "critical": self.role.critical,
            "user": self.user(), "said": self.said,
            "memory_bytes": self.group.memory_bytes(), "memory_limit_bytes": manifest.limits.memory_bytes,
            "processes": self.group.processes(), "cpu_us": self.group.cpu_microseconds(),
            "storage_bytes": self.storage.as_ref().and_then(|_| storage::used_bytes(self.user())),
            "storage_limit_bytes": manifest.capabilities.storage_bytes,
            "address": self.network.as_ref().map(|network| network.address),
            "denials": self.network.as_ref().map(Attachment::denials),
            "last_end": self.history.last(), "ends": self.history.ends(),
        })
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if let Err(error) = self.group.remove() {
            crate::console::say(&format!("a control group is left behind: {error}"));
        }
        // Nobody owns them now but the system.
        for (_, node) in &self.devices {
            if let Err(error) = chown(node, Some(0), Some(0)) {
                crate::console::say(&format!("cannot take back `{}`: {error}", node.display()));
            }
        }
    }
}

/// The sandbox's first process has written it, if it lived to.
fn wait_status(end: &mut File) -> Option<i32> {
    let mut bytes = [0; 4];
    end.read_exact(&mut bytes).ok()?;
    Some(i32::from_ne_bytes(bytes))
}

fn pipe() -> Result<(OwnedFd, OwnedFd), rustix::io::Errno> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
}

/// The nodes behind the logical names.
fn devices(manifest: &Manifest, config: &DeviceConfig) -> Result<Vec<(String, PathBuf)>, AgentError> {
    let mut nodes = Vec::new();
    for name in &manifest.capabilities.devices {
        let Some(node) = config.devices.get(name) else {
            let message =
                format!("the app `{}` needs the device `${name}`, which this machine does not have", manifest.id);
            return Err(AgentError::Wrong(message));
        };
        nodes.push((name.clone(), PathBuf::from(node)));
    }
    Ok(nodes)
}

/// What the app sees at `/run/app`: its socket to the agent, its resolver, and who the device is.
fn run_folder(id: &str, manifest: &Manifest, device_id: &str) -> Result<PathBuf, AgentError> {
    let folder = Path::new(RUN).join(id).join("run");
    let doing = || format!("make the folder `{}`", folder.display());
    std::fs::create_dir_all(&folder).doing(doing)?;
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).doing(doing)?;
    let identity = folder.join("device-id");
    match manifest.capabilities.device_identity {
        true => file::replace(&identity, format!("{device_id}\n").as_bytes(), 0o444).doing(doing)?,
        false => drop(std::fs::remove_file(identity)),
    }
    // Where no name can be resolved nobody listens, and the answer is the same: none.
    file::replace(folder.join("resolv.conf"), b"nameserver 127.0.0.1\noptions timeout:3 attempts:2\n", 0o444)
        .doing(doing)?;
    Ok(folder)
}

/// An error's text for the history.
pub fn not_started(error: &AgentError) -> Reason {
    Reason::NotStarted { error: chain(error) }
}

//! Apps: found, vouched for, confined, looked after, and asked why they ended.
//!
//! Invariant: an app that is not vouched for is never mounted; one that cannot be prepared is named with the reason, and
//! keeps no other from running.

mod admission;
mod app;
mod confine;
mod group;
mod history;
mod image;
pub mod install;
mod ledger;
pub mod network;
pub mod notify;
pub mod package;
mod probe;
mod reason;
mod storage;

use crate::error::{chain, AgentError};
use crate::file;
use crate::log::{Level, Log, AGENT};
use crate::network::Network;
use crate::supervise::UnitConfig;
pub use app::{not_started, unit_name, App};
use app::{Role, Workshop};
use ledger::Ledger;
use network::Networks;
use osbuild_format::app::{token, Manifest};
use osbuild_format::device::{AppConfig, DeviceConfig, APPS};
use osbuild_sys::audit::Audit;
use package::{Package, Vouched};
pub use reason::Reason;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

/// How long the kernel's word about a forbidden call may be behind the end of the process.
const AUDIT_PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

pub struct Apps {
    apps: BTreeMap<String, App>,
    /// Those that do not run, and why.
    refused: BTreeMap<String, String>,
    /// Waiting for the end of the app before them; none: the app is only removed.
    successors: BTreeMap<String, Option<Package>>,
    /// Whether the machine is divided into control groups, which is done for the first app.
    divided: bool,
    ledger: Ledger,
    /// None: the kernel has no audit, and a forbidden call has no name.
    audit: Option<Audit>,
    /// The last forbidden call of each user.
    forbidden: BTreeMap<u32, String>,
    device_id: String,
    networks: Networks,
    /// Why apps of third parties do not run.
    safe_mode: Option<String>,
}

impl Apps {
    /// Prepares the image's apps and those that were installed.
    pub fn start(config: &DeviceConfig, network: &Network, log: &Arc<Log>) -> Apps {
        let audit =
            Audit::open().map_err(|error| log.warn(&format!("forbidden system calls will have no name: {error}")));
        let mut apps = Apps {
            apps: BTreeMap::new(),
            refused: BTreeMap::new(),
            successors: BTreeMap::new(),
            divided: false,
            ledger: Ledger::load(log),
            audit: audit.ok(),
            forbidden: BTreeMap::new(),
            device_id: token::device_id(&file::text(crate::init::MACHINE_ID).unwrap_or_default()),
            networks: Networks::new(config, network, log),
            safe_mode: None,
        };
        let installed: BTreeMap<String, String> = apps.ledger.installed().into_iter().collect();
        if !apps.ledger.is_recovered() {
            install::sweep(&installed.values().cloned().collect::<Vec<_>>());
        }
        let mut packages = Vec::new();
        for (id, digest) in &installed {
            match install::installed(digest, config, &apps.device_id) {
                // An update may have brought a newer one; the older is back if the update does not stay.
                Ok((package, token)) if !token.downgrade && is_older_than_shipped(&package, config) => {
                    log.info(&format!("the image's app `{id}` is newer than the one that was installed, and runs"));
                }
                Ok((package, _)) => packages.push(package),
                Err(error) => apps.refuse(id, &error, log),
            }
        }
        let (in_its_place, beside) = around_the_image(packages, config);
        in_its_place.into_iter().for_each(|package| apps.prepare(package, config, log));
        for shipped in &config.apps {
            if !apps.apps.contains_key(&shipped.id) {
                apps.prepare_shipped(shipped, config, log);
            }
        }
        beside.into_iter().for_each(|package| apps.prepare(package, config, log));
        apps
    }

    fn prepare_shipped(&mut self, shipped: &AppConfig, config: &DeviceConfig, log: &Log) {
        match open_shipped(shipped) {
            Ok(package) => self.prepare(package, config, log),
            Err(error) => self.refuse(&shipped.id, &error, log),
        }
    }

    fn prepare(&mut self, package: Package, config: &DeviceConfig, log: &Log) {
        let id = package.manifest.id.clone();
        match self.try_prepare(package, config) {
            Ok(app) => {
                self.refused.remove(&id);
                self.apps.insert(id, app);
            }
            Err(error) => self.refuse(&id, &error, log),
        }
    }

    fn try_prepare(&mut self, package: Package, config: &DeviceConfig) -> Result<App, AgentError> {
        self.admit(&package.manifest, config)?;
        let number = self.ledger.number(&package.manifest.id)?;
        if !self.divided {
            group::prepare()?;
            self.divided = true;
        }
        let workshop = Workshop { config, device_id: &self.device_id, networks: &self.networks };
        let role = role(&package.manifest.id, config);
        App::prepare(package, number, role, &workshop)
    }

    fn admit(&self, manifest: &Manifest, config: &DeviceConfig) -> Result<(), AgentError> {
        let others = self.apps.values().map(|app| &app.package.manifest);
        let objections = admission::objections(manifest, config, others);
        if objections.is_empty() {
            return Ok(());
        }
        let list: Vec<String> = objections.iter().map(ToString::to_string).collect();
        Err(AgentError::Wrong(format!("`{}` cannot run here: {}", manifest.id, list.join("; "))))
    }

    /// Against all that were installed, and the one that is there now: the image's, when none was.
    fn check_version(&self, manifest: &Manifest) -> Result<(), AgentError> {
        let present = self.apps.get(&manifest.id).map(|app| app.package.manifest.version.as_str());
        let known = [self.ledger.version(&manifest.id), present];
        admission::check_version(&manifest.version, &known)
            .map_err(|objection| install::refused(&manifest.id, &objection))
    }

    fn refuse(&mut self, id: &str, error: &AgentError, log: &Log) {
        let reason = chain(error);
        log.error(&format!("the app `{id}` does not run: {reason}"));
        self.refused.insert(id.to_owned(), reason);
    }

    pub fn units(&self) -> impl Iterator<Item = (String, UnitConfig)> + '_ {
        self.apps.iter().map(|(id, app)| (id.clone(), app.unit()))
    }

    pub fn get(&mut self, id: &str) -> Option<&mut App> {
        self.apps.get_mut(id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &App)> {
        self.apps.iter().map(|(id, app)| (id.as_str(), app))
    }

    /// Critical apps of the image that cannot run at all.
    pub fn missing<'a>(&'a self, config: &'a DeviceConfig) -> impl Iterator<Item = &'a str> {
        let critical = config.apps.iter().filter(|app| app.critical).map(|app| app.id.as_str());
        critical.filter(|id| !self.apps.contains_key(*id))
    }

    /// Takes a file of [`install::INCOMING`] in. It runs once the app that it replaces, if there is one, has ended.
    pub fn install(&mut self, file: &str, token: Option<&str>, config: &DeviceConfig) -> Result<String, AgentError> {
        let package = install::adopt(file, token, config, &self.device_id, |manifest, token| {
            if !token.downgrade {
                self.check_version(manifest)?;
            }
            self.admit(manifest, config)
        })?;
        let manifest = &package.manifest;
        let id = manifest.id.clone();
        self.ledger.set_installed(&id, &manifest.version, &package.digest)?;
        self.successors.insert(id.clone(), Some(package));
        Ok(id)
    }

    /// Takes an installed app away, once it has ended; what it stored stays.
    pub fn remove(&mut self, id: &str) -> Result<(), AgentError> {
        if !self.ledger.installed().iter().any(|(installed, _)| installed == id) {
            return Err(AgentError::Wrong(format!("`{id}` was not installed: it is not there, or part of the image")));
        }
        self.ledger.set_removed(id)?;
        self.successors.insert(id.to_owned(), None);
        Ok(())
    }

    pub fn is_being_replaced(&self, id: &str) -> bool {
        self.successors.contains_key(id)
    }

    /// The app before has ended, or there was none: its successor takes its place, or the image's own app. The unit of
    /// what is there now, if anything is.
    pub fn replace(&mut self, id: &str, config: &DeviceConfig, log: &Log) -> Option<UnitConfig> {
        let successor = self.successors.remove(id)?;
        // Its devices, network and group have to be free.
        drop(self.apps.remove(id));
        self.refused.remove(id);
        if let Some(package) = successor {
            self.prepare(package, config, log);
        }
        if let Some(shipped) = config.apps.iter().find(|app| app.id == id && !self.apps.contains_key(id)) {
            self.prepare_shipped(shipped, config, log);
        }
        let keep: Vec<String> = self.ledger.installed().into_iter().map(|(_, digest)| digest).collect();
        install::sweep(&keep);
        self.apps.get(id).map(App::unit)
    }

    /// What the kernel has told since.
    pub fn hear_audit(&mut self) {
        let records = self.audit.as_mut().map(Audit::take).unwrap_or_default();
        for record in records {
            // It may be a process that the app started, which the app need not tell anybody.
            if let Some(app) = self.apps.values().find(|app| app.user() == record.uid) {
                app.log.write(
                    Level::Warning,
                    AGENT,
                    &format!("a process was ended: forbidden system call: {}", record.call),
                );
            }
            // One for each user that an app of ours has: as many as there are numbers.
            self.forbidden.insert(record.uid, record.call);
        }
    }

    pub fn audit(&self) -> Option<BorrowedFd<'_>> {
        self.audit.as_ref().map(AsFd::as_fd)
    }

    /// Why it ended, once the sandbox of `id` has.
    pub fn ended(&mut self, id: &str) -> Option<(crate::supervise::Exit, Reason)> {
        let mut app = self.apps.remove(id)?;
        let ended = app.ended(|user| self.forbidden_call(user));
        self.apps.insert(id.to_owned(), app);
        Some(ended)
    }

    /// The kernel tells it through a thread of its own, so it may come a little after the end itself.
    fn forbidden_call(&mut self, user: u32) -> Option<String> {
        self.hear_audit();
        if !self.forbidden.contains_key(&user) {
            let audit = self.audit.as_ref()?;
            let mut waited = [PollFd::new(audit, PollFlags::IN)];
            // An error means what a timeout does: no name.
            let _ = poll(&mut waited, Some(&AUDIT_PATIENCE));
            self.hear_audit();
        }
        self.forbidden.remove(&user)
    }

    /// The app begins a new life: what an earlier one was ended for says nothing of this one.
    pub fn forget_forbidden(&mut self, id: &str) {
        if let Some(user) = self.apps.get(id).map(App::user) {
            self.forbidden.remove(&user);
        }
    }

    /// From now on no app of a third party runs; gives those that do. None: it was so before.
    pub fn enter_safe_mode(&mut self, reason: String) -> Option<Vec<String>> {
        if self.safe_mode.is_some() {
            return None;
        }
        self.safe_mode = Some(reason);
        let third = self.apps.iter().filter(|(_, app)| app.role.third_party);
        Some(third.map(|(id, _)| id.clone()).collect())
    }

    /// Why `id` may not be started.
    pub fn objection(&self, id: &str) -> Option<String> {
        let reason = self.safe_mode.as_ref()?;
        let third_party = self.apps.get(id).is_some_and(|app| app.role.third_party);
        third_party.then(|| format!("the system is in safe mode without apps of third parties: {reason}"))
    }

    pub fn safe_mode(&self) -> Option<&str> {
        self.safe_mode.as_deref()
    }

    pub fn device_id(&self) -> &str {
        &self.device_id
    }

    /// By id; `state_of` adds what the supervisor knows.
    pub fn status(&self, state_of: impl Fn(&str) -> Value) -> Value {
        let mut all = serde_json::Map::new();
        for (id, app) in &self.apps {
            let mut fields = app.status();
            if let (Value::Object(fields), Value::Object(state)) = (&mut fields, state_of(id)) {
                fields.extend(state);
            }
            all.insert(id.clone(), fields);
        }
        for (id, reason) in self.refused.iter().filter(|(id, _)| !self.apps.contains_key(*id)) {
            all.insert(id.clone(), json!({ "id": id, "state": "refused", "reason": reason }));
        }
        Value::Object(all)
    }
}

/// Installed apps: versions of the image's own, and others. Those come last: what they were given under another image, the
/// apps of this one may need, and a critical one that does not get it would undo an update.
fn around_the_image(installed: Vec<Package>, config: &DeviceConfig) -> (Vec<Package>, Vec<Package>) {
    installed.into_iter().partition(|package| config.apps.iter().any(|app| app.id == package.manifest.id))
}

fn open_shipped(shipped: &AppConfig) -> Result<Package, AgentError> {
    let path = Path::new(APPS).join(format!("{}.app", shipped.id));
    package::open(&path, &Vouched::ByRoot { digest: &shipped.digest })
}

fn is_older_than_shipped(installed: &Package, config: &DeviceConfig) -> bool {
    let manifest = &installed.manifest;
    // One that cannot be opened is in nobody's way.
    let shipped = config.apps.iter().find(|app| app.id == manifest.id).and_then(|app| open_shipped(app).ok());
    shipped.is_some_and(|shipped| {
        admission::check_version(&manifest.version, &[Some(shipped.manifest.version.as_str())]).is_err()
    })
}

/// What the product says of an app of this id; one that it does not know is a third party's.
fn role(id: &str, config: &DeviceConfig) -> Role {
    match config.apps.iter().find(|app| app.id == id) {
        Some(app) => Role { third_party: app.third_party, critical: app.critical },
        None => Role { third_party: true, critical: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use package::Origin;

    #[test]
    fn who_is_not_of_the_image_comes_after_it() {
        let manifest = serde_json::from_value(json!({
            "format": 1, "id": "a", "version": "1.0.0", "title": "a", "architecture": "x86_64", "abi": {"runtime": 1},
            "image": {"data_blocks": 1, "root_hash": "0".repeat(64), "salt": ""}, "argv": ["/a"],
        }));
        let manifest: Manifest = manifest.expect("valid");
        let package = |id: &str| Package {
            manifest: Manifest { id: id.to_owned(), ..manifest.clone() },
            digest: "0".repeat(64),
            path: Path::new("/a").to_owned(),
            origin: Origin::Installed,
        };
        let config = json!({
            "format": 1, "product": "p", "version": "1.0.0", "machine": "m", "hostname": "h", "console": "ttyS0",
            "apps": [{"id": "meter", "digest": "0".repeat(64)}],
        });
        let config = DeviceConfig::from_json(config.to_string().as_bytes()).expect("valid");
        let (in_its_place, beside) = around_the_image(vec![package("a"), package("meter")], &config);
        assert_eq!((in_its_place.len(), beside.len()), (1, 1));
        assert_eq!((in_its_place[0].manifest.id.as_str(), beside[0].manifest.id.as_str()), ("meter", "a"));
    }
}

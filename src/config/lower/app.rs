//! `app.yaml` to [`App`].
//!
//! Invariant: the manifest's rules are those of the format, asked here of a manifest whose image is still to come.

use super::places;
use super::values;
use crate::config::diagnostic::Diagnostic;
use crate::config::file::app::{AppFile, CapabilitiesEntry, HealthEntry, LimitsEntry};
use crate::model::app::{no_image, App};
use crate::model::machine::Architecture;
use crate::model::service::Restart;
use crate::model::Origin;
use osbuild_format::app::{
    abi, AppConnection, Capabilities, Connection, CrashLoop, Health, InterfaceUse, Limits, ListenFrom, Listening,
    Manifest, ManifestProblem, Protocol, FORMAT,
};
use osbuild_format::device;

pub fn app(file: AppFile, architecture: Architecture, problems: &mut Vec<Diagnostic>) -> Option<App> {
    let before = problems.len();
    if file.packages.is_empty() && file.skeletons.is_empty() {
        let problem = Diagnostic::at(&file.app.origin, format!("app `{}` has nothing in it", file.app.value));
        problems.push(problem.help("name the packages with its program in `packages`"));
    }
    if file.exec.is_empty() {
        let problem =
            Diagnostic::at(&file.app.origin, format!("app `{}` has nothing to run in `exec`", file.app.value));
        problems.push(problem.help(format!("such as `exec: [/usr/bin/{}]`", file.app.value)));
        return None;
    }
    let health = health(file.health.as_ref(), problems);
    missing_abi(&file, problems);
    let manifest = Manifest {
        format: FORMAT,
        id: file.app.value.to_string(),
        version: file.version.value.clone(),
        title: file.title.value.clone(),
        architecture: architecture.gnu_cpu().to_owned(),
        abi: file.abi.iter().map(|(name, number)| (name.clone(), number.value)).collect(),
        image: no_image(),
        argv: file.exec.iter().map(|word| word.value.clone()).collect(),
        env: file.env.iter().map(|(name, word)| (name.clone(), word.value.0.clone())).collect(),
        capabilities: file.capabilities.as_ref().map(capabilities).unwrap_or_default(),
        limits: file.limits.as_ref().map(limits).unwrap_or_default(),
        ready: file.ready,
        health,
        restart: match file.restart {
            Restart::Always => device::Restart::Always,
            Restart::OnFailure => device::Restart::OnFailure,
            Restart::Never => device::Restart::Never,
        },
        crash_loop: file
            .crash_loop
            .as_ref()
            .map_or_else(CrashLoop::default, |entry| CrashLoop { ends: entry.ends, window_seconds: entry.window }),
        after: file.after.iter().map(|app| app.value.to_string()).collect(),
        stop_timeout_seconds: file.stop_timeout,
        core_dumps: file.core_dumps,
    };
    if let Err(problem) = manifest.validate() {
        let message = format!("app `{}`: {problem}", file.app.value);
        problems.push(Diagnostic::at(place(&file, &problem), message));
    } else if let Err(error) = manifest.to_json() {
        problems.push(Diagnostic::at(&file.app.origin, format!("app `{}`: {error}", file.app.value)));
    }
    ports(&file, problems);
    places::check(&file, problems);
    let AppFile { app, packages, skeletons, .. } = file;
    (problems.len() == before).then_some(App { origin: app.origin, name: app.value, packages, skeletons, manifest })
}

fn capabilities(entry: &CapabilitiesEntry) -> Capabilities {
    let connection = |entry: &crate::config::file::app::ConnectEntry| Connection {
        host: entry.host.value.clone(),
        port: entry.port.value,
        protocol: entry.protocol,
        private: entry.private,
    };
    let interface = |entry: &crate::config::file::app::InterfaceEntry| InterfaceUse {
        name: entry.name.value.0.clone(),
        address: entry.address.value.address,
        prefix: entry.address.value.prefix,
    };
    Capabilities {
        connect: entry.connect.iter().map(connection).collect(),
        listen: entry
            .listen
            .iter()
            .map(|entry| Listening { port: entry.port.value, protocol: entry.protocol, from: entry.from })
            .collect(),
        apps: entry
            .apps
            .iter()
            .map(|entry| AppConnection {
                app: entry.app.value.to_string(),
                port: entry.port.value,
                protocol: entry.protocol,
            })
            .collect(),
        storage_bytes: entry.storage.as_ref().map_or(0, |size| size.value.0),
        devices: values(entry.devices.clone()).into_iter().map(|name| name.0).collect(),
        interfaces: entry.interfaces.iter().map(interface).collect(),
        device_identity: entry.device_identity,
        set_time: entry.set_time,
        defer_updates: entry.defer_updates,
        reboot: entry.reboot,
    }
}

fn limits(entry: &LimitsEntry) -> Limits {
    Limits { memory_bytes: entry.memory.0, cpu_percent: entry.cpu, processes: entry.processes, files: entry.files }
}

fn health(entry: Option<&HealthEntry>, problems: &mut Vec<Diagnostic>) -> Option<Health> {
    let entry = entry?;
    match (entry.watchdog, entry.tcp, entry.every) {
        (Some(seconds), None, None) => Some(Health::Watchdog { seconds }),
        (None, Some(port), every) => Some(Health::Tcp { port, seconds: every.unwrap_or(10) }),
        _ => {
            let problem = Diagnostic::at(&entry.origin, "a health check is either `watchdog` or `tcp`");
            problems.push(problem.help("such as `{watchdog: 30}` or `{tcp: 1883, every: 10}`, in seconds"));
            None
        }
    }
}

/// Ports that the file itself contradicts.
fn ports(file: &AppFile, problems: &mut Vec<Diagnostic>) {
    let c = file.capabilities.as_ref();
    let listen = c.map(|c| c.listen.as_slice()).unwrap_or_default();
    if let Some((port, entry)) = file.health.as_ref().and_then(|entry| Some((entry.tcp?, entry))) {
        if !listen.iter().any(|own| own.port.value == port && own.protocol == Protocol::Tcp) {
            let message =
                format!("the health check connects to port {port}, on which app `{}` does not listen", file.app.value);
            let help = format!("add `{{port: {port}, from: apps}}` to `listen`");
            problems.push(Diagnostic::at(&entry.origin, message).help(help));
        }
    }
    let has_interface = c.is_some_and(|c| !c.interfaces.is_empty());
    for own in listen.iter().filter(|own| own.from == ListenFrom::Interface && !has_interface) {
        let message = format!("app `{}` listens on an interface of its own and has none", file.app.value);
        problems.push(Diagnostic::at(&own.origin, message).help("name it in `interfaces`, or write `from: network`"));
    }
}

/// What the operating system of this checkout does not have.
fn missing_abi(file: &AppFile, problems: &mut Vec<Diagnostic>) {
    for (name, number) in &file.abi {
        let one = [(name.clone(), number.value)].into();
        for problem in abi::missing(&one) {
            let help = "what the numbers promise is in `docs/apps.md`";
            problems.push(Diagnostic::at(&number.origin, problem.to_string()).help(help));
        }
    }
}

/// Where what breaks a rule was written, as near as the problem tells.
fn place<'a>(file: &'a AppFile, problem: &ManifestProblem) -> &'a Origin {
    let (field, value) = match problem {
        ManifestProblem::Value { field, value, .. } | ManifestProblem::Twice { field, value } => {
            (*field, value.as_str())
        }
        ManifestProblem::TooMany { field, .. } => (*field, ""),
        ManifestProblem::Format(_) => ("", ""),
    };
    let c = file.capabilities.as_ref();
    // `host:port/protocol` begins with the host; of two equal ones the later is too much.
    let begins = |text: &str| value.starts_with(text);
    let found = match field {
        "version" => Some(&file.version.origin),
        "title" => Some(&file.title.origin),
        "argv" => file.exec.iter().find(|word| begins(&word.value)).or(file.exec.first()).map(|word| &word.origin),
        "env" => file.env.get(value).map(|word| &word.origin),
        "connect" => c.and_then(|c| c.connect.iter().rfind(|one| begins(&one.host.value))).map(|one| &one.origin),
        "listen" => c.and_then(|c| c.listen.iter().rfind(|one| begins(&one.port.value.to_string()))).map(|o| &o.origin),
        "apps" => c.and_then(|c| c.apps.iter().rfind(|one| begins(one.app.value.as_str()))).map(|one| &one.origin),
        "devices" => c.and_then(|c| c.devices.iter().rfind(|one| begins(&one.value.0))).map(|one| &one.origin),
        "interfaces" => c.and_then(|c| c.interfaces.iter().rfind(|o| begins(&o.name.value.0))).map(|one| &one.origin),
        limit if limit.starts_with("limits.") => file.limits.as_ref().map(|limits| &limits.origin),
        "health" => file.health.as_ref().map(|health| &health.origin),
        "crash_loop.ends" | "crash_loop.window_seconds" => file.crash_loop.as_ref().map(|entry| &entry.origin),
        "after" => file.after.iter().rfind(|one| begins(one.value.as_str())).map(|one| &one.origin),
        _ => None,
    };
    found.unwrap_or(&file.app.origin)
}

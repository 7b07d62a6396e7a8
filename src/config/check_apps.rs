//! What the apps of one product say of each other, and of the machine: do they fit together?
//!
//! Invariant: whatever two of them claim, or all of them together use up, is named from both sides.

use super::cycle;
use super::diagnostic::{suggest, Diagnostic};
use super::file::app::{AppFile, CapabilitiesEntry};
use super::file::machine::MachineFile;
use super::file::product::ProductFile;
use crate::model::{Located, Origin};
use osbuild_format::app::{Limits, ListenFrom, Protocol};
use std::collections::BTreeMap;

/// What the kernel, the agent and the services need beside the apps.
const SYSTEM_MEMORY_BYTES: u64 = 64 << 20;
/// What the file system itself, the agent and its logs need of the data partition.
const SYSTEM_STORAGE_BYTES: u64 = 16 << 20;
const MIB: u64 = 1 << 20;
/// Where the system itself listens: the ssh server of products with `features: ssh`, and the DHCP client.
const SSH_PORT: u16 = 22;
const DHCP_PORT: u16 = 68;

/// An app of the product: one whose file could be read.
type Apps<'a> = BTreeMap<&'a str, &'a AppFile>;

/// `all` are the apps of the project; those that the product does not have may be as they like.
pub fn check(product: &ProductFile, machine: &MachineFile, all: &[AppFile], problems: &mut Vec<Diagnostic>) {
    let known: Vec<&str> = all.iter().map(|app| app.app.value.as_str()).collect();
    let apps: Apps = all
        .iter()
        .map(|app| (app.app.value.as_str(), app))
        .filter(|(name, _)| product.apps.contains_key(*name))
        .collect();
    let has_ssh = product.features.get("ssh").is_some_and(|on| *on);
    ports(&apps, has_ssh, problems);
    mapped("device", "devices", &machine.devices, machine, devices(&apps), problems);
    mapped("network interface", "interfaces", &machine.interfaces, machine, interfaces(&apps), problems);
    connections(&apps, product, &known, problems);
    order(&apps, &known, problems);
    memory(&apps, machine, problems);
    storage(&apps, machine, problems);
    processors(&apps, machine, problems);
}

fn capabilities<'a>(apps: &Apps<'a>) -> impl Iterator<Item = (&'a str, &'a CapabilitiesEntry)> {
    let list: Vec<_> = apps.iter().filter_map(|(name, app)| Some((*name, app.capabilities.as_ref()?))).collect();
    list.into_iter()
}

/// A port that hosts reach is the device's, so one app has it.
fn ports(apps: &Apps, has_ssh: bool, problems: &mut Vec<Diagnostic>) {
    let mut owners: BTreeMap<(u16, String), (&str, &Origin)> = BTreeMap::new();
    for (name, c) in capabilities(apps) {
        for own in c.listen.iter().filter(|own| own.from == ListenFrom::Network) {
            let (port, protocol) = (own.port.value, format!("{:?}", own.protocol).to_uppercase());
            let of_the_system = match own.protocol {
                Protocol::Tcp => has_ssh && port == SSH_PORT,
                Protocol::Udp => port == DHCP_PORT,
            };
            if of_the_system {
                let message =
                    format!("app `{name}` listens on the device's {protocol} port {port}, which is the system's");
                let help = "give it another port, or `from: apps`: nobody would reach the system there any more";
                problems.push(Diagnostic::at(&own.origin, message).help(help));
            }
            match owners.get(&(port, protocol.clone())) {
                Some((other, at)) => {
                    let message = format!(
                        "app `{name}` listens on the device's {protocol} port {port}, and so does app `{other}`"
                    );
                    let help = format!("give one of them another port, or `from: apps`; the other one is at {at}");
                    problems.push(Diagnostic::at(&own.origin, message).help(help));
                }
                None => drop(owners.insert((port, protocol), (name, &own.origin))),
            }
        }
    }
}

/// An app, a logical name that it uses, and where.
type Use<'a> = (&'a str, &'a str, &'a Origin);

fn devices<'a>(apps: &Apps<'a>) -> Vec<Use<'a>> {
    let uses = |(name, c): (&'a str, &'a CapabilitiesEntry)| {
        c.devices.iter().map(move |device| (name, device.value.0.as_str(), &device.origin))
    };
    capabilities(apps).flat_map(uses).collect()
}

fn interfaces<'a>(apps: &Apps<'a>) -> Vec<Use<'a>> {
    let uses = |(name, c): (&'a str, &'a CapabilitiesEntry)| {
        c.interfaces.iter().map(move |own| (name, own.name.value.0.as_str(), &own.name.origin))
    };
    capabilities(apps).flat_map(uses).collect()
}

/// Each logical name leads to something of the machine, and that has one owner, whatever it is called.
fn mapped(
    what: &str,
    field: &str,
    map: &BTreeMap<String, Located<String>>,
    machine: &MachineFile,
    uses: Vec<Use>,
    problems: &mut Vec<Diagnostic>,
) {
    let mut owners: BTreeMap<&str, Use> = BTreeMap::new();
    let place = &machine.machine;
    for (app, logical, origin) in uses {
        let Some(real) = map.get(logical) else {
            let message =
                format!("app `{app}` uses the {what} `${logical}`, which machine `{}` does not have", place.value);
            let add = format!("add `{logical}: ...` to `{field}` of the machine at {}", place.origin);
            let help = suggest(logical, map.keys().map(String::as_str))
                .map_or(add.clone(), |near| format!("{near}; or {add}"));
            problems.push(Diagnostic::at(origin, message).help(help));
            continue;
        };
        match owners.get(real.value.as_str()) {
            Some((other, _, at)) => {
                let message = format!(
                    "app `{app}` and app `{other}` both use the {what} `${logical}`, which is `{}`",
                    real.value
                );
                let help = format!("it has one owner, to which the other may connect; the other use is at {at}, the machine's name at {}", real.origin);
                problems.push(Diagnostic::at(origin, message).help(help));
            }
            None => drop(owners.insert(&real.value, (app, logical, origin))),
        }
    }
}

/// Whom an app connects to is there, and listens.
fn connections(apps: &Apps, product: &ProductFile, known: &[&str], problems: &mut Vec<Diagnostic>) {
    for (name, entry) in capabilities(apps).flat_map(|(name, c)| c.apps.iter().map(move |entry| (name, entry))) {
        let other = entry.app.value.as_str();
        let Some(file) = apps.get(other) else {
            let (message, help) = match known.contains(&other) {
                true => (
                    format!(
                        "app `{name}` connects to app `{other}`, which product `{}` does not have",
                        product.product.value
                    ),
                    Some(format!("add `{other}: {{}}` to `apps` of the product at {}", product.product.origin)),
                ),
                // One whose file is broken is not known either; its own problem comes first then.
                false => (
                    format!("app `{name}` connects to app `{other}`, which does not exist"),
                    suggest(other, known.iter().copied()),
                ),
            };
            problems.push(Diagnostic::at(&entry.app.origin, message).maybe_help(help));
            continue;
        };
        let listens = file.capabilities.iter().flat_map(|c| &c.listen);
        let is_open = |from| matches!(from, ListenFrom::Apps | ListenFrom::Network);
        let same =
            |own: &&super::file::app::ListenEntry| own.port.value == entry.port.value && own.protocol == entry.protocol;
        if !listens.clone().filter(same).any(|own| is_open(own.from)) {
            let port = entry.port.value;
            let message =
                format!("app `{name}` connects to port {port} of app `{other}`, which does not listen there for apps");
            let open: Vec<String> =
                listens.filter(|own| is_open(own.from)).map(|own| own.port.value.to_string()).collect();
            let ports = if open.is_empty() { "none".to_owned() } else { open.join(", ") };
            let help = format!("ports of `{other}` for apps: {ports}; it is at {}", file.app.origin);
            problems.push(Diagnostic::at(&entry.port.origin, message).help(help));
        }
    }
}

/// One that the product does not have is not waited for; one that nobody has is a mistake.
fn order(apps: &Apps, known: &[&str], problems: &mut Vec<Diagnostic>) {
    for (name, after) in apps.iter().flat_map(|(name, app)| app.after.iter().map(move |after| (name, after))) {
        if !known.contains(&after.value.as_str()) {
            let message = format!("app `{name}` starts after app `{}`, which does not exist", after.value);
            problems.push(
                Diagnostic::at(&after.origin, message).maybe_help(suggest(after.value.as_str(), known.iter().copied())),
            );
        }
    }
    let graph: cycle::Graph = apps
        .iter()
        .filter(|(_, app)| !app.after.is_empty())
        .map(|(name, app)| (*name, app.after.iter().map(|after| (after.value.as_str(), &after.origin)).collect()))
        .collect();
    problems.extend(cycle::problems(&graph, "apps", "starts after"));
}

fn memory(apps: &Apps, machine: &MachineFile, problems: &mut Vec<Diagnostic>) {
    // A machine that says nothing of its own is at least the board that stands for it.
    let board = machine.board.as_ref().map(|board| (u64::from(board.memory_mib) * MIB, &board.origin));
    let Some((all, place)) = machine.memory.as_ref().map(|memory| (memory.value.0, &memory.origin)).or(board) else {
        return;
    };
    let limit = |app: &AppFile| match &app.limits {
        Some(limits) => (limits.memory.0, limits.origin.clone()),
        None => (Limits::default().memory_bytes, app.app.origin.clone()),
    };
    let uses: Vec<_> = apps.iter().map(|(name, app)| (*name, limit(app))).collect();
    let left = all.saturating_sub(SYSTEM_MEMORY_BYTES);
    let sum = uses.iter().fold(0_u64, |sum, (_, (bytes, _))| sum.saturating_add(*bytes));
    if sum > left {
        let (sum, left, all) = (sum.div_ceil(MIB), left / MIB, all / MIB);
        let message = format!(
            "the apps may use {sum} MiB of memory, but a device has {left} MiB for them: {all} MiB, of which the system needs {}",
            SYSTEM_MEMORY_BYTES / MIB
        );
        problems.push(Diagnostic::at(place, message).help(listed("lower `limits` of", uses)));
    }
}

fn storage(apps: &Apps, machine: &MachineFile, problems: &mut Vec<Diagnostic>) {
    let quota = |(name, c): (&'_ str, &CapabilitiesEntry)| {
        c.storage.as_ref().map(|size| (name.to_owned(), (size.value.0, size.origin.clone())))
    };
    let uses: Vec<_> = capabilities(apps).filter_map(quota).collect();
    let data = &machine.partitions.data;
    let sum = uses.iter().fold(0_u64, |sum, (_, (bytes, _))| sum.saturating_add(*bytes));
    let left = data.value.0.saturating_sub(SYSTEM_STORAGE_BYTES);
    if sum > left {
        let (sum, left, all) = (sum.div_ceil(MIB), left / MIB, data.value.0 / MIB);
        let message = format!(
            "the apps may store {sum} MiB, but the data partition has {left} MiB for them: {all} MiB, of which the system \
             needs {}",
            SYSTEM_STORAGE_BYTES / MIB
        );
        let uses = uses.iter().map(|(name, used)| (name.as_str(), used.clone())).collect();
        problems
            .push(Diagnostic::at(&data.origin, message).help(listed("enlarge `data`, or lower `storage` of", uses)));
    }
}

fn processors(apps: &Apps, machine: &MachineFile, problems: &mut Vec<Diagnostic>) {
    let Some(board) = &machine.board else { return };
    for (name, limits) in apps.iter().filter_map(|(name, app)| Some((name, app.limits.as_ref()?))) {
        if u64::from(limits.cpu) > u64::from(board.cpus) * 100 {
            let message = format!(
                "app `{name}` may use {} hundredths of a processor, but the machine has {} processors",
                limits.cpu, board.cpus
            );
            let help = format!(
                "write `cpu: {}` or less; `cpus` of the machine is at {}",
                u64::from(board.cpus) * 100,
                board.origin
            );
            problems.push(Diagnostic::at(&limits.origin, message).help(help));
        }
    }
}

/// Who uses how much of something, the most first.
fn listed(what: &str, mut uses: Vec<(&str, (u64, Origin))>) -> String {
    uses.sort_by(|a, b| b.1 .0.cmp(&a.1 .0).then(a.0.cmp(b.0)));
    let line = |(name, (bytes, at)): &(&str, (u64, Origin))| format!("`{name}`, {} MiB, at {at}", bytes.div_ceil(MIB));
    format!("{what} one of these:\n      {}", uses.iter().map(line).collect::<Vec<_>>().join("\n      "))
}

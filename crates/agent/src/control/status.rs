//! The state of the system as JSON; `docs/agent.md` says what each field means.
//!
//! Invariant: only reads; a fact that cannot be found out is null, never a guess.

use crate::boot::facts::Facts;
use crate::boot::{efi_variable, EFI_VARIABLES};
use crate::network::Network;
use crate::supervise::{State, Supervisor};
use crate::watchdog::Guard;
use crate::{data, file, time};
use osbuild_format::device::DeviceConfig;
use serde_json::{json, Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

const FORMAT: u32 = 1;

/// What the main loop knows.
pub struct Known<'a> {
    pub config: &'a DeviceConfig,
    pub facts: &'a Facts,
    pub fixed: &'a Fixed,
    pub supervisor: &'a Supervisor,
    pub network: &'a Network,
    /// `starting`, `ready`, `unhealthy` or `stopping`.
    pub state: &'static str,
    pub ready_ms: Option<u64>,
    pub guard: &'a Guard,
    pub device_id: &'a str,
    pub safe_mode: Option<&'a str>,
    pub updates_deferred_for: Duration,
    pub apps: Value,
}

/// What does not change while the system runs, so is read once.
pub struct Fixed {
    secure_boot: Option<bool>,
    lockdown: Option<String>,
    tpm: bool,
    /// From the firmware's hand-over to the kernel's start, where the boot loader interface tells.
    pub loader_ms: Option<u64>,
}

impl Fixed {
    pub fn read() -> Self {
        let variable = |name: &str| file::read(format!("{EFI_VARIABLES}/{name}"), efi_variable::LIMIT_BYTES).ok();
        let time = |name: &str| variable(name).as_deref().and_then(efi_variable::microseconds);
        let (began, ended) = (time(efi_variable::LOADER_INITIALISED), time(efi_variable::LOADER_STARTED));
        Fixed {
            secure_boot: variable(efi_variable::SECURE_BOOT).as_deref().and_then(efi_variable::switch),
            lockdown: file::text("/sys/kernel/security/lockdown").ok().and_then(|text| chosen(&text)),
            tpm: std::path::Path::new("/sys/class/tpm/tpm0").exists(),
            loader_ms: began.zip(ended).and_then(|(began, ended)| Some(ended.checked_sub(began)? / 1000)),
        }
    }
}

pub fn status(known: &Known) -> Value {
    let (config, facts, fixed) = (known.config, known.facts, known.fixed);
    let clock = known.network.clock();
    json!({
        "format": FORMAT,
        "product": config.product, "version": config.version, "machine": config.machine,
        "hostname": config.hostname, "state": known.state, "uptime_ms": time::milliseconds(),
        "boot": {
            "slot": facts.slot, "root_hash": facts.root_hash, "root_device": root_device(), "verity": verity(),
            "secure_boot": fixed.secure_boot, "lockdown": fixed.lockdown, "tpm": fixed.tpm,
            "loader_ms": fixed.loader_ms, "kernel_ms": facts.kernel_ms, "ready_ms": known.ready_ms,
            "watchdog": known.guard.is_inherited(),
        },
        "memory": memory(),
        "clock": {
            "unix_seconds": time::unix().as_secs(), "synchronized": clock.server.is_some(),
            "server": clock.server, "offset_ms": clock.server.map(|_| clock.offset_microseconds / 1000),
        },
        "network": network(known.network),
        "services": services(known.supervisor),
        "device_id": known.device_id, "safe_mode": known.safe_mode, "apps": known.apps,
        "updates_deferred_seconds": known.updates_deferred_for.as_secs(),
        "data": data_size(),
        "watchdog": known.guard.is_armed(), "watchdog_seconds": known.guard.timeout_seconds(),
        "watchdog_fed_ms_ago": known.guard.fed_ms_ago(),
    })
}

/// The word in brackets: `none [integrity] confidentiality`.
fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

/// What `/` is mounted from.
fn root_device() -> Option<String> {
    let mounts = file::text("/proc/self/mounts").ok()?;
    let root = mounts.lines().rfind(|line| line.split(' ').nth(1) == Some("/"))?;
    root.split(' ').next().map(str::to_owned)
}

/// `verified` while every block read so far matched, as the kernel's target says itself.
fn verity() -> Option<&'static str> {
    let status = osbuild_sys::device_mapper::status(crate::boot::ROOT_DEVICE).ok()?;
    match (status.target.as_str(), status.status.split(' ').next()?) {
        ("verity", "V") => Some("verified"),
        ("verity", "C") => Some("corrupted"),
        _ => None,
    }
}

fn memory() -> Value {
    let meminfo = file::text("/proc/meminfo").unwrap_or_default();
    let own = file::text("/proc/self/status").unwrap_or_default();
    json!({
        "total_kib": kib(&meminfo, "MemTotal:"), "available_kib": kib(&meminfo, "MemAvailable:"),
        "agent_kib": kib(&own, "VmRSS:"),
    })
}

fn kib(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.split_ascii_whitespace().next()?.parse().ok())
}

fn network(network: &Network) -> Value {
    let leases = network.leases();
    let first = leases.values().next().map(|lease| format!("{}/{}", lease.address, lease.prefix));
    let mut addresses = ipv6(&file::text("/proc/net/if_inet6").unwrap_or_default());
    let mut interfaces = Map::new();
    for (name, lease) in &leases {
        let list = addresses.entry(name.clone()).or_default();
        list.insert(0, format!("{}/{}", lease.address, lease.prefix));
    }
    for (name, addresses) in addresses {
        let lease = leases.get(&name);
        let fields = json!({
            "addresses": addresses, "gateway": lease.and_then(|l| l.gateway), "dns": lease.map(|l| &l.dns),
        });
        interfaces.insert(name, fields);
    }
    json!({ "address": first, "interfaces": interfaces })
}

/// `/proc/net/if_inet6`: address, index, prefix, scope, flags, name. Loopback is left out.
fn ipv6(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut addresses: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        if let [address, _, prefix, _, _, name] = fields[..] {
            let parsed = u128::from_str_radix(address, 16).ok().zip(u8::from_str_radix(prefix, 16).ok());
            if let Some((address, prefix)) = parsed.filter(|_| name != "lo") {
                let text = format!("{}/{prefix}", std::net::Ipv6Addr::from(address));
                addresses.entry(name.to_owned()).or_default().push(text);
            }
        }
    }
    addresses
}

fn services(supervisor: &Supervisor) -> Value {
    let fields = |unit: &crate::supervise::Unit| {
        let since =
            if let State::Running { since, .. } = unit.state { Some(time::in_milliseconds(since)) } else { None };
        json!({
            "state": unit.state.name(), "pid": unit.state.pid(), "critical": unit.config.critical,
            "restarts": unit.restarts, "last_exit": unit.last_exit.map(|exit| exit.to_string()), "since_ms": since,
        })
    };
    // A service's name has no colon; an app's unit does.
    let services = supervisor.units().filter(|unit| !unit.config.name.contains(':'));
    services.map(|unit| (unit.config.name.clone(), fields(unit))).collect::<Map<_, _>>().into()
}

fn data_size() -> Value {
    match rustix::fs::statvfs(data::MOUNTED) {
        Ok(fs) => json!({
            "size_bytes": fs.f_blocks.saturating_mul(fs.f_frsize),
            "available_bytes": fs.f_bavail.saturating_mul(fs.f_frsize),
        }),
        Err(_) => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lockdown_in_force_is_the_one_in_brackets() {
        assert_eq!(chosen("none [integrity] confidentiality"), Some("integrity".into()));
        assert_eq!(chosen("none"), None);
    }

    #[test]
    fn numbers_of_the_kernel_are_found_by_their_key() {
        assert_eq!(kib("MemTotal:  100 kB\nMemAvailable:   42 kB\n", "MemAvailable:"), Some(42));
        assert_eq!(kib("MemTotal: x kB", "MemTotal:"), None);
    }

    #[test]
    fn ipv6_addresses_are_listed_by_interface() {
        let text = "00000000000000000000000000000001 01 80 10 80       lo\n\
                    fec00000000000005054 00\nfe80000000000000505400fffe123456 02 40 20 80     eth0\n";
        let wanted = BTreeMap::from([("eth0".to_owned(), vec!["fe80::5054:ff:fe12:3456/64".to_owned()])]);
        assert_eq!(ipv6(text), wanted);
    }
}

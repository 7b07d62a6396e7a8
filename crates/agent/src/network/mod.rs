//! Addresses and the time of day from the network, each kept up by a thread of its own.
//!
//! Invariant: no network is no failure: everything here tries on, and the rest of the system does not wait for it.

pub mod clock;
pub mod dhcp;
pub mod dns;
mod interface;
mod resolver;
pub mod sntp;

use crate::error::{AgentError, Doing};
use crate::file;
use crate::log::Log;
use crate::thread;
use dhcp::Lease;
use osbuild_format::device::DeviceConfig;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Where the C library's resolver looks: `/etc/resolv.conf` is a link to it.
const RESOLVERS: &str = "/run/resolv.conf";
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);
const LIMIT_INTERFACES: usize = 16;

/// What the threads have found out.
#[derive(Clone)]
pub struct Network {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    leases: BTreeMap<String, Lease>,
    clock: ClockState,
}

#[derive(Clone, Debug, Default)]
pub struct ClockState {
    pub server: Option<Ipv4Addr>,
    /// Measured last.
    pub offset_microseconds: i64,
}

impl Network {
    /// `floor` is the earliest time that a time server is believed to tell.
    pub fn start(config: &DeviceConfig, floor: Duration, log: &Arc<Log>) -> Result<Self, AgentError> {
        let network = Network { shared: Arc::default() };
        write_resolvers(&[]).doing(|| format!("write `{RESOLVERS}`"))?;
        if let Err(error) = osbuild_sys::network::bring_up("lo") {
            log.warn(&format!("cannot bring `lo` up: {error}"));
        }
        let watcher = Watcher { network: network.clone(), hostname: config.hostname.clone(), log: log.clone() };
        thread::start("network", move || watcher.run())?;
        let (servers, clock_network, clock_log) = (config.ntp_servers.clone(), network.clone(), log.clone());
        thread::start("clock", move || clock::keep(&servers, floor, &clock_network, &clock_log))?;
        Ok(network)
    }

    /// Leases by interface.
    pub fn leases(&self) -> BTreeMap<String, Lease> {
        self.lock().leases.clone()
    }

    pub fn clock(&self) -> ClockState {
        self.lock().clock.clone()
    }

    fn set_clock(&self, server: Ipv4Addr, offset_microseconds: i64) {
        self.lock().clock = ClockState { server: Some(server), offset_microseconds };
    }

    /// Notes a lease or its end, and tells programs where to resolve names.
    fn set_lease(&self, interface: &str, lease: Option<Lease>) -> std::io::Result<()> {
        let mut shared = self.lock();
        match lease {
            Some(lease) => shared.leases.insert(interface.to_owned(), lease),
            None => shared.leases.remove(interface),
        };
        write_resolvers(&name_servers(&shared.leases))
    }

    fn name_servers(&self) -> Vec<Ipv4Addr> {
        name_servers(&self.lock().leases)
    }

    fn time_servers(&self) -> Vec<Ipv4Addr> {
        self.lock().leases.values().flat_map(|lease| lease.ntp.iter().copied()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Each change is one assignment, so a thread that died left nothing half done.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name_servers(leases: &BTreeMap<String, Lease>) -> Vec<Ipv4Addr> {
    let mut servers: Vec<Ipv4Addr> = leases.values().flat_map(|lease| lease.dns.iter().copied()).collect();
    // The C library reads three.
    servers.truncate(3);
    servers
}

fn write_resolvers(servers: &[Ipv4Addr]) -> std::io::Result<()> {
    let lines: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    file::replace(RESOLVERS, lines.as_bytes(), 0o644)
}

/// Starts a DHCP client for each Ethernet interface, those plugged in later included.
struct Watcher {
    network: Network,
    hostname: String,
    log: Arc<Log>,
}

impl Watcher {
    fn run(self) {
        let mut known = BTreeSet::new();
        loop {
            for name in interface::ethernet_interfaces() {
                if known.len() < LIMIT_INTERFACES && known.insert(name.clone()) {
                    self.start(&name);
                }
            }
            std::thread::sleep(BETWEEN_LOOKS);
        }
    }

    fn start(&self, name: &str) {
        let (network, log) = (self.network.clone(), self.log.clone());
        let (owned, hostname) = (name.to_owned(), self.hostname.clone());
        let started = thread::start(name, move || interface::keep(&owned, &hostname, &network, &log));
        if let Err(error) = started {
            self.log.warn(&crate::error::chain(&error));
        }
    }
}

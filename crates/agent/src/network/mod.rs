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
use interface::Plugged;
use osbuild_format::device::DeviceConfig;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// What programs may know of the network; who may read it needs nothing else of `/run`.
pub const SHOWN: &str = "/run/network";
/// Where the C library's resolver looks: `/etc/resolv.conf` is a link to it.
const RESOLVERS: &str = "/run/network/resolv.conf";
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
    /// Name servers of the product, which count instead of those of leases.
    chosen: Vec<Ipv4Addr>,
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
        let shared = Shared { chosen: config.dns_servers.clone(), ..Shared::default() };
        std::fs::create_dir_all(SHOWN).doing(|| format!("make the folder `{SHOWN}`"))?;
        write_resolvers(&shared.name_servers()).doing(|| format!("write `{RESOLVERS}`"))?;
        let network = Network { shared: Arc::new(Mutex::new(shared)) };
        if let Err(error) = osbuild_sys::network::bring_up("lo") {
            log.warn(&format!("cannot bring `lo` up: {error}"));
        }
        let (hostname, reserved) = (config.hostname.clone(), config.interfaces.values().cloned().collect());
        let watcher = Watcher { network: network.clone(), hostname, reserved, log: log.clone() };
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
        write_resolvers(&shared.name_servers())
    }

    /// Of an interface that is gone; programs then no longer ask its name servers.
    fn forget_lease(&self, interface: &str) -> std::io::Result<()> {
        if self.leases().contains_key(interface) {
            self.set_lease(interface, None)?;
        }
        Ok(())
    }

    pub fn name_servers(&self) -> Vec<Ipv4Addr> {
        self.lock().name_servers()
    }

    fn time_servers(&self) -> Vec<Ipv4Addr> {
        self.lock().leases.values().flat_map(|lease| lease.ntp.iter().copied()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Each change is one assignment, so a thread that died left nothing half done.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn name_servers(&self) -> Vec<Ipv4Addr> {
        let mut servers = match self.chosen.is_empty() {
            true => self.leases.values().flat_map(|lease| lease.dns.iter().copied()).collect(),
            false => self.chosen.clone(),
        };
        // The C library reads three.
        servers.truncate(3);
        servers
    }
}

fn write_resolvers(servers: &[Ipv4Addr]) -> std::io::Result<()> {
    let lines: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    file::replace(RESOLVERS, lines.as_bytes(), 0o644)
}

/// Starts a DHCP client for each Ethernet interface, those plugged in later included.
struct Watcher {
    network: Network,
    hostname: String,
    /// Interfaces for apps: nobody on them may tell this device its route or its name servers.
    reserved: Vec<String>,
    log: Arc<Log>,
}

impl Watcher {
    fn run(self) {
        let mut clients = Clients::default();
        loop {
            let found = interface::ethernet_interfaces().into_iter();
            let found = found.filter(|interface| !self.reserved.contains(&interface.name)).collect();
            for interface in clients.missing(found) {
                let alive = clients.begin(&interface.name);
                self.start(interface, alive);
            }
            thread::rest_for(BETWEEN_LOOKS);
        }
    }

    fn start(&self, interface: Plugged, alive: Arc<()>) {
        let (network, log) = (self.network.clone(), self.log.clone());
        let (name, hostname) = (interface.name.clone(), self.hostname.clone());
        let started = thread::start(&name, move || {
            interface::keep(&interface, &hostname, &network, &log);
            drop(alive);
        });
        if let Err(error) = started {
            self.log.warn(&crate::error::chain(&error));
        }
    }
}

/// The DHCP clients that run, by the name of their interface; each holds its token until it ends.
///
/// An interface that comes back under its name gets a new client only once the old one, which notices by itself, has
/// ended: two would fight for one name.
#[derive(Default)]
struct Clients {
    running: BTreeMap<String, Weak<()>>,
}

impl Clients {
    /// Those of `found` that need a client now.
    fn missing(&mut self, mut found: Vec<Plugged>) -> Vec<Plugged> {
        self.running.retain(|_, alive| alive.strong_count() > 0);
        found.retain(|interface| !self.running.contains_key(&interface.name));
        found.truncate(LIMIT_INTERFACES.saturating_sub(self.running.len()));
        found
    }

    fn begin(&mut self, name: &str) -> Arc<()> {
        let alive = Arc::new(());
        self.running.insert(name.to_owned(), Arc::downgrade(&alive));
        alive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Network {
        /// Nothing is known, and no thread runs.
        pub fn offline() -> Self {
            Network { shared: Arc::default() }
        }
    }

    fn plugged(name: &str, index: u32) -> Plugged {
        Plugged { name: name.to_owned(), index }
    }

    #[test]
    fn an_interface_plugged_in_again_gets_a_client_once_the_old_one_has_ended() {
        let mut clients = Clients::default();
        assert_eq!(clients.missing(vec![plugged("eth0", 2)]), [plugged("eth0", 2)]);
        let first = clients.begin("eth0");
        assert_eq!(clients.missing(vec![plugged("eth0", 2)]), []);
        // It comes back before the old client has noticed.
        assert_eq!(clients.missing(vec![plugged("eth0", 3)]), []);
        drop(first);
        assert_eq!(clients.missing(vec![plugged("eth0", 3)]), [plugged("eth0", 3)]);
    }

    #[test]
    fn only_those_that_are_there_count_towards_the_limit() {
        let mut clients = Clients::default();
        for index in 0..100 {
            let name = format!("usb{index}");
            assert_eq!(clients.missing(vec![plugged(&name, index)]).len(), 1);
            drop(clients.begin(&name));
        }
        let many: Vec<Plugged> = (0..100).map(|index| plugged(&format!("eth{index}"), index)).collect();
        let alive: Vec<Arc<()>> = clients.missing(many.clone()).iter().map(|i| clients.begin(&i.name)).collect();
        assert_eq!((alive.len(), clients.missing(many).len()), (LIMIT_INTERFACES, 0));
    }
}

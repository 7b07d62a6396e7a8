//! One Ethernet interface: brought up, and given what its DHCP client says.
//!
//! Invariant: its thread never ends while the interface is there; errors are logged and tried again. It ends soon after
//! the interface is gone, and takes its lease along.

use super::dhcp::{Client, Lease, Mac, Output, CLIENT_PORT, SERVER_PORT};
use super::Network;
use crate::log::Log;
use crate::{file, random, thread, time};
use osbuild_sys::network::{add_default_route, bring_up, clear_address, set_address, udp_on};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::time::Duration;

/// Linux `ARPHRD_ETHER`.
const ETHERNET: &str = "1";
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(10);
/// How soon an interface that is gone is noticed: nothing wakes those who wait for its packets.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);
const LIMIT_PACKET_BYTES: usize = 1500;

const INTERFACES: &str = "/sys/class/net";

/// An interface from when it was plugged in until it is unplugged: its name may come back, its index never does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugged {
    pub name: String,
    pub index: u32,
}

impl Plugged {
    fn find(name: &str) -> Option<Self> {
        let index = file::text(Path::new(INTERFACES).join(name).join("ifindex")).ok()?.parse().ok()?;
        Some(Plugged { name: name.to_owned(), index })
    }

    fn is_there(&self) -> bool {
        Plugged::find(&self.name).is_some_and(|now| now == *self)
    }
}

/// Interfaces with a device behind them.
pub fn ethernet_interfaces() -> Vec<Plugged> {
    let Ok(entries) = std::fs::read_dir(INTERFACES) else { return Vec::new() };
    let ethernet = |entry: &std::fs::DirEntry| {
        file::text(entry.path().join("type")).is_ok_and(|kind| kind == ETHERNET) && entry.path().join("device").exists()
    };
    entries.flatten().filter(ethernet).filter_map(|entry| Plugged::find(entry.file_name().to_str()?)).collect()
}

/// Comes back when the interface is gone, and its lease forgotten.
pub fn keep(interface: &Plugged, hostname: &str, network: &Network, log: &Log) {
    let name = &interface.name;
    while interface.is_there() {
        if let Err(error) = run(interface, hostname, network, log) {
            log.warn(&format!("`{name}` has no address from DHCP: {error}"));
        }
        wait_while_there(interface, BETWEEN_ATTEMPTS);
    }
    log.info(&format!("`{name}` is gone"));
    if let Err(error) = network.forget_lease(name) {
        log.warn(&format!("`{name}` is gone, but not its name servers: {error}"));
    }
}

fn wait_while_there(interface: &Plugged, patience: Duration) {
    let deadline = time::now() + patience;
    while interface.is_there() && time::now() < deadline {
        thread::rest_for(patience.min(BETWEEN_LOOKS));
    }
}

/// Comes back without an error when the interface is gone.
fn run(interface: &Plugged, hostname: &str, network: &Network, log: &Log) -> io::Result<()> {
    let name = interface.name.as_str();
    bring_up(name)?;
    let mac = mac(&file::text(format!("{INTERFACES}/{name}/address"))?)
        .ok_or_else(|| io::Error::other("its hardware address is not one of Ethernet"))?;
    let socket = udp_on(name, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT))?;
    let mut client = Client::new(mac, hostname, time::now(), Box::new(random::number));
    let mut packet = [0; LIMIT_PACKET_BYTES];
    while interface.is_there() {
        let due = client.wake(time::now());
        apply(name, due, &socket, network, log)?;
        socket.set_read_timeout(Some(pause(client.wake_at(), time::now())))?;
        thread::rest();
        match socket.recv(&mut packet) {
            Ok(count) => {
                let outputs = client.receive(&packet[..count], time::now());
                apply(name, outputs, &socket, network, log)?;
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Zero would mean to wait for ever.
fn pause(until: Duration, now: Duration) -> Duration {
    until.saturating_sub(now).clamp(Duration::from_millis(1), BETWEEN_LOOKS)
}

fn apply(name: &str, outputs: Vec<Output>, socket: &UdpSocket, network: &Network, log: &Log) -> io::Result<()> {
    for output in outputs {
        match output {
            Output::Send { bytes, to } => {
                // A cable that is out now may be in at the next try.
                if let Err(error) = socket.send_to(&bytes, SocketAddrV4::new(to, SERVER_PORT)) {
                    log.info(&format!("`{name}`: cannot send to {to}: {error}"));
                }
            }
            Output::Configure(lease) => configure(name, lease, network, log)?,
            Output::Deconfigure => {
                clear_address(name)?;
                network.set_lease(name, None)?;
                log.warn(&format!("`{name}`: the lease is over"));
            }
        }
    }
    Ok(())
}

fn configure(name: &str, lease: Lease, network: &Network, log: &Log) -> io::Result<()> {
    let old = network.leases().remove(name);
    let same = |old: Lease| (old.address, old.prefix, old.gateway) == (lease.address, lease.prefix, lease.gateway);
    if !old.is_some_and(same) {
        // Takes the old address's routes along, the one to its gateway too.
        clear_address(name)?;
        set_address(name, lease.address, lease.prefix)?;
        // Only now: without an address of its own the check would drop the server's answers.
        let _ = file::set(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"), "1");
        log.info(&format!("`{name}`: {}/{} from {}", lease.address, lease.prefix, lease.server));
    }
    if let Some(gateway) = lease.gateway {
        add_default_route(name, gateway)?;
    }
    network.set_lease(name, Some(lease))
}

fn mac(text: &str) -> Option<Mac> {
    let bytes: Vec<u8> = text.split(':').map(|pair| u8::from_str_radix(pair, 16)).collect::<Result<_, _>>().ok()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_came_back_under_its_name_is_another() {
        let lo = Plugged::find("lo").expect("every machine has it");
        assert!(lo.is_there());
        let before = Plugged { index: lo.index + 1000, ..lo };
        assert!(!before.is_there() && !Plugged { name: "none".into(), ..before.clone() }.is_there());
        let log = Log::in_file(file::open("/dev/null").expect("it is there"));
        // Comes back, where it would try for ever if the name were enough.
        keep(&before, "test", &Network::offline(), &log);
    }

    #[test]
    fn an_interface_is_looked_for_while_a_lease_runs_on() {
        let ms = Duration::from_millis;
        for (until, wanted) in [(3_600_000, BETWEEN_LOOKS), (1500, ms(500)), (1000, ms(1)), (0, ms(1))] {
            assert_eq!(pause(ms(until), ms(1000)), wanted);
        }
    }

    #[test]
    fn hardware_addresses_of_ethernet_have_six_bytes() {
        assert_eq!(mac("52:54:00:12:34:ff"), Some([0x52, 0x54, 0, 0x12, 0x34, 0xff]));
        for bad in ["", "52:54:00:12:34", "52:54:00:12:34:56:78", "52:54:00:12:34:xx"] {
            assert_eq!(mac(bad), None, "{bad}");
        }
    }
}

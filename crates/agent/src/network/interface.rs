//! One Ethernet interface: brought up, and given what its DHCP client says.
//!
//! Invariant: its thread never ends while the interface is there; errors are logged and tried again.

use super::dhcp::{Client, Lease, Mac, Output, CLIENT_PORT, SERVER_PORT};
use super::Network;
use crate::log::Log;
use crate::{file, random, time};
use osbuild_sys::network::{add_default_route, bring_up, clear_address, set_address, udp_on};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::time::Duration;

/// Linux `ARPHRD_ETHER`.
const ETHERNET: &str = "1";
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(10);
const LIMIT_PACKET_BYTES: usize = 1500;

/// Names of interfaces with a device behind them.
pub fn ethernet_interfaces() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/sys/class/net") else { return Vec::new() };
    let ethernet = |entry: &std::fs::DirEntry| {
        file::text(entry.path().join("type")).is_ok_and(|kind| kind == ETHERNET) && entry.path().join("device").exists()
    };
    entries.flatten().filter(ethernet).filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Does not come back while the interface exists.
pub fn keep(name: &str, hostname: &str, network: &Network, log: &Log) {
    while Path::new("/sys/class/net").join(name).exists() {
        if let Err(error) = run(name, hostname, network, log) {
            log.warn(&format!("`{name}` has no address from DHCP: {error}"));
        }
        std::thread::sleep(BETWEEN_ATTEMPTS);
    }
}

fn run(name: &str, hostname: &str, network: &Network, log: &Log) -> io::Result<()> {
    bring_up(name)?;
    let mac = mac(&file::text(format!("/sys/class/net/{name}/address"))?)
        .ok_or_else(|| io::Error::other("its hardware address is not one of Ethernet"))?;
    let socket = udp_on(name, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT))?;
    let mut client = Client::new(mac, hostname, time::now(), Box::new(random::number));
    let mut packet = [0; LIMIT_PACKET_BYTES];
    loop {
        let due = client.wake(time::now());
        apply(name, due, &socket, network, log)?;
        let pause = client.wake_at().saturating_sub(time::now()).max(Duration::from_millis(1));
        socket.set_read_timeout(Some(pause))?;
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
    fn hardware_addresses_of_ethernet_have_six_bytes() {
        assert_eq!(mac("52:54:00:12:34:ff"), Some([0x52, 0x54, 0, 0x12, 0x34, 0xff]));
        for bad in ["", "52:54:00:12:34", "52:54:00:12:34:56:78", "52:54:00:12:34:xx"] {
            assert_eq!(mac(bad), None, "{bad}");
        }
    }
}

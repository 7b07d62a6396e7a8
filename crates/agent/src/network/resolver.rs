//! A host name to its IPv4 addresses, by asking the name servers of the leases.
//!
//! Invariant: each question takes a bounded time; an answer is taken only from the server that was asked.

use super::dns;
use crate::random;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

const PORT: u16 = 53;
const PATIENCE: Duration = Duration::from_secs(3);
/// RFC 1035 section 4.2.1.
const LIMIT_BYTES: usize = 512;

/// Empty: no server knows it.
pub fn addresses(name: &str, servers: &[Ipv4Addr]) -> Vec<Ipv4Addr> {
    if let Ok(address) = name.parse() {
        return vec![address];
    }
    servers.iter().filter_map(|server| ask(name, *server).ok()).find(|found| !found.is_empty()).unwrap_or_default()
}

fn ask(name: &str, server: Ipv4Addr) -> io::Result<Vec<Ipv4Addr>> {
    let id = u16::from_ne_bytes(random::bytes()?);
    let question = dns::question(id, name).ok_or(io::ErrorKind::InvalidInput)?;
    // Port 0: the kernel picks one that others cannot guess.
    let socket = UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(SocketAddrV4::new(server, PORT))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(&question)?;
    let mut answer = [0; LIMIT_BYTES];
    let count = socket.recv(&mut answer)?;
    Ok(dns::addresses(&question, &answer[..count]))
}

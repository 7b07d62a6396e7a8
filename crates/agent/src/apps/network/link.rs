//! Names and a namespace, to interfaces: pairs that join an app to the device, and interfaces that move (rtnetlink).
//!
//! Invariant: the device's end of app N is `app-N` with the first, the app's end `uplink` with the second address of the
//! N-th /30 of 198.18.0.0/15. That block is for benchmarks (RFC 2544), so it collides with no network that a device joins.

use super::netlink::message::{Message, ACK, CREATE, EXCLUSIVE, REQUEST};
use super::netlink::Socket;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const NAME: u16 = 3;
const INFO: u16 = 18;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const VETH_PEER: u16 = 1;
const NAMESPACE: u16 = 28;
/// `struct ifinfomsg` that says nothing.
const ANY: [u8; 16] = [0; 16];

/// The app's end, in its namespace: a name that no interface has which may be moved there.
pub const INNER: &str = "uplink";
pub const PREFIX: u8 = 30;
const BLOCK: u32 = u32::from_be_bytes([198, 18, 0, 0]);
/// Networks of /30 in the block.
pub const LIMIT_APPS: u32 = 1 << 15;

/// The device's end.
pub fn outer(index: u32) -> String {
    format!("app-{index}")
}

/// The device's address and the app's; none: there are no more.
pub fn addresses(index: u32) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let base = (index < LIMIT_APPS).then(|| BLOCK + index * 4)?;
    Some((Ipv4Addr::from(base + 1), Ipv4Addr::from(base + 2)))
}

/// Whether an address belongs to the apps' block.
pub fn is_an_apps(address: Ipv4Addr) -> bool {
    u32::from(address) & !0x1_ffff == BLOCK
}

/// Makes the pair of app `index`, its end already in the app's namespace, which never sees the other.
pub fn make(index: u32, namespace: BorrowedFd<'_>) -> io::Result<()> {
    pair(&outer(index), INNER, namespace)
}

pub fn pair(outer: &str, inner: &str, namespace: BorrowedFd<'_>) -> io::Result<()> {
    let mut socket = Socket::open(None)?;
    let sequence = socket.sequence();
    let mut message = Message::new(NEW_LINK, REQUEST | ACK | CREATE | EXCLUSIVE, sequence, &ANY);
    message.text(NAME, outer).nest(INFO, |info| {
        info.text(INFO_KIND, "veth").nest(INFO_DATA, |data| {
            data.nest_after(VETH_PEER, &ANY, |peer| {
                peer.text(NAME, inner).attribute(NAMESPACE, &namespace.as_raw_fd().to_ne_bytes());
            });
        });
    });
    socket.ask(&message.finish(), sequence)
}

/// Moves an interface of the device into an app's namespace.
pub fn give(name: &str, namespace: BorrowedFd<'_>) -> io::Result<()> {
    let mut socket = Socket::open(None)?;
    let sequence = socket.sequence();
    let mut message = Message::new(NEW_LINK, REQUEST | ACK, sequence, &ANY);
    message.text(NAME, name).attribute(NAMESPACE, &namespace.as_raw_fd().to_ne_bytes());
    socket.ask(&message.finish(), sequence)
}

/// Deletes the device's end, and the other with it.
pub fn delete(index: u32) -> io::Result<()> {
    let mut socket = Socket::open(None)?;
    let sequence = socket.sequence();
    let mut message = Message::new(DELETE_LINK, REQUEST | ACK, sequence, &ANY);
    message.text(NAME, &outer(index));
    socket.ask(&message.finish(), sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_stay_in_their_block() {
        let text = |index| addresses(index).map(|(host, app)| format!("{host} {app}"));
        assert_eq!(text(0).as_deref(), Some("198.18.0.1 198.18.0.2"));
        assert_eq!(text(LIMIT_APPS - 1).as_deref(), Some("198.19.255.253 198.19.255.254"));
        assert_eq!(text(LIMIT_APPS), None);
        for (text, inside) in
            [("198.18.0.1", true), ("198.19.255.254", true), ("198.17.9.9", false), ("198.20.0.1", false)]
        {
            assert_eq!(is_an_apps(text.parse().expect("an address")), inside, "{text}");
        }
    }
}

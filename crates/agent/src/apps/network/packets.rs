//! Packets that the rules denied, as the kernel tells them, to whose they were and where they went (nfnetlink_log).
//!
//! Source: Linux `include/uapi/linux/netfilter/nfnetlink_log.h`. Invariant: any bytes give a packet or none.

use super::netlink::answer::{attribute, messages};
use super::netlink::message::{Message, ACK, REQUEST};
use super::netlink::Socket;
use super::rules::TOLD_TO;
use rustix::net::netlink::NETFILTER;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};

/// NFNL_SUBSYS_ULOG.
const SUBSYSTEM: u16 = 4;
const CONFIGURE: u16 = 1;
const PACKET: u16 = 0;
const PAYLOAD: u16 = 9;
const PREFIX: u16 = 10;
const FIXED_BYTES: usize = 4;
const COPIED_BYTES: u32 = 64;

pub struct Packets(Socket);

/// One packet of an app that went nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    pub id: String,
    /// Such as `tcp 192.0.2.1:80`.
    pub what: String,
}

impl Packets {
    pub fn listen() -> io::Result<Packets> {
        let mut socket = Socket::open(Some(NETFILTER))?;
        let [high, low] = TOLD_TO.to_be_bytes();
        let mut configure = |attributes: &[(u16, &[u8])]| {
            let sequence = socket.sequence();
            let mut message = Message::new(SUBSYSTEM << 8 | CONFIGURE, REQUEST | ACK, sequence, &[0, 0, high, low]);
            for (kind, value) in attributes {
                message.attribute(*kind, value);
            }
            socket.ask(&message.finish(), sequence)
        };
        configure(&[(1, &[1])])?;
        let [a, b, c, d] = COPIED_BYTES.to_be_bytes();
        // The packet's first bytes, and each at once.
        configure(&[(2, &[a, b, c, d, 2, 0]), (5, &1_u32.to_be_bytes())])?;
        Ok(Packets(socket))
    }

    /// Those that have come since, in one turn.
    pub fn take(&self) -> Vec<Denied> {
        self.0.waiting().iter().flat_map(|bytes| parse(bytes)).collect()
    }
}

impl AsFd for Packets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// One datagram of the kernel.
pub fn parse(bytes: &[u8]) -> Vec<Denied> {
    let told = messages(bytes).filter(|message| message.kind == SUBSYSTEM << 8 | PACKET);
    told.filter_map(|message| {
        let attributes = message.body.get(FIXED_BYTES..)?;
        let id = std::str::from_utf8(attribute(attributes, PREFIX)?).ok()?.trim_end_matches('\0');
        Some(Denied { id: id.to_owned(), what: describe(attribute(attributes, PAYLOAD)?) })
    })
    .collect()
}

fn describe(packet: &[u8]) -> String {
    let Some((protocol, to, transport)) = address(packet) else { return "a packet that is cut short".to_owned() };
    let port = transport.get(2..4).map_or(0, |port| u16::from_be_bytes([port[0], port[1]]));
    match protocol {
        6 => format!("tcp {}", std::net::SocketAddr::new(to, port)),
        17 => format!("udp {}", std::net::SocketAddr::new(to, port)),
        1 | 58 => format!("icmp {to}"),
        other => format!("protocol {other} {to}"),
    }
}

/// Protocol, receiver and what follows the header.
fn address(packet: &[u8]) -> Option<(u8, IpAddr, &[u8])> {
    match packet.first()? >> 4 {
        4 => {
            let to: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
            let length = usize::from(packet[0] & 15) * 4;
            Some((*packet.get(9)?, Ipv4Addr::from(to).into(), packet.get(length..).unwrap_or_default()))
        }
        6 => {
            let to: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
            Some((*packet.get(6)?, Ipv6Addr::from(to).into(), packet.get(40..).unwrap_or_default()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn datagram(packet: &[u8]) -> Vec<u8> {
        let mut message = Message::new(SUBSYSTEM << 8 | PACKET, 0, 0, &[2, 0, 0, 1]);
        message.text(PREFIX, "meter").attribute(PAYLOAD, packet);
        message.finish()
    }

    #[test]
    fn a_packet_is_told_by_where_it_went() {
        let mut packet = vec![0; 24];
        packet[0] = 0x45;
        packet[9] = 6;
        packet[16..20].copy_from_slice(&[192, 0, 2, 1]);
        packet[22..24].copy_from_slice(&[0, 80]);
        let denied = |what: &str| vec![Denied { id: "meter".to_owned(), what: what.to_owned() }];
        assert_eq!(parse(&datagram(&packet)), denied("tcp 192.0.2.1:80"));
        packet[9] = 17;
        assert_eq!(parse(&datagram(&packet)), denied("udp 192.0.2.1:80"));
        packet[9] = 47;
        assert_eq!(parse(&datagram(&packet)), denied("protocol 47 192.0.2.1"));
        let mut packet = vec![0; 44];
        (packet[0], packet[6], packet[39], packet[43]) = (0x60, 6, 1, 80);
        assert_eq!(parse(&datagram(&packet)), denied("tcp [::1]:80"));
        assert_eq!(parse(&datagram(&[])), denied("a packet that is cut short"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), first: u8) {
            let _ = parse(&bytes);
            let mut packet = bytes;
            packet.insert(0, first);
            prop_assert_eq!(parse(&datagram(&packet)).len(), 1);
        }
    }
}

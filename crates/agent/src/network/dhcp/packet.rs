//! DHCP messages to and from bytes (RFC 2131 section 2, RFC 2132).
//!
//! Invariant: parsing reads at most the bytes given, keeps a bounded number of addresses, and never panics.

use std::net::Ipv4Addr;

/// Bytes before the options, the magic cookie included.
const FIXED_BYTES: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// RFC 2131 section 2: what every client and server must be able to take.
const MINIMUM_BYTES: usize = 300;
/// Of each kind of server in one answer.
const LIMIT_ADDRESSES: usize = 3;

const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const ETHERNET: u8 = 1;
const BROADCAST_FLAG: u8 = 0x80;

const PAD: u8 = 0;
const SUBNET_MASK: u8 = 1;
const ROUTER: u8 = 3;
const DNS: u8 = 6;
const HOST_NAME: u8 = 12;
const NTP: u8 = 42;
const REQUESTED_ADDRESS: u8 = 50;
const LEASE_TIME: u8 = 51;
const MESSAGE_TYPE: u8 = 53;
const SERVER: u8 = 54;
const PARAMETERS: u8 = 55;
const MAXIMUM_SIZE: u8 = 57;
const RENEWAL_TIME: u8 = 58;
const REBINDING_TIME: u8 = 59;
const END: u8 = 255;

pub type Mac = [u8; 6];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Discover = 1,
    Offer = 2,
    Request = 3,
    Acknowledge = 5,
    Refuse = 6,
}

/// A message of the client.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    pub kind: Kind,
    pub transaction: u32,
    pub mac: Mac,
    pub hostname: &'a str,
    /// The address in use, or 0.0.0.0.
    pub client: Ipv4Addr,
    /// Option 50.
    pub wanted: Option<Ipv4Addr>,
    /// Option 54.
    pub server: Option<Ipv4Addr>,
    /// Seconds since the client began.
    pub seconds: u16,
}

impl Question<'_> {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; FIXED_BYTES];
        bytes[..4].copy_from_slice(&[REQUEST, ETHERNET, 6, 0]);
        bytes[4..8].copy_from_slice(&self.transaction.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.seconds.to_be_bytes());
        // Without an address the answer can only reach us as a broadcast.
        bytes[10] = if self.client.is_unspecified() { BROADCAST_FLAG } else { 0 };
        bytes[12..16].copy_from_slice(&self.client.octets());
        bytes[28..34].copy_from_slice(&self.mac);
        bytes[236..240].copy_from_slice(&COOKIE);
        bytes.extend([MESSAGE_TYPE, 1, self.kind as u8]);
        for (option, address) in [(REQUESTED_ADDRESS, self.wanted), (SERVER, self.server)] {
            if let Some(address) = address {
                bytes.extend([option, 4]);
                bytes.extend(address.octets());
            }
        }
        let hostname = self.hostname.as_bytes();
        if let Some(length) = u8::try_from(hostname.len()).ok().filter(|l| (1..=63).contains(l)) {
            bytes.extend([HOST_NAME, length]);
            bytes.extend(hostname);
        }
        bytes.extend([MAXIMUM_SIZE, 2]);
        bytes.extend(1500u16.to_be_bytes());
        bytes.extend([PARAMETERS, 7, SUBNET_MASK, ROUTER, DNS, NTP, LEASE_TIME, RENEWAL_TIME, REBINDING_TIME]);
        bytes.push(END);
        bytes.resize(bytes.len().max(MINIMUM_BYTES), PAD);
        bytes
    }
}

/// A message of a server, as far as it concerns us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub kind: Kind,
    pub transaction: u32,
    pub mac: Mac,
    /// `yiaddr`.
    pub address: Ipv4Addr,
    pub server: Option<Ipv4Addr>,
    pub mask: Option<Ipv4Addr>,
    pub routers: Vec<Ipv4Addr>,
    pub dns: Vec<Ipv4Addr>,
    pub ntp: Vec<Ipv4Addr>,
    /// In seconds, like the next two.
    pub lease: Option<u32>,
    pub renewal: Option<u32>,
    pub rebinding: Option<u32>,
}

impl Answer {
    /// None: not an answer of a DHCP server to an Ethernet client.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (fixed, options) = bytes.split_at_checked(FIXED_BYTES)?;
        if fixed[..3] != [REPLY, ETHERNET, 6] || fixed[236..240] != COOKIE {
            return None;
        }
        let mut answer = Answer {
            kind: Kind::Refuse,
            transaction: u32::from_be_bytes(fixed[4..8].try_into().ok()?),
            mac: fixed[28..34].try_into().ok()?,
            address: address(&fixed[16..20])?,
            server: None,
            mask: None,
            routers: Vec::new(),
            dns: Vec::new(),
            ntp: Vec::new(),
            lease: None,
            renewal: None,
            rebinding: None,
        };
        let mut kind = None;
        for (option, value) in Options(options) {
            match option {
                MESSAGE_TYPE => kind = kind.or(kind_of(value)),
                SERVER => answer.server = answer.server.or(address(value)),
                SUBNET_MASK => answer.mask = answer.mask.or(address(value)),
                ROUTER => extend(&mut answer.routers, value),
                DNS => extend(&mut answer.dns, value),
                NTP => extend(&mut answer.ntp, value),
                LEASE_TIME => answer.lease = answer.lease.or(number(value)),
                RENEWAL_TIME => answer.renewal = answer.renewal.or(number(value)),
                REBINDING_TIME => answer.rebinding = answer.rebinding.or(number(value)),
                _ => {}
            }
        }
        answer.kind = kind?;
        Some(answer)
    }
}

/// Walks over options; ends at the end option, at the end of the bytes, or where an option is cut short.
struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&option, rest) = self.0.split_first()?;
            self.0 = rest;
            match option {
                PAD => {}
                END => self.0 = &[],
                _ => {
                    let (&length, rest) = rest.split_first()?;
                    let (value, rest) = rest.split_at_checked(usize::from(length))?;
                    self.0 = rest;
                    return Some((option, value));
                }
            }
        }
    }
}

fn kind_of(value: &[u8]) -> Option<Kind> {
    match value {
        [2] => Some(Kind::Offer),
        [5] => Some(Kind::Acknowledge),
        [6] => Some(Kind::Refuse),
        _ => None,
    }
}

fn address(value: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?))
}

fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.try_into().ok()?))
}

fn extend(addresses: &mut Vec<Ipv4Addr>, value: &[u8]) {
    let room = LIMIT_ADDRESSES.saturating_sub(addresses.len());
    addresses.extend(value.chunks_exact(4).filter_map(address).filter(usable).take(room));
}

/// Whether a host can have this address.
pub fn usable(address: &Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.octets()[0] >= 240)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a server would send.
    pub fn answer_bytes(answer: &Answer) -> Vec<u8> {
        let mut bytes = vec![0; FIXED_BYTES];
        bytes[..3].copy_from_slice(&[REPLY, ETHERNET, 6]);
        bytes[4..8].copy_from_slice(&answer.transaction.to_be_bytes());
        bytes[16..20].copy_from_slice(&answer.address.octets());
        bytes[28..34].copy_from_slice(&answer.mac);
        bytes[236..240].copy_from_slice(&COOKIE);
        bytes.extend([MESSAGE_TYPE, 1, answer.kind as u8, PAD]);
        let list = |addresses: &[Ipv4Addr]| addresses.iter().flat_map(Ipv4Addr::octets).collect::<Vec<u8>>();
        let options = [
            (SERVER, answer.server.map(|a| a.octets().to_vec()).unwrap_or_default()),
            (SUBNET_MASK, answer.mask.map(|a| a.octets().to_vec()).unwrap_or_default()),
            (ROUTER, list(&answer.routers)),
            (DNS, list(&answer.dns)),
            (NTP, list(&answer.ntp)),
            (LEASE_TIME, answer.lease.map(|n| n.to_be_bytes().to_vec()).unwrap_or_default()),
            (RENEWAL_TIME, answer.renewal.map(|n| n.to_be_bytes().to_vec()).unwrap_or_default()),
            (REBINDING_TIME, answer.rebinding.map(|n| n.to_be_bytes().to_vec()).unwrap_or_default()),
        ];
        for (option, value) in options.into_iter().filter(|(_, value)| !value.is_empty()) {
            bytes.extend([option, u8::try_from(value.len()).expect("short")]);
            bytes.extend(value);
        }
        bytes.push(END);
        bytes
    }

    pub fn example(kind: Kind) -> Answer {
        Answer {
            kind,
            transaction: 7,
            mac: [2, 0, 0, 0, 0, 1],
            address: Ipv4Addr::new(10, 0, 2, 15),
            server: Some(Ipv4Addr::new(10, 0, 2, 2)),
            mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
            routers: vec![Ipv4Addr::new(10, 0, 2, 2)],
            dns: vec![Ipv4Addr::new(10, 0, 2, 3)],
            ntp: Vec::new(),
            lease: Some(86400),
            renewal: None,
            rebinding: None,
        }
    }

    #[test]
    fn an_answer_survives_a_round_trip() {
        let answer = example(Kind::Offer);
        assert_eq!(Answer::parse(&answer_bytes(&answer)), Some(answer));
    }

    #[test]
    fn what_is_not_an_answer_is_none() {
        let good = answer_bytes(&example(Kind::Offer));
        for (at, value) in [(0, REQUEST), (1, 6), (2, 16), (236, 0), (242, 9)] {
            let mut bytes = good.clone();
            bytes[at] = value;
            assert_eq!(Answer::parse(&bytes), None, "byte {at}");
        }
        assert_eq!(Answer::parse(&good[..239]), None);
    }

    #[test]
    fn servers_are_bounded_and_unusable_ones_left_out() {
        let mut answer = example(Kind::Offer);
        answer.dns =
            [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 3, 3], [4, 4, 4, 4]]
                .map(Ipv4Addr::from)
                .to_vec();
        let parsed = Answer::parse(&answer_bytes(&answer)).expect("an answer");
        assert_eq!(parsed.dns, [[1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 3, 3]].map(Ipv4Addr::from));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..700), whole: bool) {
            if whole && bytes.len() >= FIXED_BYTES {
                let good = answer_bytes(&example(Kind::Offer));
                bytes[..FIXED_BYTES].copy_from_slice(&good[..FIXED_BYTES]);
            }
            if let Some(answer) = Answer::parse(&bytes) {
                prop_assert!(answer.routers.len() <= 3 && answer.dns.len() <= 3 && answer.ntp.len() <= 3);
            }
        }

        #[test]
        fn questions_have_the_size_that_all_servers_take(hostname in "[a-z]{0,70}", transaction: u32) {
            let question = Question {
                kind: Kind::Discover, transaction, mac: [2; 6], hostname: &hostname,
                client: Ipv4Addr::UNSPECIFIED, wanted: None, server: None, seconds: 0,
            };
            let bytes = question.to_bytes();
            prop_assert!((300..=576).contains(&bytes.len()));
            prop_assert_eq!(&bytes[4..8], &transaction.to_be_bytes());
        }
    }
}

//! A question, what an app may reach and what a name server said, to what the app hears and what opens for it.
//!
//! Invariant: pure. A name that the manifest does not have is never asked for, and no answer leads to this device, to
//! another app or to nobody, whoever gives it: DNS rebinding.

use super::super::is_reserved;
use super::super::rules::Target;
use super::question::{Question, TYPE_A};
use osbuild_format::app::{Capabilities, LOCAL_DOMAIN};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Less would have the app ask all the time, more keep open what is no longer the name's.
const SHORTEST: u32 = 10;
const LONGEST: u32 = 3600;
/// Between hearing of an address and connecting to it.
const GRACE: Duration = Duration::from_secs(15);
/// Another app's address is good until it goes.
const LOCAL_SECONDS: u32 = 10;

#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    Addresses(Vec<Ipv4Addr>, u32),
    /// The name is good, but has nothing of this type.
    Nothing,
    NoSuchName,
    Refused,
    /// The name servers know.
    Ask,
}

/// `app_address` gives the address of an app that is there.
pub fn decide(question: &Question, own: &Capabilities, app_address: impl FnOnce(&str) -> Option<Ipv4Addr>) -> Decision {
    let name = question.name.as_str();
    let app = name.rsplit_once('.').filter(|(_, domain)| *domain == LOCAL_DOMAIN).map(|(app, _)| app);
    let decision = match app {
        Some(app) if own.apps.iter().any(|wanted| wanted.app == app) => match app_address(app) {
            Some(address) => Decision::Addresses(vec![address], LOCAL_SECONDS),
            None => Decision::NoSuchName,
        },
        Some(_) => Decision::Refused,
        None if name == "localhost" => Decision::Addresses(vec![Ipv4Addr::LOCALHOST], LONGEST),
        None if own.connect.iter().any(|connection| connection.host == name) => Decision::Ask,
        None => Decision::Refused,
    };
    match decision {
        // Apps have IPv4 only.
        Decision::Addresses(..) | Decision::Ask if question.kind != TYPE_A => Decision::Nothing,
        decision => decision,
    }
}

/// What of an answer the app may know and reach.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    pub addresses: Vec<Ipv4Addr>,
    pub targets: Vec<Target>,
    /// Addresses that the app does not get to know.
    pub withheld: Vec<Ipv4Addr>,
}

/// `own_addresses` are those of this device.
pub fn admit(name: &str, found: &[Ipv4Addr], own: &Capabilities, own_addresses: &[Ipv4Addr]) -> Admitted {
    let mut admitted = Admitted::default();
    for address in found {
        let nowhere = is_reserved(*address) || own_addresses.contains(address);
        let connections = own.connect.iter().filter(|connection| connection.host == name);
        let usable = connections.filter(|connection| !nowhere && (connection.private || !is_private(*address)));
        let targets: Vec<Target> = usable
            .map(|connection| Target { address: *address, port: connection.port, protocol: connection.protocol })
            .collect();
        match targets.is_empty() {
            true => admitted.withheld.push(*address),
            false => admitted.addresses.push(*address),
        }
        admitted.targets.extend(targets);
    }
    admitted
}

/// Those of `targets` that are not open until then anyway: by another name of the same address, whose time is longer, or
/// because the manifest names the address itself. To open them again would close them too early.
pub fn to_open(
    targets: &[Target],
    own: &Capabilities,
    opened: &BTreeMap<Target, Duration>,
    until: Duration,
) -> Vec<Target> {
    let is_literal = |target: &Target| {
        own.connect.iter().any(|connection| {
            let same = (connection.port, connection.protocol) == (target.port, target.protocol);
            same && connection.host.parse() == Ok(target.address)
        })
    };
    let is_open = |target: &Target| opened.get(target).is_some_and(|open| *open >= until) || is_literal(target);
    targets.iter().filter(|target| !is_open(target)).copied().collect()
}

/// RFC 1918, and RFC 6598.
fn is_private(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    address.is_private() || (first == 100 && second & 0xc0 == 64)
}

/// For how long the app may believe it, in seconds, and for how long it is open.
pub fn lifetime(seconds: u32) -> (u32, Duration) {
    let seconds = seconds.clamp(SHORTEST, LONGEST);
    (seconds, Duration::from_secs(u64::from(seconds)) + GRACE)
}

#[cfg(test)]
mod tests {
    use super::super::question::parse;
    use super::*;
    use crate::network::dns;
    use osbuild_format::app::{AppConnection, Connection, Protocol};
    use proptest::prelude::*;

    fn own() -> Capabilities {
        let connection =
            |host: &str, port, private| Connection { host: host.to_owned(), port, protocol: Protocol::Tcp, private };
        Capabilities {
            connect: vec![
                connection("broker.example", 8883, false),
                connection("broker.example", 80, true),
                connection("time.example", 123, false),
                connection("192.0.2.1", 1, false),
            ],
            apps: vec![AppConnection { app: "broker".to_owned(), port: 1883, protocol: Protocol::Tcp }],
            ..Capabilities::default()
        }
    }

    fn decision(name: &str, kind: u8) -> Decision {
        let mut bytes = dns::question(1, name).expect("a name");
        let at = bytes.len() - 3;
        bytes[at] = kind;
        let there = |id: &str| (id == "broker").then_some(Ipv4Addr::new(198, 18, 0, 6));
        decide(&parse(&bytes).expect("a question"), &own(), there)
    }

    #[test]
    fn only_names_of_the_manifest_are_asked_for() {
        let broker = vec![Ipv4Addr::new(198, 18, 0, 6)];
        for (name, kind, wanted) in [
            ("broker.example", 1, Decision::Ask),
            ("BROKER.Example", 1, Decision::Ask),
            ("broker.example", 28, Decision::Nothing),
            ("x.broker.example", 1, Decision::Refused),
            ("broker.example.evil", 1, Decision::Refused),
            ("example", 1, Decision::Refused),
            ("192.0.2.1", 1, Decision::Ask),
            ("broker.app", 1, Decision::Addresses(broker, 10)),
            ("broker.app", 28, Decision::Nothing),
            ("other.app", 1, Decision::Refused),
            ("x.broker.app", 1, Decision::Refused),
            ("localhost", 1, Decision::Addresses(vec![Ipv4Addr::LOCALHOST], 3600)),
        ] {
            assert_eq!(decision(name, kind), wanted, "{name} {kind}");
        }
        let absent = parse(&dns::question(1, "broker.app").expect("a name")).expect("a question");
        assert_eq!(decide(&absent, &own(), |_| None), Decision::NoSuchName);
    }

    #[test]
    fn a_name_with_a_short_time_closes_nothing_that_is_open_longer() {
        let target = |last, port| Target { address: Ipv4Addr::new(192, 0, 2, last), port, protocol: Protocol::Tcp };
        let second = Duration::from_secs;
        let opened = BTreeMap::from([(target(7, 443), second(3600)), (target(8, 443), second(20))]);
        let targets = [target(7, 443), target(8, 443), target(9, 443), target(1, 1), target(1, 2)];
        // One is open longer, and the manifest names 192.0.2.1 with port 1.
        assert_eq!(
            to_open(&targets, &own(), &opened, second(35)),
            [target(8, 443), target(9, 443), target(1, 2)],
            "the rest stays as it is"
        );
    }

    #[test]
    fn no_answer_leads_where_no_name_may() {
        let device = [Ipv4Addr::new(203, 0, 113, 2)];
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.1.1",
            "198.18.0.1",
            "198.19.255.254",
            "203.0.113.2",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
        ] {
            let address: Ipv4Addr = text.parse().expect("an address");
            let admitted = admit("broker.example", &[address], &own(), &device);
            assert_eq!((admitted.targets.len(), admitted.withheld), (0, vec![address]), "{text}");
        }
    }

    #[test]
    fn private_addresses_open_where_the_manifest_says_so() {
        for text in ["10.1.2.3", "172.16.0.1", "172.31.255.254", "192.168.1.1", "100.64.0.1", "100.127.255.254"] {
            let address: Ipv4Addr = text.parse().expect("an address");
            let admitted = admit("broker.example", &[address], &own(), &[]);
            assert_eq!(admitted.targets, [Target { address, port: 80, protocol: Protocol::Tcp }], "{text}");
            assert_eq!(admit("time.example", &[address], &own(), &[]).withheld, [address], "{text}");
        }
        for text in ["172.32.0.1", "100.128.0.1", "192.0.2.7", "198.20.0.1", "198.17.0.1"] {
            let address: Ipv4Addr = text.parse().expect("an address");
            let admitted = admit("broker.example", &[address], &own(), &[]);
            assert_eq!(admitted.targets.iter().map(|target| target.port).collect::<Vec<_>>(), [8883, 80], "{text}");
        }
    }

    #[test]
    fn lifetimes_have_bounds() {
        for (said, wanted) in [(0, 10), (60, 60), (u32::MAX, 3600)] {
            assert_eq!(lifetime(said), (wanted, Duration::from_secs(u64::from(wanted) + 15)));
        }
    }

    proptest! {
        /// Whatever is told is open, and whatever opens was told and is the name's.
        #[test]
        fn what_is_told_is_what_opens(found: Vec<u32>, device: u32) {
            let found: Vec<Ipv4Addr> = found.into_iter().map(Ipv4Addr::from).collect();
            let admitted = admit("broker.example", &found, &own(), &[device.into()]);
            prop_assert_eq!(admitted.addresses.len() + admitted.withheld.len(), found.len());
            for target in &admitted.targets {
                prop_assert!(admitted.addresses.contains(&target.address) && [80, 8883].contains(&target.port));
                prop_assert!(!is_reserved(target.address) && u32::from(target.address) != device);
            }
            for address in &admitted.addresses {
                prop_assert!(admitted.targets.iter().any(|target| target.address == *address));
            }
        }
    }
}

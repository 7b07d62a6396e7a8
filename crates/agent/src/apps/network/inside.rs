//! The rules in the namespace of an app that has interfaces of its own: who may talk to it there, and to whom it may.
//!
//! What goes through `uplink` is the device's matter, see `rules`.
//! Invariant: the app cannot change them: it has no power over its namespace.

use super::link::INNER;
use super::nft::{Batch, Element, Expressions, Hook, Key, Kind, Place, Set, Verdict};
use super::nft::{ESTABLISHED, IPV4, POLICY_DROP, RELATED};
use super::rules::{element_key, transport, Target, LIMIT_OPEN, PORT, PROTOCOL};
use osbuild_format::app::{Capabilities, ListenFrom, Protocol};
use std::io;
use std::net::Ipv4Addr;

const TABLE: &str = "osbuild-inside";
const LOOPBACK: &str = "lo";

pub struct Rules {
    /// Open to whoever is on an interface of the app's own.
    listen: Vec<(Protocol, u16)>,
    connect: Vec<Target>,
}

impl Rules {
    pub fn of(capabilities: &Capabilities) -> Rules {
        let listen = capabilities.listen.iter().filter(|listen| listen.from == ListenFrom::Interface);
        let literal = |connection: &osbuild_format::app::Connection| {
            let address: Ipv4Addr = connection.host.parse().ok()?;
            Some(Target { address, port: connection.port, protocol: connection.protocol })
        };
        Rules {
            listen: listen.map(|listen| (listen.protocol, listen.port)).collect(),
            connect: capabilities.connect.iter().filter_map(literal).collect(),
        }
    }

    /// In the namespace of this thread.
    pub fn install(&self) -> io::Result<()> {
        let mut batch = Batch::new(TABLE);
        batch.fresh_table();
        let ports = PROTOCOL << 6 | PORT;
        let set = |name, key_type, key_bytes| Set { name, kind: Kind::Set, key_type, key_bytes, limit: LIMIT_OPEN };
        batch.set(&set("listen", ports, 8));
        batch.set(&set("connect", IPV4 << 12 | ports, 12));
        let elements = self.listen.iter().map(|(protocol, port)| Element::of(transport(*protocol, *port).to_vec()));
        batch.add("listen", &elements.collect::<Vec<_>>());
        batch.add("connect", &self.connect.iter().map(|target| Element::of(element_key(target))).collect::<Vec<_>>());
        let filter = |number| Hook { kind: "filter", number, priority: 0, policy: POLICY_DROP };
        let accept = &Verdict::Accept;
        for (chain, number, place) in [("input", 1, Place::From), ("output", 3, Place::To)] {
            batch.chain(chain, Some(&filter(number)));
            for interface in [LOOPBACK, INNER] {
                batch.rule(chain, |rule| rule.interface(place, true, interface).then(accept));
            }
            batch.rule(chain, |rule: &mut Expressions<'_>| rule.state(ESTABLISHED | RELATED).then(accept));
        }
        batch.chain("forward", Some(&filter(2)));
        batch.rule("input", |rule| rule.ipv4().is_in(Key::DestinationPort, "listen").then(accept));
        batch.rule("output", |rule| rule.ipv4().is_in(Key::Destination, "connect").then(accept));
        // An answer that goes to all, as DHCP's, belongs to no connection.
        batch.rule("output", |rule| rule.ipv4().is_in(Key::SourcePort, "listen").then(accept));
        batch.rule("output", |rule| rule.reject());
        batch.commit()
    }
}

//! What apps may send and receive, to the kernel's rules: one table, of which each app has a part.
//!
//! | packet | fate |
//! |---|---|
//! | from an app, to what its set `open-N` names | passes, in the name of the device when it leaves it |
//! | from an app, anything else, IPv6 and the device itself included | counted, told to group [`TOLD_TO`], rejected |
//! | from outside, to a port that is an app's for the network | passes to the app |
//! | from the device, to a port of an app that the agent looks after | passes |
//! | of a connection that has begun so | passes |
//! | anything else that would be forwarded, or sent to an app | dropped |
//!
//! Invariant: without a word about it nothing passes; each change is one batch, so there is no moment with half of it.

use super::link;
use super::nft::{Batch, Element, Expressions, Hook, Key, Kind, Place, Set, Value, Verdict};
use super::nft::{ESTABLISHED, INVALID, IPV4, NO_POLICY_DROP, POLICY_DROP, RELATED};
use osbuild_format::app::Protocol;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

const TABLE: &str = "osbuild-apps";
/// Group of nfnetlink_log that hears of denied packets.
pub const TOLD_TO: u16 = 1;
/// Interfaces of apps, on the device's side.
const APPS: &str = "app-*";
/// Of destinations that one app may have open at once.
pub const LIMIT_OPEN: u32 = 1024;
const LIMIT_APPS: u32 = 4096;
/// As nft(8) numbers types: protocol and port of the transport, an interface's name; a shift joins two.
pub const PROTOCOL: u32 = 12;
pub const PORT: u32 = 13;
const INTERFACE: u32 = 41;

/// Where a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    pub address: Ipv4Addr,
    pub port: u16,
    pub protocol: Protocol,
}

/// What the rules have to know of an app.
#[derive(Clone, Debug)]
pub struct AppRules {
    pub index: u32,
    pub id: String,
    pub address: Ipv4Addr,
    /// Open as long as the app is there.
    pub open: Vec<Target>,
    /// Ports of the device that are this app's.
    pub inbound: Vec<(Protocol, u16)>,
    /// TCP ports that the agent may try.
    pub probed: Vec<u16>,
}

/// The table without any app, in the place of one that may be there.
pub fn install() -> io::Result<()> {
    let mut batch = Batch::new(TABLE);
    batch.fresh_table();
    let three = IPV4 << 12 | PROTOCOL << 6 | PORT;
    batch.set(&map("from", Kind::Verdicts, INTERFACE, 16));
    batch.set(&map("denied", Kind::Verdicts, INTERFACE, 16));
    batch.set(&map("inbound", Kind::Addresses, PROTOCOL << 6 | PORT, 8));
    batch.set(&map("probed", Kind::Set, three, 12));
    let filter = |number, policy| Hook { kind: "filter", number, priority: 0, policy };
    batch.chain("input", Some(&filter(1, NO_POLICY_DROP)));
    batch.chain("forward", Some(&filter(2, POLICY_DROP)));
    batch.chain("output", Some(&filter(3, NO_POLICY_DROP)));
    batch.chain("arrive", Some(&Hook { kind: "nat", number: 0, priority: -100, policy: NO_POLICY_DROP }));
    batch.chain("leave", Some(&Hook { kind: "nat", number: 4, priority: 100, policy: NO_POLICY_DROP }));
    let drop = &Verdict::Drop;
    let known = |rule: &mut Expressions<'_>| rule.state(ESTABLISHED | RELATED).then(&Verdict::Accept);

    batch.rule("input", |rule| {
        rule.interface(Place::From, true, APPS).state(ESTABLISHED | RELATED).then(&Verdict::Accept);
    });
    batch.rule("input", |rule| {
        rule.consult(Key::FromInterface, "denied");
    });
    batch.rule("input", |rule| rule.interface(Place::From, true, APPS).then(drop));

    batch.rule("forward", |rule| rule.state(INVALID).then(drop));
    batch.rule("forward", known);
    batch.rule("forward", |rule| {
        rule.consult(Key::FromInterface, "from");
    });
    batch.rule("forward", |rule| {
        let rule = rule.interface(Place::From, false, APPS).interface(Place::To, true, APPS);
        rule.ipv4().redirected().then(&Verdict::Accept);
    });

    batch.rule("output", |rule| {
        rule.interface(Place::To, true, APPS).state(ESTABLISHED | RELATED).then(&Verdict::Accept);
    });
    batch.rule("output", |rule| {
        let rule = rule.interface(Place::To, true, APPS).ipv4();
        rule.is_in(Key::Destination, "probed").then(&Verdict::Accept);
    });
    batch.rule("output", |rule| rule.interface(Place::To, true, APPS).then(drop));

    batch.rule("arrive", |rule| {
        rule.interface(Place::From, false, APPS).ipv4().redirect("inbound");
    });
    batch.rule("leave", |rule| {
        rule.interface(Place::To, false, APPS).ipv4().sender_is_an_app().masquerade();
    });
    batch.commit()
}

fn map(name: &str, kind: Kind, key_type: u32, key_bytes: u32) -> Set<'_> {
    Set { name, kind, key_type, key_bytes, limit: LIMIT_APPS }
}

impl AppRules {
    fn own(&self) -> String {
        format!("app-{}", self.index)
    }

    fn deny(&self) -> String {
        format!("deny-{}", self.index)
    }

    /// The elements that lead to the app's part, by set.
    fn doors(&self) -> [(&'static str, Vec<Element>); 4] {
        let interface = || super::nft::interface_key(&link::outer(self.index)).to_vec();
        let verdict = |verdict| vec![Element { value: Some(Value::Verdict(verdict)), ..Element::of(interface()) }];
        let address = || Some(Value::Bytes(self.address.octets().to_vec()));
        let port = |(protocol, port): &(Protocol, u16)| Element {
            value: address(),
            ..Element::of(transport(*protocol, *port).to_vec())
        };
        let probed = |port: &u16| {
            Element::of(element_key(&Target { address: self.address, port: *port, protocol: Protocol::Tcp }))
        };
        [
            ("from", verdict(Verdict::Jump(self.own()))),
            ("denied", verdict(Verdict::Goto(self.deny()))),
            ("inbound", self.inbound.iter().map(port).collect()),
            ("probed", self.probed.iter().map(probed).collect()),
        ]
    }
}

/// `others` opens the app to apps that were there before: their index, and what they may reach of it.
pub fn add(app: &AppRules, others: &[(u32, Vec<Target>)]) -> io::Result<()> {
    let mut batch = Batch::new(TABLE);
    let (own, deny, open) = (app.own(), app.deny(), open_set(app.index));
    let key_type = IPV4 << 12 | PROTOCOL << 6 | PORT;
    batch.set(&Set { name: &open, kind: Kind::Set, key_type, key_bytes: 12, limit: LIMIT_OPEN });
    batch.add(&open, &elements(&app.open, None));
    batch.chain(&deny, None);
    batch.chain(&own, None);
    batch.rule(&deny, |rule| {
        rule.tell(TOLD_TO, &app.id);
    });
    batch.rule(&deny, |rule| rule.reject());
    // Nobody answers for another, and IPv6 is nobody's.
    batch.rule(&own, |rule| {
        let rule = rule.ipv4().sender(true, app.address);
        rule.is_in(Key::Destination, &open).then(&Verdict::Accept);
    });
    batch.rule(&own, |rule| rule.then(&Verdict::Goto(deny.clone())));
    for (set, elements) in app.doors() {
        batch.add(set, &elements);
    }
    for (index, targets) in others {
        batch.add(&open_set(*index), &elements(targets, None));
    }
    batch.commit()
}

/// The way back of [`add`].
pub fn remove(app: &AppRules, others: &[(u32, Vec<Target>)]) -> io::Result<()> {
    let mut batch = Batch::new(TABLE);
    for (index, targets) in others {
        batch.take(&open_set(*index), &elements(targets, None));
    }
    for (set, elements) in app.doors() {
        batch.take(set, &elements);
    }
    batch.delete_chain(&app.own());
    batch.delete_chain(&app.deny());
    batch.delete_set(&open_set(app.index));
    batch.commit()
}

/// Opens `targets` to the app of `index` from now on for `time`, however long they were open before.
pub fn open(index: u32, targets: &[Target], time: Duration) -> io::Result<()> {
    let mut batch = Batch::new(TABLE);
    let set = open_set(index);
    batch.take(&set, &elements(targets, None));
    batch.add(&set, &elements(targets, Some(time)));
    batch.commit()
}

fn open_set(index: u32) -> String {
    format!("open-{index}")
}

fn elements(targets: &[Target], timeout: Option<Duration>) -> Vec<Element> {
    targets.iter().map(|target| Element { timeout, ..Element::of(element_key(target)) }).collect()
}

pub fn element_key(target: &Target) -> Vec<u8> {
    let mut key = target.address.octets().to_vec();
    key.extend(transport(target.protocol, target.port));
    key
}

/// Each part fills registers of four bytes.
pub fn transport(protocol: Protocol, port: u16) -> [u8; 8] {
    let number = match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    };
    let [high, low] = port.to_be_bytes();
    [number, 0, 0, 0, high, low, 0, 0]
}

//! Conditions and verdicts, to the expressions that a rule consists of.
//!
//! Invariant: a value is compared only after it was loaded into the register that is compared; registers are of four
//! bytes each, and longer values take as many as they need.

use super::super::netlink::message::Message;
use std::net::Ipv4Addr;

pub const INVALID: u32 = 1;
pub const ESTABLISHED: u32 = 2;
pub const RELATED: u32 = 4;
/// Bit of a connection's status: its destination was changed.
const DESTINATION_CHANGED: u32 = 32;

/// NFT_REG32_00.
const FIRST_REGISTER: u32 = 8;
const VERDICT_REGISTER: u32 = 0;
const IPV4_ONLY: u8 = 2;
/// Addresses of all apps, as in `link`.
const BLOCK: [u8; 4] = [198, 18, 0, 0];
const BLOCK_MASK: [u8; 4] = [255, 254, 0, 0];
const LIMIT_LOGGED_BYTES: u32 = 64;
const LOGGED_PER_SECOND: u64 = 10;

#[derive(Clone, Debug)]
pub enum Verdict {
    Accept,
    Drop,
    Jump(String),
    Goto(String),
}

/// An interface of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    From,
    To,
}

/// What a set is asked for.
#[derive(Clone, Copy)]
pub enum Key {
    /// 16 bytes.
    FromInterface,
    /// Address, protocol, port: 12 bytes.
    Destination,
    /// Protocol, port: 8 bytes.
    DestinationPort,
    /// The same of the sender.
    SourcePort,
}

pub struct Expressions<'a>(&'a mut Message);

impl<'a> Expressions<'a> {
    pub fn new(list: &'a mut Message) -> Self {
        Expressions(list)
    }

    fn push(&mut self, name: &str, fill: impl FnOnce(&mut Message)) -> &mut Self {
        self.0.nest(1, |one| {
            one.text(1, name).nest(2, fill);
        });
        self
    }

    fn meta(&mut self, key: u32, register: u32) -> &mut Self {
        self.push("meta", |m| {
            m.attribute(2, &key.to_be_bytes()).attribute(1, &register.to_be_bytes());
        })
    }

    fn payload(&mut self, base: u32, offset: u32, length: u32, register: u32) -> &mut Self {
        self.push("payload", |m| {
            m.attribute(1, &register.to_be_bytes()).attribute(2, &base.to_be_bytes());
            m.attribute(3, &offset.to_be_bytes()).attribute(4, &length.to_be_bytes());
        })
    }

    fn compare(&mut self, equal: bool, value: &[u8]) -> &mut Self {
        let operation: u32 = if equal { 0 } else { 1 };
        self.push("cmp", |m| {
            m.attribute(1, &FIRST_REGISTER.to_be_bytes()).attribute(2, &operation.to_be_bytes());
            m.nest(3, |data| {
                data.attribute(1, value);
            });
        })
    }

    fn mask(&mut self, mask: [u8; 4]) -> &mut Self {
        let register = FIRST_REGISTER.to_be_bytes();
        self.push("bitwise", |m| {
            m.attribute(1, &register).attribute(2, &register).attribute(3, &4_u32.to_be_bytes());
            m.nest(4, |data| {
                data.attribute(1, &mask);
            })
            .nest(5, |data| {
                data.attribute(1, &[0; 4]);
            });
        })
    }

    fn connection(&mut self, key: u32, bits: u32) -> &mut Self {
        self.push("ct", |m| {
            m.attribute(2, &key.to_be_bytes()).attribute(1, &FIRST_REGISTER.to_be_bytes());
        });
        self.mask(bits.to_ne_bytes()).compare(false, &[0; 4])
    }

    /// The connection that the packet belongs to is in one of these states.
    pub fn state(&mut self, states: u32) -> &mut Self {
        self.connection(0, states)
    }

    /// It goes elsewhere than it was sent to, by a rule of ours.
    pub fn redirected(&mut self) -> &mut Self {
        self.connection(2, DESTINATION_CHANGED)
    }

    pub fn ipv4(&mut self) -> &mut Self {
        self.meta(15, FIRST_REGISTER).compare(true, &[IPV4_ONLY])
    }

    /// The interface's name is `name`, or begins with it when it ends in `*`.
    pub fn interface(&mut self, place: Place, equal: bool, name: &str) -> &mut Self {
        self.meta(if place == Place::From { 6 } else { 7 }, FIRST_REGISTER);
        match name.strip_suffix('*') {
            Some(start) => self.compare(equal, start.as_bytes()),
            None => self.compare(equal, &interface_key(name)),
        }
    }

    /// After [`Expressions::ipv4`].
    pub fn sender(&mut self, equal: bool, address: Ipv4Addr) -> &mut Self {
        self.payload(1, 12, 4, FIRST_REGISTER).compare(equal, &address.octets())
    }

    /// After [`Expressions::ipv4`].
    pub fn sender_is_an_app(&mut self) -> &mut Self {
        self.payload(1, 12, 4, FIRST_REGISTER).mask(BLOCK_MASK).compare(true, &BLOCK)
    }

    fn load(&mut self, key: Key) -> &mut Self {
        let (protocol, port) = (FIRST_REGISTER, FIRST_REGISTER + 1);
        match key {
            Key::FromInterface => self.meta(6, FIRST_REGISTER),
            Key::Destination => {
                self.payload(1, 16, 4, FIRST_REGISTER).meta(16, FIRST_REGISTER + 1).payload(2, 2, 2, FIRST_REGISTER + 2)
            }
            Key::DestinationPort => self.meta(16, protocol).payload(2, 2, 2, port),
            Key::SourcePort => self.meta(16, protocol).payload(2, 0, 2, port),
        }
    }

    /// `key` is in the set. With [`Key::Destination`] after [`Expressions::ipv4`].
    pub fn is_in(&mut self, key: Key, set: &str) -> &mut Self {
        self.load(key).push("lookup", |m| {
            m.text(1, set).attribute(2, &FIRST_REGISTER.to_be_bytes());
        })
    }

    /// Does what the map says of `key`, if it says anything.
    pub fn consult(&mut self, key: Key, map: &str) -> &mut Self {
        self.load(key).look_up(map, VERDICT_REGISTER)
    }

    fn look_up(&mut self, map: &str, into: u32) -> &mut Self {
        self.push("lookup", |m| {
            m.text(1, map).attribute(2, &FIRST_REGISTER.to_be_bytes()).attribute(3, &into.to_be_bytes());
        })
    }

    /// Sends it to the address that the map has for protocol and port, if it has one.
    pub fn redirect(&mut self, map: &str) -> &mut Self {
        self.load(Key::DestinationPort).look_up(map, FIRST_REGISTER).push("nat", |m| {
            m.attribute(1, &1_u32.to_be_bytes()).attribute(2, &u32::from(IPV4_ONLY).to_be_bytes());
            m.attribute(3, &FIRST_REGISTER.to_be_bytes()).attribute(4, &FIRST_REGISTER.to_be_bytes());
        })
    }

    /// Sends it in the name of the device.
    pub fn masquerade(&mut self) -> &mut Self {
        self.push("masq", |_| ())
    }

    /// Tells whoever listens to `group`, not too often.
    pub fn tell(&mut self, group: u16, text: &str) -> &mut Self {
        self.push("limit", |m| {
            m.attribute(1, &LOGGED_PER_SECOND.to_be_bytes()).attribute(2, &1_u64.to_be_bytes());
            m.attribute(3, &20_u32.to_be_bytes()).attribute(4, &0_u32.to_be_bytes());
        });
        self.push("log", |m| {
            m.attribute(1, &group.to_be_bytes()).text(2, text);
            m.attribute(3, &LIMIT_LOGGED_BYTES.to_be_bytes()).attribute(4, &1_u16.to_be_bytes());
        })
    }

    /// Tells the sender that an administrator forbids it.
    pub fn reject(&mut self) {
        self.push("reject", |m| {
            m.attribute(1, &2_u32.to_be_bytes()).attribute(2, &[3]);
        });
    }

    pub fn then(&mut self, verdict: &Verdict) {
        self.push("immediate", |m| {
            m.attribute(1, &VERDICT_REGISTER.to_be_bytes()).nest(2, |data| verdict_data(data, verdict));
        });
    }
}

/// An interface's name as the kernel compares it.
pub fn interface_key(name: &str) -> [u8; 16] {
    let mut key = [0; 16];
    for (to, from) in key.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    key
}

pub fn verdict_data(message: &mut Message, verdict: &Verdict) {
    let (code, chain): (i32, Option<&str>) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Accept => (1, None),
        Verdict::Jump(chain) => (-3, Some(chain)),
        Verdict::Goto(chain) => (-4, Some(chain)),
    };
    message.nest(2, |inner| {
        inner.attribute(1, &code.to_be_bytes());
        if let Some(chain) = chain {
            inner.text(2, chain);
        }
    });
}

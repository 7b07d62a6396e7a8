//! Tables, chains, sets and rules, to one batch of messages that the kernel takes as a whole.
//!
//! Invariant: everything is in the one table that the batch is for; nobody else's rules are touched.

use super::super::netlink::message::{Message, ACK, CREATE, REQUEST};
use super::super::netlink::Socket;
use super::expression::{verdict_data, Expressions, Verdict};
use rustix::net::netlink::NETFILTER;
use std::io;
use std::time::Duration;

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// NFNL_SUBSYS_NFTABLES.
const SUBSYSTEM: u16 = 10;
const FAMILY_INET: u8 = 1;
const APPEND: u16 = 0x800;

const NEW_TABLE: u16 = 0;
const NEW_CHAIN: u16 = 3;
const DELETE_CHAIN: u16 = 5;
const NEW_RULE: u16 = 6;
const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const DELETE_SET: u16 = 11;
const NEW_ELEMENTS: u16 = 12;
const DESTROY_TABLE: u16 = 26;
const DESTROY_ELEMENTS: u16 = 30;

const SET_MAP: u32 = 8;
const SET_TIMEOUT: u32 = 16;
const DATA_VERDICT: u32 = 0xffff_ff00;
/// The number by which nft(8) knows an IPv4 address.
pub const IPV4: u32 = 7;
pub const POLICY_DROP: u32 = 0;
pub const NO_POLICY_DROP: u32 = 1;

/// Where in the kernel's way of a packet a chain begins.
pub struct Hook {
    /// `filter` or `nat`.
    pub kind: &'static str,
    /// Of `linux/netfilter.h`: 0 prerouting, 1 input, 2 forward, 3 output, 4 postrouting.
    pub number: u32,
    pub priority: i32,
    pub policy: u32,
}

pub enum Kind {
    /// Keys, some of which may have an end.
    Set,
    /// Keys to what is done with the packet.
    Verdicts,
    /// Keys to IPv4 addresses.
    Addresses,
}

pub struct Set<'a> {
    pub name: &'a str,
    pub kind: Kind,
    /// As nft(8) numbers types, so that it can show them; the kernel takes any.
    pub key_type: u32,
    pub key_bytes: u32,
    pub limit: u32,
}

pub struct Element {
    pub key: Vec<u8>,
    pub value: Option<Value>,
    /// None: it stays.
    pub timeout: Option<Duration>,
}

pub enum Value {
    Verdict(Verdict),
    Bytes(Vec<u8>),
}

pub struct Batch {
    table: &'static str,
    messages: Vec<Message>,
}

impl Batch {
    pub fn new(table: &'static str) -> Self {
        Batch { table, messages: Vec::new() }
    }

    /// Makes the table, empty, in the place of one that may be there.
    pub fn fresh_table(&mut self) {
        self.push(DESTROY_TABLE, 0, |_| ());
        self.push(NEW_TABLE, CREATE, |_| ());
    }

    /// A chain without a hook is one to jump to.
    pub fn chain(&mut self, name: &str, hook: Option<&Hook>) {
        self.push(NEW_CHAIN, CREATE, |message| {
            message.text(3, name);
            let Some(hook) = hook else { return };
            message.nest(4, |place| {
                place.attribute(1, &hook.number.to_be_bytes()).attribute(2, &hook.priority.to_be_bytes());
            });
            message.attribute(5, &hook.policy.to_be_bytes()).text(7, hook.kind);
        });
    }

    /// With its rules.
    pub fn delete_chain(&mut self, name: &str) {
        self.push(DELETE_RULE, 0, |message| {
            message.text(2, name);
        });
        self.push(DELETE_CHAIN, 0, |message| {
            message.text(3, name);
        });
    }

    pub fn rule(&mut self, chain: &str, fill: impl FnOnce(&mut Expressions<'_>)) {
        self.push(NEW_RULE, CREATE | APPEND, |message| {
            message.text(2, chain).nest(4, |list| fill(&mut Expressions::new(list)));
        });
    }

    pub fn set(&mut self, set: &Set<'_>) {
        // Any number that no other set of the batch has.
        let id = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        self.push(NEW_SET, CREATE, |message| {
            let flags = if matches!(set.kind, Kind::Set) { SET_TIMEOUT } else { SET_MAP };
            message.text(2, set.name).attribute(3, &flags.to_be_bytes());
            message.attribute(4, &set.key_type.to_be_bytes()).attribute(5, &set.key_bytes.to_be_bytes());
            match set.kind {
                Kind::Set => {}
                Kind::Verdicts => {
                    message.attribute(6, &DATA_VERDICT.to_be_bytes());
                }
                Kind::Addresses => {
                    message.attribute(6, &IPV4.to_be_bytes()).attribute(7, &4_u32.to_be_bytes());
                }
            }
            message.nest(9, |facts| {
                facts.attribute(1, &set.limit.to_be_bytes());
            });
            message.attribute(10, &id.to_be_bytes());
        });
    }

    pub fn delete_set(&mut self, name: &str) {
        self.push(DELETE_SET, 0, |message| {
            message.text(2, name);
        });
    }

    pub fn add(&mut self, set: &str, elements: &[Element]) {
        self.elements(NEW_ELEMENTS, CREATE, set, elements);
    }

    /// Those that are there.
    pub fn take(&mut self, set: &str, elements: &[Element]) {
        self.elements(DESTROY_ELEMENTS, 0, set, elements);
    }

    fn elements(&mut self, kind: u16, flags: u16, set: &str, elements: &[Element]) {
        // One to a message, so that no length outgrows its field.
        for element in elements {
            self.push(kind, flags, |message| {
                message.text(2, set).nest(3, |list| {
                    list.nest(1, |one| element.write(one));
                });
            });
        }
    }

    fn push(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Message)) {
        let number = u32::try_from(self.messages.len()).unwrap_or(u32::MAX).saturating_add(FIRST + 1);
        let mut message = Message::new(SUBSYSTEM << 8 | kind, REQUEST | flags, number, &[FAMILY_INET, 0, 0, 0]);
        // In messages about any of these the table's name is the first attribute.
        message.text(1, self.table);
        fill(&mut message);
        self.messages.push(message);
    }

    /// Has the kernel of this thread's network namespace do it.
    pub fn commit(mut self) -> io::Result<()> {
        let Some(message) = self.messages.last_mut() else { return Ok(()) };
        message.add_flags(ACK);
        let last = u32::try_from(self.messages.len()).unwrap_or(u32::MAX - FIRST - 1) + FIRST;
        let mut bytes = frame(BATCH_BEGIN, FIRST);
        for message in self.messages {
            bytes.extend(message.finish());
        }
        bytes.extend(frame(BATCH_END, last + 1));
        Socket::open(Some(NETFILTER))?.ask_all(&bytes, FIRST, last)
    }
}

/// Sequence number of what begins a batch.
const FIRST: u32 = 1;

fn frame(kind: u16, sequence: u32) -> Vec<u8> {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    Message::new(kind, REQUEST, sequence, &[0, 0, high, low]).finish()
}

impl Element {
    pub fn of(key: Vec<u8>) -> Self {
        Element { key, value: None, timeout: None }
    }

    fn write(&self, message: &mut Message) {
        message.nest(1, |key| {
            key.attribute(1, &self.key);
        });
        match &self.value {
            None => {}
            Some(Value::Bytes(bytes)) => {
                message.nest(2, |value| {
                    value.attribute(1, bytes);
                });
            }
            Some(Value::Verdict(verdict)) => {
                message.nest(2, |value| verdict_data(value, verdict));
            }
        }
        if let Some(timeout) = self.timeout {
            let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            message.attribute(4, &milliseconds.to_be_bytes());
        }
    }
}

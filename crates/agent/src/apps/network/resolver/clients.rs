//! The apps that ask, what each may know, and what each already knows.
//!
//! Invariant: what an app may ask and reach belongs to one stay of it; nothing opens for one that came after.

use super::super::denials::Denials;
use super::super::rules::{self, Target};
use super::decision::{admit, decide, lifetime, to_open, Decision};
use super::question::{self, Code, Question};
use crate::network::dns::Answer;
use osbuild_format::app::Capabilities;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// RCODE 3.
const NO_SUCH_NAME: u8 = 3;
const NOT_NAMED: &str = "its manifest does not name it";
const REBINDING: &str =
    "the name leads to this device, to an app, or to a private network that its manifest does not allow";
const FULL: &str = "the addresses of the name cannot be opened, or too many are";

pub struct Client {
    pub index: u32,
    pub address: Ipv4Addr,
    pub socket: Arc<UdpSocket>,
    pub capabilities: Capabilities,
    /// Tells it from one of the same id before or after it.
    pub stay: u64,
    /// Not listened to until then: it asks too much.
    pub rests_until: Duration,
    /// As many as its manifest has names.
    pub known: BTreeMap<String, Known>,
    /// What names have opened, and until when.
    pub opened: BTreeMap<Target, Duration>,
}

pub struct Known {
    addresses: Vec<Ipv4Addr>,
    until: Duration,
}

/// What follows from a question.
pub enum Step {
    Reply(Vec<u8>),
    /// The name servers have to be asked.
    Ask(Question),
    Nothing,
}

#[derive(Default)]
pub struct Clients {
    pub by_id: BTreeMap<String, Client>,
    pub stays: u64,
}

impl Clients {
    pub fn question(&self, id: &str, bytes: &[u8], denials: &Denials, now: Duration) -> Step {
        let Some((client, question)) = self.by_id.get(id).zip(question::parse(bytes)) else { return Step::Nothing };
        let there = |other: &str| self.by_id.get(other).map(|other| other.address);
        let reply = |code| Step::Reply(question.answer(code, &[], 0));
        match decide(&question, &client.capabilities, there) {
            Decision::Addresses(addresses, seconds) => Step::Reply(question.answer(Code::Good, &addresses, seconds)),
            Decision::Nothing => reply(Code::Good),
            Decision::NoSuchName => reply(Code::NoSuchName),
            Decision::Refused => {
                denials.note(id, &format!("name {}", question.name), NOT_NAMED);
                reply(Code::Refused)
            }
            Decision::Ask => match client.known.get(&question.name).filter(|known| known.until > now) {
                Some(known) => {
                    let left = u32::try_from((known.until - now).as_secs()).unwrap_or(0).max(1);
                    Step::Reply(question.answer(Code::Good, &known.addresses, left))
                }
                None => Step::Ask(question),
            },
        }
    }

    /// Opens what the name servers said, as far as the app may reach it, and gives what the app hears.
    pub fn answer(
        &mut self,
        id: &str,
        question: &Question,
        answer: &Answer,
        own_addresses: &[Ipv4Addr],
        denials: &Denials,
        now: Duration,
    ) -> Vec<u8> {
        let reply = |code| question.answer(code, &[], 0);
        let Some(client) = self.by_id.get_mut(id) else { return reply(Code::Failed) };
        match answer.code {
            0 => {}
            NO_SUCH_NAME => return reply(Code::NoSuchName),
            _ => return reply(Code::Failed),
        }
        let admitted = admit(&question.name, &answer.addresses, &client.capabilities, own_addresses);
        for address in &admitted.withheld {
            denials.note(id, &format!("name {} at {address}", question.name), REBINDING);
        }
        if admitted.addresses.is_empty() {
            return reply(if admitted.withheld.is_empty() { Code::Good } else { Code::Refused });
        }
        let (seconds, time) = lifetime(answer.seconds);
        client.opened.retain(|_, until| *until > now);
        let targets = to_open(&admitted.targets, &client.capabilities, &client.opened, now + time);
        if !targets.is_empty() {
            if let Err(error) = rules::open(client.index, &targets, time) {
                denials.note(id, &format!("name {}: {error}", question.name), FULL);
                return reply(Code::Failed);
            }
            client.opened.extend(targets.iter().map(|target| (*target, now + time)));
        }
        let reply = question.answer(Code::Good, &admitted.addresses, seconds);
        let until = now + Duration::from_secs(u64::from(seconds));
        client.known.insert(question.name.clone(), Known { addresses: admitted.addresses, until });
        reply
    }
}

//! What a device remembers of updates, to and from two records.
//!
//! A record is a block: magic, sequence number, length and SHA-256 of what follows, then JSON. They are written in turn, so one
//! of them is always whole. What a record has beyond what is known here is ignored: a newer release may have written it in its
//! trial, and the older one that returns must still find what was denied. Invariant: [`Journal::save`] that has come back lasts; one that has not leaves the state before or
//! after it.

use crate::device::{Area, Storage};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io;

use osbuild_format::command_line::Slot;

/// Of a record; the area has two.
pub const RECORD_BYTES: usize = 4096;
const MAGIC: &[u8; 8] = b"OSBUSTA1";
/// Magic, sequence number, length, digest.
const HEAD_BYTES: usize = 8 + 8 + 4 + 32;
/// Payloads that failed here; the oldest is forgotten first.
pub const LIMIT_DENIED: usize = 16;
/// Why an attempt failed whose delta does not fit what runs: [`Failure::why`].
pub const SOURCE_DAMAGED: &str = "source-damaged";
/// Of the reason of an outcome and of a failure, in bytes.
const LIMIT_REASON: usize = 256;
const LIMIT_FAILURE: usize = 512;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    #[serde(default)]
    pub phase: Phase,
    /// Names of releases that were tried and failed, the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<String>,
    /// Where the device belongs, for firmware that forgets it; none: there was no update yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<Home>,
    /// How the last update ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Outcome>,
    /// Why the last attempt to install did not come to an end; none once one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The newest release that the repository has for this device, while it is not installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered: Option<Offered>,
    /// When the repository was last asked, in seconds since 1970; 0: never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub checked_seconds: u64,
    /// Until when services or people have put updates off, in seconds since 1970; 0: they have not.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deferred_until_seconds: u64,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing is under way.
    #[default]
    Idle,
    /// A payload is being written to the slot that does not run.
    Installing {
        candidate: Candidate,
        #[serde(with = "letter")]
        slot: Slot,
        /// SHA-256 of the payload's header.
        header: String,
        /// Segments that are written and flushed.
        done: u32,
    },
    /// A slot has to show that it is healthy.
    Trial {
        candidate: Candidate,
        #[serde(with = "letter")]
        slot: Slot,
        /// Starts that it may still have, after the one that is armed or under way.
        boots_left: u32,
    },
    /// The slot is healthy; the firmware and the epoch may not know yet.
    Committing {
        candidate: Candidate,
        #[serde(with = "letter")]
        slot: Slot,
    },
}

/// The slot that was committed last, or that runs while the other one is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Home {
    #[serde(with = "letter")]
    pub slot: Slot,
    /// The firmware had forgotten and was told so once, which is as often as a device restarts for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told: bool,
}

impl Home {
    pub fn of(slot: Slot) -> Option<Home> {
        Some(Home { slot, told: false })
    }
}

/// The release that an update leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// SHA-256 of its ESP, which names it.
    pub name: String,
    pub version: String,
    pub epoch: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub candidate: Candidate,
    pub committed: bool,
    /// For people; empty when there is nothing to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub version: String,
    /// For programs.
    pub why: String,
    /// For people.
    pub reason: String,
}

/// Since when a release has been waiting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    pub version: String,
    /// Since 1970.
    pub since_seconds: u64,
}

impl Failure {
    /// The reason is the error with all that caused it.
    pub fn new(version: String, why: &str, error: &dyn std::error::Error) -> Failure {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        Failure { version, why: why.to_owned(), reason: short(&text, LIMIT_FAILURE) }
    }
}

/// At most `limit` bytes of it, fit for one line. A record has to hold it whatever it says.
fn short(text: &str, limit: usize) -> String {
    let mut short: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    while short.len() > limit {
        short.pop();
    }
    short
}

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("the state of updates cannot be read or written")]
    Storage(#[from] io::Error),
    #[error("the state of updates has {0} bytes, more than a record holds")]
    TooLong(usize),
    /// No device writes so often: somebody else wrote the record.
    #[error("the state of updates has the last number that a record can have: remove its file")]
    Last,
}

impl State {
    pub fn denies(&self, name: &str) -> bool {
        self.denied.iter().any(|denied| denied == name)
    }

    /// Whether the last attempt at this version found that what runs is not what the delta starts from.
    pub fn source_is_damaged(&self, version: &str) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.version == version && failure.why == SOURCE_DAMAGED)
    }

    /// Whether the payload of this header is being installed.
    pub fn installs(&self, digest: &str) -> bool {
        matches!(&self.phase, Phase::Installing { header, .. } if header == digest)
    }

    /// Not again, for the reason that becomes that of the last outcome.
    pub fn deny(&mut self, candidate: Candidate, reason: &str) {
        self.denied.retain(|denied| *denied != candidate.name);
        self.denied.push(candidate.name.clone());
        let forgotten = self.denied.len().saturating_sub(LIMIT_DENIED);
        self.denied.drain(..forgotten);
        self.end(candidate, false, reason);
    }

    /// Idle again.
    pub fn end(&mut self, candidate: Candidate, committed: bool, reason: &str) {
        self.phase = Phase::Idle;
        let reason = short(reason, LIMIT_REASON);
        self.offered = self.offered.take().filter(|offered| offered.version != candidate.version);
        self.last = Some(Outcome { candidate, committed, reason });
    }

    /// The repository has answered at `now_seconds`; `version`: the release that may be installed. A newer one than that which
    /// waits does not begin the wait anew, so that nobody is put off for ever by releases that follow each other.
    pub fn checked(&mut self, now_seconds: u64, version: Option<&str>) {
        self.checked_seconds = now_seconds;
        let since_seconds = self.offered.take().map_or(now_seconds, |offered| offered.since_seconds.min(now_seconds));
        self.offered = version.map(|version| Offered { version: version.to_owned(), since_seconds });
    }
}

/// Where the next record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Journal {
    sequence: u64,
}

/// What was found of the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The later of two.
    State,
    /// Never written.
    Nothing,
    /// Neither record is whole: whatever was under way is forgotten.
    Damage,
}

impl Journal {
    /// The latest state; the default one when there is none.
    pub fn load(storage: &dyn Storage) -> Result<(Journal, State, Found), StateError> {
        let mut latest: Option<(u64, State)> = None;
        let mut blank = true;
        for place in 0..2 {
            let mut block = [0; RECORD_BYTES];
            storage.read_at(Area::State, place * RECORD_BYTES as u64, &mut block)?;
            blank &= block.iter().all(|byte| *byte == 0);
            // A record in the other one's place was never written by us.
            let record = parse(&block).filter(|(sequence, _)| sequence % 2 == place);
            if let Some((sequence, state)) = record {
                if latest.as_ref().is_none_or(|(before, _)| *before < sequence) {
                    latest = Some((sequence, state));
                }
            }
        }
        let found = match (&latest, blank) {
            (Some(_), _) => Found::State,
            (None, true) => Found::Nothing,
            (None, false) => Found::Damage,
        };
        let (sequence, state) = latest.unwrap_or_default();
        Ok((Journal { sequence }, state, found))
    }

    /// Makes `state` the latest.
    pub fn save(&mut self, storage: &mut dyn Storage, state: &State) -> Result<(), StateError> {
        let sequence = self.sequence.checked_add(1).ok_or(StateError::Last)?;
        let block = to_block(sequence, state)?;
        storage.write_at(Area::State, sequence % 2 * RECORD_BYTES as u64, &block)?;
        storage.flush(Area::State)?;
        self.sequence = sequence;
        Ok(())
    }
}

fn digest(sequence: u64, body: &[u8]) -> [u8; 32] {
    Sha256::new_with_prefix(sequence.to_le_bytes()).chain_update(body).finalize().into()
}

fn to_block(sequence: u64, state: &State) -> Result<[u8; RECORD_BYTES], StateError> {
    let body = serde_json::to_vec(state).map_err(io::Error::from)?;
    let mut block = [0; RECORD_BYTES];
    let place = block[HEAD_BYTES..].get_mut(..body.len()).ok_or(StateError::TooLong(body.len()))?;
    place.copy_from_slice(&body);
    block[..8].copy_from_slice(MAGIC);
    block[8..16].copy_from_slice(&sequence.to_le_bytes());
    block[16..20].copy_from_slice(&(body.len() as u32).to_le_bytes());
    block[20..52].copy_from_slice(&digest(sequence, &body));
    Ok(block)
}

/// The state and its sequence number, from a block that is whole.
pub fn parse(block: &[u8]) -> Option<(u64, State)> {
    let rest = block.strip_prefix(MAGIC)?;
    let (sequence, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (known, rest) = rest.split_first_chunk::<32>()?;
    let (sequence, length) = (u64::from_le_bytes(*sequence), u32::from_le_bytes(*length));
    let body = rest.get(..usize::try_from(length).ok()?)?;
    (digest(sequence, body) == *known).then_some(())?;
    Some((sequence, serde_json::from_slice(body).ok()?))
}

/// A slot as its letter.
mod letter {
    use osbuild_format::command_line::Slot;
    use serde::{de::Error, Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(slot: &Slot, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&slot.letter())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Slot, D::Error> {
        let text = String::deserialize(deserializer)?;
        Slot::from_letter(&text).ok_or_else(|| D::Error::custom("a slot is `a` or `b`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(letter: char) -> Candidate {
        let text = |length| letter.to_string().repeat(length);
        Candidate { name: text(64), version: text(128), epoch: u32::MAX }
    }

    #[test]
    fn a_record_holds_the_longest_state() {
        let mut state = State::default();
        for denied in 'A'..='Z' {
            state.deny(candidate(denied), &"\\\u{1}".repeat(1000));
        }
        assert_eq!(state.denied.len(), LIMIT_DENIED);
        state.failure = Some(Failure::new("9".repeat(128), "payload-damaged", &io::Error::other("\"\\".repeat(1000))));
        state.checked(u64::MAX, Some(&"9".repeat(128)));
        state.deferred_until_seconds = u64::MAX;
        state.home = Some(Home { slot: Slot::B, told: true });
        let header = "f".repeat(64);
        state.phase = Phase::Installing { candidate: candidate('x'), slot: Slot::B, header, done: u32::MAX };
        let block = to_block(7, &state).expect("fits");
        assert_eq!(parse(&block), Some((7, state)));
    }

    /// Or the release that returns would forget that the newer one failed, and try it again and again.
    #[test]
    fn a_record_of_a_newer_release_counts() {
        let mut state = State::default();
        state.deny(candidate('d'), "why");
        state.phase = Phase::Trial { candidate: candidate('x'), slot: Slot::B, boots_left: 1 };
        let mut value = serde_json::to_value(&state).expect("JSON");
        for place in ["", "/phase", "/phase/candidate", "/last"] {
            value.pointer_mut(place).expect(place)["new"] = serde_json::json!({ "of": [1] });
        }
        let body = serde_json::to_vec(&value).expect("JSON");
        assert_eq!(serde_json::from_slice::<State>(&body).expect("known as far as it goes"), state);
    }

    #[test]
    fn after_the_last_number_there_is_none() {
        struct Nowhere;
        impl Storage for Nowhere {
            fn size_bytes(&self, _: Area) -> io::Result<u64> {
                Ok(0)
            }
            fn read_at(&self, _: Area, _: u64, bytes: &mut [u8]) -> io::Result<()> {
                bytes.copy_from_slice(&to_block(u64::MAX, &State::default()).expect("fits"));
                Ok(())
            }
            fn write_at(&mut self, _: Area, _: u64, _: &[u8]) -> io::Result<()> {
                panic!("an older number in the place of the last one");
            }
            fn flush(&mut self, _: Area) -> io::Result<()> {
                Ok(())
            }
            fn drop_caches(&mut self, _: Area) -> io::Result<()> {
                Ok(())
            }
        }
        let (mut journal, state, _) = Journal::load(&Nowhere).expect("read");
        assert!(matches!(journal.save(&mut Nowhere, &state), Err(StateError::Last)));
    }

    #[test]
    fn a_wait_begins_with_the_first_offer() {
        let mut state = State::default();
        state.checked(100, Some("1.0.1"));
        state.checked(200, Some("1.0.2"));
        assert_eq!(state.offered.as_ref().map(|offered| offered.since_seconds), Some(100));
        state.end(Candidate { version: "1.0.2".to_owned(), ..candidate('x') }, true, "");
        assert_eq!(state.offered, None);
        state.checked(300, None);
        state.checked(400, Some("1.0.3"));
        assert_eq!(state.offered.map(|offered| offered.since_seconds), Some(400));
    }

    proptest! {
        #[test]
        fn no_changed_bit_is_taken_for_a_record(bit in 0usize..RECORD_BYTES * 8) {
            let mut state = State::default();
            state.deny(candidate('d'), "why");
            let good = to_block(3, &state).expect("fits");
            let mut block = good;
            block[bit / 8] ^= 1 << (bit % 8);
            let used = HEAD_BYTES + serde_json::to_vec(&state).expect("JSON").len();
            // What follows the text has no meaning.
            prop_assert_eq!(parse(&block).is_some(), bit / 8 >= used);
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), magic: bool) {
            if magic && bytes.len() >= 8 {
                bytes[..8].copy_from_slice(MAGIC);
            }
            prop_assert_eq!(parse(&bytes), None);
        }
    }
}

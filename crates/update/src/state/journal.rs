//! The state to and from two records.
//!
//! A record is a block: magic, sequence number, length and SHA-256 of what follows, then JSON. They are written in turn, so one
//! of them is always whole. Invariant: [`Journal::save`] that has come back lasts; one that has not leaves the state before or
//! after it. Where the medium has lost one of the records, the other one counts, which may be the state before.

use super::State;
use crate::device::{Area, Storage};
use sha2::{Digest, Sha256};
use std::io;

/// Of a record; the area has two.
pub const RECORD_BYTES: usize = 4096;
/// Of a record: what a medium cannot read once it may read again.
const TRIES: u32 = 3;
const MAGIC: &[u8; 8] = b"OSBUSTA1";
/// Magic, sequence number, length, digest.
const HEAD_BYTES: usize = 8 + 8 + 4 + 32;

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
    /// The latest state; the default one when there is none. Errors: neither record is whole, and one cannot be read.
    pub fn load(storage: &dyn Storage) -> Result<(Journal, State, Found), StateError> {
        let mut latest: Option<(u64, State)> = None;
        let (mut blank, mut unread) = (true, None);
        for place in 0..2 {
            let mut block = [0; RECORD_BYTES];
            if let Err(error) = read(storage, place, &mut block) {
                unread = Some(error);
                continue;
            }
            blank &= block.iter().all(|byte| *byte == 0);
            // A record in the other one's place was never written by us.
            let record = parse(&block).filter(|(sequence, _)| sequence % 2 == place);
            if let Some((sequence, state)) = record {
                if latest.as_ref().is_none_or(|(before, _)| *before < sequence) {
                    latest = Some((sequence, state));
                }
            }
        }
        let found = match (&latest, unread) {
            (Some(_), _) => Found::State,
            (None, Some(error)) => return Err(error.into()),
            (None, None) if blank => Found::Nothing,
            (None, None) => Found::Damage,
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

fn read(storage: &dyn Storage, place: u64, block: &mut [u8; RECORD_BYTES]) -> io::Result<()> {
    let mut tries = 1;
    loop {
        match storage.read_at(Area::State, place * RECORD_BYTES as u64, block) {
            Err(_) if tries < TRIES => tries += 1,
            read => return read,
        }
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

#[cfg(test)]
mod tests {
    use super::super::tests::candidate;
    use super::super::{Failure, Home, Phase, LIMIT_DENIED};
    use super::*;
    use crate::reason::NotNow;
    use osbuild_format::command_line::Slot;
    use proptest::prelude::*;

    #[test]
    fn a_record_holds_the_longest_state() {
        let mut state = State::default();
        for denied in 'A'..='Z' {
            state.deny(candidate(denied), &"\\\u{1}".repeat(1000));
        }
        assert_eq!(state.denied.len(), LIMIT_DENIED);
        state.failure = Some(Failure::new("9".repeat(128), "payload-damaged", &io::Error::other("\"\\".repeat(1000))));
        state.deferred_until_seconds = u64::MAX;
        state.home = Some(Home { slot: Slot::B, told: true });
        let header = "f".repeat(64);
        state.phase = Phase::Installing { candidate: candidate('x'), slot: Slot::B, header, done: u32::MAX };
        let version = "9".repeat(128);
        for answer in [Ok(version.as_str()), Err(&NotNow::NoPayload { version: "\"\\".repeat(64) })] {
            state.checked(u64::MAX, answer);
            let block = to_block(7, &state).expect("fits");
            assert_eq!(parse(&block), Some((7, state.clone())));
        }
    }

    /// Or the release that returns would forget that the newer one failed, and try it again and again.
    #[test]
    fn a_record_of_a_newer_release_counts() {
        let mut state = State::default();
        state.deny(candidate('d'), "why");
        state.phase = Phase::Trial { candidate: candidate('x'), slot: Slot::B, boots_left: 1, used: true };
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

    /// Two records of which some cannot be read, so many times.
    struct Medium {
        blocks: [[u8; RECORD_BYTES]; 2],
        unread: [std::cell::Cell<u32>; 2],
    }

    impl Storage for Medium {
        fn size_bytes(&self, _: Area) -> io::Result<u64> {
            Ok(2 * RECORD_BYTES as u64)
        }
        fn read_at(&self, _: Area, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
            let place = offset as usize / RECORD_BYTES;
            let left = self.unread[place].get();
            self.unread[place].set(left.saturating_sub(1));
            bytes.copy_from_slice(&self.blocks[place]);
            if left > 0 {
                Err(io::Error::other("a dead sector"))
            } else {
                Ok(())
            }
        }
        fn write_at(&mut self, _: Area, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.blocks[offset as usize / RECORD_BYTES].copy_from_slice(bytes);
            Ok(())
        }
        fn flush(&mut self, _: Area) -> io::Result<()> {
            Ok(())
        }
        fn drop_caches(&mut self, _: Area) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn one_record_that_cannot_be_read_leaves_the_other() {
        let numbered = |seconds| State { checked_seconds: seconds, ..State::default() };
        let blocks = [6, 7].map(|sequence| to_block(sequence, &numbered(sequence)).expect("fits"));
        let medium = |unread: [u32; 2]| Medium { blocks, unread: unread.map(std::cell::Cell::new) };
        for (unread, latest) in [([0, 0], 7), ([1, 2], 7), ([9, 0], 7), ([0, 9], 6)] {
            let mut medium = medium(unread);
            let (mut journal, state, found) = Journal::load(&medium).expect("one is whole");
            assert_eq!((state.checked_seconds, found), (latest, Found::State), "{unread:?}");
            // The next record takes the place of the one that is lost.
            medium.unread = [0, 0].map(std::cell::Cell::new);
            journal.save(&mut medium, &numbered(99)).expect("saved");
            assert_eq!(Journal::load(&medium).expect("read").1, numbered(99));
        }
        assert!(matches!(Journal::load(&medium([9, 9])), Err(StateError::Storage(_))));
        // Of a state that nobody knows nothing is made up.
        let mut half = medium([9, 0]);
        half.blocks[1] = [0xff; RECORD_BYTES];
        assert!(matches!(Journal::load(&half), Err(StateError::Storage(_))));
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

//! Signatures that others made in, what they still have to sign out: one request for a whole command.
//!
//! Invariant: each message is asked for once per key.

use super::request::{Entry, Request, RequestError, Signatures, FORMAT};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// By how much the clock of whoever asked may be ahead of ours.
const AHEAD_SECONDS: u64 = 86_400;

/// Id of a key, and SHA-256 of a message.
type Place = (String, String);

/// Shared by all keys of a command.
#[derive(Clone, Debug)]
pub struct Exchange(Arc<State>);

#[derive(Debug)]
struct State {
    /// When it was asked first; none: nobody else is asked.
    seconds: Option<u64>,
    /// Since then.
    age_seconds: u64,
    received: BTreeMap<Place, Vec<u8>>,
    /// What each answer has.
    answers: Vec<BTreeSet<Place>>,
    used: Mutex<BTreeSet<Place>>,
    wanted: Mutex<BTreeMap<String, Entry>>,
}

impl Exchange {
    /// Nobody else is asked: a private key that is not here is an error.
    pub fn closed() -> Exchange {
        Exchange::of(None, 0, Vec::new())
    }

    /// Others are asked for what `received` does not have.
    /// `now_seconds`, since 1970, is for the first request. Nobody signs the time of an answer: one that has not come yet would
    /// make metadata that is good for as long as whoever changed the answer likes.
    pub fn open(received: &[Signatures], now_seconds: u64) -> Result<Exchange, RequestError> {
        let latest = now_seconds.saturating_add(AHEAD_SECONDS);
        if let Some(ahead) = received.iter().find(|signatures| signatures.seconds > latest) {
            return Err(RequestError::Ahead { seconds: ahead.seconds, now_seconds });
        }
        let answers = received.iter().map(Signatures::by_message).collect::<Result<_, _>>()?;
        let seconds = received.iter().map(|signatures| signatures.seconds).min().unwrap_or(now_seconds);
        Ok(Exchange::of(Some(seconds), now_seconds.saturating_sub(seconds), answers))
    }

    fn of(seconds: Option<u64>, age_seconds: u64, received: Vec<BTreeMap<Place, Vec<u8>>>) -> Exchange {
        let answers = received.iter().map(|answer| answer.keys().cloned().collect()).collect();
        let received = received.into_iter().flatten().collect();
        let (used, wanted) = (Mutex::default(), Mutex::default());
        Exchange(Arc::new(State { seconds, age_seconds, received, answers, used, wanted }))
    }

    pub fn is_open(&self) -> bool {
        self.0.seconds.is_some()
    }

    /// The time that what is signed speaks of, where others are asked.
    pub fn seconds(&self) -> Option<u64> {
        self.0.seconds
    }

    /// How long ago that was.
    pub fn age_seconds(&self) -> u64 {
        self.0.age_seconds
    }

    pub(super) fn received(&self, entry: &Entry) -> Option<Vec<u8>> {
        let place = (entry.key_id.clone(), entry.sha256.clone());
        let found = self.0.received.get(&place).cloned();
        if found.is_some() {
            self.0.used.lock().unwrap_or_else(PoisonError::into_inner).insert(place);
        }
        found
    }

    /// Which of the answers, counted from 0, had no signature of what has been signed: they answer something else.
    pub fn useless(&self) -> Vec<usize> {
        let used = self.0.used.lock().unwrap_or_else(PoisonError::into_inner);
        let numbered = self.0.answers.iter().enumerate();
        numbered.filter(|(_, answer)| answer.is_disjoint(&used)).map(|(number, _)| number).collect()
    }

    pub(super) fn want(&self, entry: Entry) {
        let mut wanted = self.0.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.insert(format!("{} {}", entry.id, entry.key_id), entry);
    }

    /// What others have to sign, in the order of the keys' names.
    pub fn request(&self) -> Request {
        let wanted = self.0.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        Request {
            format: FORMAT,
            seconds: self.0.seconds.unwrap_or_default(),
            entries: wanted.values().cloned().collect(),
        }
    }
}

//! Signatures that others made in, what they still have to sign out: one request for a whole command.
//!
//! Invariant: each message is asked for once per key.

use super::request::{Entry, Request, RequestError, Signatures, FORMAT};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// By how much the clock of whoever asked may be ahead of ours.
const AHEAD_SECONDS: u64 = 86_400;

/// Shared by all keys of a command.
#[derive(Clone, Debug)]
pub struct Exchange(Arc<State>);

#[derive(Debug)]
struct State {
    /// When it was asked first; none: nobody else is asked.
    seconds: Option<u64>,
    /// Since then.
    age_seconds: u64,
    received: BTreeMap<(String, String), Vec<u8>>,
    wanted: Mutex<BTreeMap<String, Entry>>,
}

impl Exchange {
    /// Nobody else is asked: a private key that is not here is an error.
    pub fn closed() -> Exchange {
        let (received, wanted) = (BTreeMap::new(), Mutex::default());
        Exchange(Arc::new(State { seconds: None, age_seconds: 0, received, wanted }))
    }

    /// Others are asked for what `received` does not have.
    /// `now_seconds`, since 1970, is for the first request. Nobody signs the time of an answer: one that has not come yet would
    /// make metadata that is good for as long as whoever changed the answer likes.
    pub fn open(received: &[Signatures], now_seconds: u64) -> Result<Exchange, RequestError> {
        let latest = now_seconds.saturating_add(AHEAD_SECONDS);
        if let Some(ahead) = received.iter().find(|signatures| signatures.seconds > latest) {
            return Err(RequestError::Ahead { seconds: ahead.seconds, now_seconds });
        }
        let mut by_message = BTreeMap::new();
        for signatures in received {
            by_message.append(&mut signatures.by_message()?);
        }
        let seconds = received.iter().map(|signatures| signatures.seconds).min().unwrap_or(now_seconds);
        let (age_seconds, wanted) = (now_seconds.saturating_sub(seconds), Mutex::default());
        Ok(Exchange(Arc::new(State { seconds: Some(seconds), age_seconds, received: by_message, wanted })))
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
        self.0.received.get(&(entry.key_id.clone(), entry.sha256.clone())).cloned()
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

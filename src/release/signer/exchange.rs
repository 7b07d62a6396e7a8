//! Signatures that others made in, what they still have to sign out: one request for a whole command.
//!
//! Invariant: each message is asked for once per key.

use super::request::{Entry, Request, RequestError, Signatures, FORMAT};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Shared by all keys of a command.
#[derive(Clone, Debug)]
pub struct Exchange(Arc<State>);

#[derive(Debug)]
struct State {
    /// When it was asked first; none: nobody else is asked.
    seconds: Option<u64>,
    received: BTreeMap<(String, String), Vec<u8>>,
    wanted: Mutex<BTreeMap<String, Entry>>,
}

impl Exchange {
    /// Nobody else is asked: a private key that is not here is an error.
    pub fn closed() -> Exchange {
        Exchange(Arc::new(State { seconds: None, received: BTreeMap::new(), wanted: Mutex::default() }))
    }

    /// Others are asked for what `received` does not have.
    /// `now_seconds`, since 1970, is for the first request.
    pub fn open(received: &[Signatures], now_seconds: u64) -> Result<Exchange, RequestError> {
        let mut by_message = BTreeMap::new();
        for signatures in received {
            by_message.append(&mut signatures.by_message()?);
        }
        let seconds = received.iter().map(|signatures| signatures.seconds).min().or(Some(now_seconds));
        Ok(Exchange(Arc::new(State { seconds, received: by_message, wanted: Mutex::default() })))
    }

    pub fn is_open(&self) -> bool {
        self.0.seconds.is_some()
    }

    /// The time that what is signed speaks of, where others are asked.
    pub fn seconds(&self) -> Option<u64> {
        self.0.seconds
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

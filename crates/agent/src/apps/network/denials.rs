//! What an app tried in vain, to a record of bounded length: how often, and the last few.
//!
//! Invariant: an app that tries for ever costs no more memory than one that tried a few times.

use crate::time;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const LIMIT_KEPT: usize = 8;
const LIMIT_TEXT: usize = 300;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Denial {
    /// Since the kernel started, of the last time.
    pub at_ms: u64,
    /// Such as `tcp 192.0.2.1:80` or `name broker.example`.
    pub what: String,
    pub why: &'static str,
    pub times: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Record {
    /// Packets that came too fast one after the other are not counted.
    pub count: u64,
    /// The newest last.
    pub last: VecDeque<Denial>,
}

/// By the app's id.
#[derive(Clone, Default)]
pub struct Denials(Arc<Mutex<BTreeMap<String, Record>>>);

impl Denials {
    /// From now on there is a record of the app.
    pub fn begin(&self, id: &str) {
        self.lock().entry(id.to_owned()).or_default();
    }

    pub fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    pub fn of(&self, id: &str) -> Record {
        self.lock().get(id).cloned().unwrap_or_default()
    }

    pub fn note(&self, id: &str, what: &str, why: &'static str) {
        let mut all = self.lock();
        let Some(record) = all.get_mut(id) else { return };
        record.count = record.count.saturating_add(1);
        let what: String = what.chars().take(LIMIT_TEXT).collect();
        let known = record.last.iter().position(|denial| denial.what == what && denial.why == why);
        let before = known.and_then(|place| record.last.remove(place)).map_or(0, |denial| denial.times);
        if record.last.len() >= LIMIT_KEPT {
            record.last.pop_front();
        }
        record.last.push_back(Denial { at_ms: time::milliseconds(), what, why, times: before.saturating_add(1) });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Record>> {
        // A record that was being changed is at worst one denial short.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_bounded_and_counts_all() {
        let denials = Denials::default();
        denials.note("stranger", "tcp 192.0.2.1:80", "why");
        assert_eq!(denials.of("stranger").count, 0);
        denials.begin("a");
        for port in 0..100 {
            denials.note("a", &format!("tcp 192.0.2.1:{port}"), "why");
            denials.note("a", &format!("tcp 192.0.2.1:{port}"), "why");
        }
        denials.note("a", &"x".repeat(10_000), "why");
        let record = denials.of("a");
        assert_eq!((record.count, record.last.len()), (201, LIMIT_KEPT));
        assert_eq!((record.last[6].what.as_str(), record.last[6].times), ("tcp 192.0.2.1:99", 2));
        assert_eq!(record.last[7].what.len(), LIMIT_TEXT);
        denials.forget("a");
        assert_eq!(denials.of("a").count, 0);
    }
}

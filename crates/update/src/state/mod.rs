//! What a device remembers of updates.
//!
//! What a record has beyond what is known here is ignored: a newer release may have written it in its trial, and the older one that
//! returns must still find what was denied. Invariant: whatever is remembered fits in a record of the [`Journal`].

mod journal;

use crate::reason::NotNow;
pub use journal::{parse, Found, Journal, StateError, RECORD_BYTES};
use serde::{Deserialize, Serialize};

use osbuild_format::command_line::Slot;

/// Payloads that failed here; the oldest is forgotten first.
pub const LIMIT_DENIED: usize = 16;
/// Why an attempt failed whose delta does not fit what runs: [`Failure::why`].
pub const SOURCE_DAMAGED: &str = "source-damaged";
/// Why a start of a release on trial failed.
pub const TRIAL_FAILED: &str = "trial-failed";
/// Why the repository gave no answer.
pub const UNANSWERED: &str = "failed";
/// Of the reason of an outcome and of an answer, and of that of a failure, in bytes.
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
    /// Why the last attempt to install, or the last start of a trial, did not come to an end; none once one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The newest release that the repository has for this device, while it is not installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered: Option<Offered>,
    /// Why the last time that the repository was asked led to nothing; none: it offered something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
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
    /// A slot is written and whole, and waits for the moment at which it may be started. The firmware knows nothing of it.
    Waiting {
        candidate: Candidate,
        #[serde(with = "letter")]
        slot: Slot,
    },
    /// A slot has to show that it is healthy.
    Trial {
        candidate: Candidate,
        #[serde(with = "letter")]
        slot: Slot,
        /// Starts that it may still have, after the one that is armed or under way.
        boots_left: u32,
        /// The last start has begun: the firmware was not told to start this slot again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        used: bool,
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

/// Of the repository, where it has nothing for this device; or why there was none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
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

    /// Of a start of the release on trial.
    pub fn of_trial(version: String, reason: &str) -> Failure {
        Failure { version, why: TRIAL_FAILED.to_owned(), reason: short(reason, LIMIT_FAILURE) }
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

    /// Not again, for the reason that becomes that of the last outcome, with what was noted of the last start that failed.
    pub fn deny(&mut self, candidate: Candidate, reason: &str) {
        let noted = self.failure.as_ref().filter(|f| f.why == TRIAL_FAILED && f.version == candidate.version);
        let reason = noted.map_or_else(|| reason.to_owned(), |failure| format!("{reason}: {}", failure.reason));
        self.denied.retain(|denied| *denied != candidate.name);
        self.denied.push(candidate.name.clone());
        let forgotten = self.denied.len().saturating_sub(LIMIT_DENIED);
        self.denied.drain(..forgotten);
        self.end(candidate, false, &reason);
    }

    /// Idle again.
    pub fn end(&mut self, candidate: Candidate, committed: bool, reason: &str) {
        self.phase = Phase::Idle;
        let reason = short(reason, LIMIT_REASON);
        self.offered = self.offered.take().filter(|offered| offered.version != candidate.version);
        self.last = Some(Outcome { candidate, committed, reason });
    }

    /// The repository has answered at `now_seconds`; `answer`: the version of the release that may be installed, or why there is
    /// none. A newer one than that which waits does not begin the wait anew, so that nobody is put off for ever by releases that
    /// follow each other.
    pub fn checked(&mut self, now_seconds: u64, answer: Result<&str, &NotNow>) {
        self.answer = answer.err().map(|why| Answer { why: why.word(), reason: short(&why.to_string(), LIMIT_REASON) });
        let version = answer.ok();
        self.checked_seconds = now_seconds;
        let since_seconds = self.offered.take().map_or(now_seconds, |offered| offered.since_seconds.min(now_seconds));
        self.offered = version.map(|version| Offered { version: version.to_owned(), since_seconds });
    }

    /// The repository gave no answer that counts. Says whether that is news.
    pub fn unanswered(&mut self, reason: &str) -> bool {
        let answer = Some(Answer { why: UNANSWERED.to_owned(), reason: short(reason, LIMIT_REASON) });
        let is_news = self.answer != answer;
        self.answer = answer;
        is_news
    }

    /// The clock, which is right, shows `now_seconds`: what waits cannot wait since a later time, or it could be put off for ever.
    /// Says whether anything changed.
    pub fn waits_since_at_most(&mut self, now_seconds: u64) -> bool {
        let late = self.offered.as_mut().filter(|offered| offered.since_seconds > now_seconds);
        late.map(|offered| offered.since_seconds = now_seconds).is_some()
    }
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

    /// As long as one can be.
    pub(super) fn candidate(letter: char) -> Candidate {
        let text = |length| letter.to_string().repeat(length);
        Candidate { name: text(64), version: text(128), epoch: u32::MAX }
    }

    #[test]
    fn a_wait_begins_with_the_first_offer() {
        let mut state = State::default();
        state.checked(100, Ok("1.0.1"));
        state.checked(200, Ok("1.0.2"));
        assert_eq!(state.offered.as_ref().map(|offered| offered.since_seconds), Some(100));
        state.end(Candidate { version: "1.0.2".to_owned(), ..candidate('x') }, true, "");
        assert_eq!(state.offered, None);
        state.checked(300, Err(&NotNow::UpToDate));
        assert_eq!(state.answer.as_ref().map(|answer| answer.why.as_str()), Some("up-to-date"));
        assert_eq!(state.offered, None);
        state.checked(400, Ok("1.0.3"));
        assert_eq!(state.answer, None);
        assert_eq!(state.offered.map(|offered| offered.since_seconds), Some(400));
    }

    #[test]
    fn a_wait_that_begins_in_the_future_begins_now() {
        let mut state = State::default();
        state.checked(900, Ok("1.0.1"));
        assert!(!state.waits_since_at_most(900));
        assert!(state.waits_since_at_most(200), "the clock was ahead");
        assert!(!state.waits_since_at_most(300), "and the wait goes on");
        assert_eq!(state.offered.map(|offered| offered.since_seconds), Some(200));
    }

    #[test]
    fn no_answer_is_news_once() {
        let mut state = State::default();
        assert!(state.unanswered("no route"));
        assert!(!state.unanswered("no route") && state.unanswered(&"expired ".repeat(100)));
        assert_eq!(state.answer.as_ref().map(|answer| answer.why.as_str()), Some(UNANSWERED));
        state.checked(100, Ok("1.0.1"));
        assert_eq!(state.answer, None);
    }

    #[test]
    fn a_denial_tells_what_the_last_start_that_failed_has_noted() {
        let mut state = State { failure: Some(Failure::of_trial("1".repeat(128), "no web")), ..State::default() };
        state.deny(candidate('2'), "it was not healthy");
        assert_eq!(state.last.as_ref().map(|last| last.reason.as_str()), Some("it was not healthy"), "of another");
        state.deny(candidate('1'), "it was not healthy");
        assert_eq!(state.last.map(|last| last.reason), Some("it was not healthy: no web".to_owned()));
    }
}

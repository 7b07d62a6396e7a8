//! When the next worker begins: what is known of time, failures and deferrals in, points in time out.
//!
//! Invariant: every wait ends, and none of what is repeated is repeated more often the less it gets.

use osbuild_update::policy::{may_check, Policy};
use osbuild_update::reason::NotNow;
use osbuild_update::state::{Phase, State};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// After a first failure, and until the network is there.
pub const AGAIN: Duration = Duration::from_secs(300);

/// Until when apps have put updates off, since the kernel's start. None shortens another's, and each may change its own.
#[derive(Debug, Default)]
pub struct Deferrals(BTreeMap<String, Duration>);

impl Deferrals {
    pub fn set(&mut self, app: &str, until: Duration) {
        self.0.insert(app.to_owned(), until);
    }

    pub fn forget(&mut self, app: &str) {
        self.0.remove(app);
    }

    pub fn until(&self) -> Duration {
        self.0.values().copied().max().unwrap_or_default()
    }

    pub fn left(&self, now: Duration) -> Duration {
        self.until().saturating_sub(now)
    }
}

/// When the repository is to be asked again, in seconds since 1970; none: now. A device that restarts often asks no more often for
/// that; but what is under way, or waits for its moment, goes on.
pub fn due_later(state: &State, policy: &Policy, now_seconds: u64, device_id: &str) -> Option<u64> {
    if state.phase != Phase::Idle || state.offered.is_some() {
        return None;
    }
    match may_check(policy, now_seconds, state.checked_seconds, device_id) {
        Err(NotNow::NotDue { at_seconds }) => Some(at_seconds),
        _ => None,
    }
}

/// Until when updates are put off: by apps, or by a person for so many seconds more.
pub fn longer(by_apps: Duration, left_seconds: u64, now: Duration) -> Duration {
    match left_seconds {
        0 => by_apps,
        left => by_apps.max(now + Duration::from_secs(left)),
    }
}

/// Whether somebody has put updates off since a worker began that takes notice of it.
pub fn is_newly_deferred(then: Option<Duration>, now: Duration) -> bool {
    then.is_some_and(|then| then < now)
}

/// When the reason ends for which nothing was done, in seconds since 1970; none: with the next check.
pub fn ends(details: &Value) -> Option<u64> {
    // A time server is asked all the while.
    let soon = details.get("why").is_some_and(|why| why == "no-time").then_some(0);
    soon.or_else(|| ["at_seconds", "until_seconds"].iter().find_map(|name| details.get(name)?.as_u64()))
}

/// Until the next try. A payload that is damaged on the server, or a medium that does not keep what is written, would be paid for
/// again every few minutes, in traffic and in wear; a failure that came further goes on soon.
pub fn pause(failures: u32, interval: Duration) -> Duration {
    let doubled = 1 << failures.saturating_sub(1).min(16);
    AGAIN.saturating_mul(doubled).min(interval.max(AGAIN))
}

/// Segments that an installation under way has written.
pub fn done(state: &Value) -> u64 {
    state.pointer("/phase/done").and_then(Value::as_u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use osbuild_format::command_line::Slot;
    use osbuild_update::state::Candidate;

    #[test]
    fn failures_that_get_nowhere_become_rare() {
        let interval = Duration::from_secs(6 * 3600);
        let minutes = [0, 1, 2, 3, 7, u32::MAX].map(|failures| pause(failures, interval).as_secs() / 60);
        assert_eq!(minutes, [5, 5, 10, 20, 320, 360]);
        assert_eq!(pause(9, Duration::from_secs(60)), AGAIN, "not sooner than after one");
        let state = State {
            phase: Phase::Installing { candidate: candidate(), slot: Slot::B, header: String::new(), done: 7 },
            ..State::default()
        };
        assert_eq!(done(&serde_json::to_value(state).expect("JSON")), 7);
        assert_eq!(done(&Value::Null), 0);
    }

    #[test]
    fn a_start_is_no_reason_to_ask_unless_something_waits() {
        let policy = Policy { check_interval_seconds: 6000, window: None, defer_limit_seconds: 0 };
        let mut state = State::default();
        assert_eq!(due_later(&state, &policy, 1 << 31, "device"), None, "never asked");
        state.checked(1 << 31, Err(&NotNow::UpToDate));
        let at = due_later(&state, &policy, (1 << 31) + 60, "device").expect("asked a minute ago");
        assert_eq!(due_later(&state, &policy, at, "device"), None);
        assert_ne!(due_later(&state, &policy, 1 << 31, "another"), Some(at), "not all devices at once");
        state.checked(1 << 31, Ok("2.0.0"));
        assert_eq!(due_later(&state, &policy, (1 << 31) + 60, "device"), None, "it waits for its moment");
        state.checked(1 << 31, Err(&NotNow::UpToDate));
        state.phase = Phase::Committing { candidate: candidate(), slot: Slot::B };
        assert_eq!(due_later(&state, &policy, (1 << 31) + 60, "device"), None, "it is not ended");
    }

    #[test]
    fn each_reason_that_ends_by_itself_says_when() {
        let details = |why: &NotNow| serde_json::to_value(why).expect("JSON");
        assert_eq!(ends(&details(&NotNow::OutsideWindow { at_seconds: 7 })), Some(7));
        assert_eq!(ends(&details(&NotNow::Deferred { until_seconds: 8 })), Some(8));
        assert_eq!(ends(&details(&NotNow::NoTime)), Some(0), "soon");
        assert_eq!(ends(&details(&NotNow::UpToDate)), None);
    }

    #[test]
    fn what_apps_put_off_after_a_worker_began_counts_unless_it_was_asked_for() {
        let time = Duration::from_secs;
        assert!(is_newly_deferred(Some(time(5)), time(9)));
        assert!(!is_newly_deferred(Some(time(9)), time(9)), "it knew");
        assert!(!is_newly_deferred(None, time(9)), "somebody wants it now");
        assert!(is_newly_deferred(Some(time(5)), longer(time(5), 30, time(6))), "a person, while it ran");
        assert!(!is_newly_deferred(Some(time(50)), longer(time(50), 30, time(6))), "no longer than it knew");
        assert!(!is_newly_deferred(Some(time(0)), longer(time(0), 0, time(6))), "taken back");
    }

    #[test]
    fn no_app_shortens_what_another_has_put_off() {
        let time = Duration::from_secs;
        let mut deferrals = Deferrals::default();
        assert_eq!(deferrals.left(time(1)), Duration::ZERO);
        deferrals.set("player", time(100));
        deferrals.set("meter", time(20));
        assert_eq!((deferrals.until(), deferrals.left(time(90))), (time(100), time(10)));
        deferrals.set("player", time(30));
        assert_eq!(deferrals.until(), time(30), "its own");
        deferrals.forget("player");
        assert_eq!(deferrals.until(), time(20), "an app that is gone has no wishes");
    }

    fn candidate() -> Candidate {
        Candidate { name: "5e".repeat(32), version: "2.0.0".into(), epoch: 1 }
    }
}

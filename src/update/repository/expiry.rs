//! A repository in, until when each part of its metadata is good out.
//!
//! Invariant: what devices would refuse at the time that is given is always told.

use super::{Repository, SECONDS_PER_DAY};
use osbuild_tuf::metadata::TopLevel;
use osbuild_tuf::Time;

/// Of one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    pub what: String,
    pub expires: Time,
    /// For how many days its signatures are good when they are made.
    pub days: u64,
}

impl Expiry {
    /// Says so when it expires within `warn_days`, or within half of the time that signatures are good, if that is less: what
    /// was renewed a moment ago is nothing to warn of.
    pub fn soon(&self, now: Time, warn_days: u64) -> Option<String> {
        let Expiry { what, expires, days } = self;
        if *expires <= now {
            return Some(format!("{what} has expired: {expires}"));
        }
        let left = expires.seconds() - now.seconds();
        // In seconds: half of one day is none, in whole days, and nothing would ever be told.
        let limit = warn_days.saturating_mul(SECONDS_PER_DAY).min(days.saturating_mul(SECONDS_PER_DAY) / 2);
        (left < limit).then(|| format!("{what} expires in {} days: {expires}", left / SECONDS_PER_DAY))
    }
}

impl Repository {
    /// Of all roles, those first whose keys are rarely at hand.
    pub fn expiries(&self) -> Vec<Expiry> {
        let days = self.days();
        let of = |what: String, expires: Time, role: TopLevel| Expiry { what, expires, days: days.of(role) };
        let mut all = vec![
            of("root".to_owned(), self.root.signed.expires, TopLevel::Root),
            of("targets".to_owned(), self.targets.signed.expires, TopLevel::Targets),
        ];
        let delegated = self.delegated.iter();
        all.extend(
            delegated.map(|(name, found)| of(format!("targets of {name}"), found.signed.expires, TopLevel::Targets)),
        );
        all.push(of("snapshot".to_owned(), self.snapshot.signed.expires, TopLevel::Snapshot));
        all.push(of("timestamp".to_owned(), self.timestamp.signed.expires, TopLevel::Timestamp));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_before_devices_refuse_it_and_not_right_after_it_was_renewed() {
        const HOUR: u64 = 3600;
        for (left_hours, days, warn_days, told) in [
            (0, 30, 14, Some("it has expired: ")),
            (1, 30, 14, Some("it expires in 0 days: ")),
            (14 * 24 - 1, 30, 14, Some("it expires in 13 days: ")),
            (14 * 24, 30, 14, None),
            (24, 1, 14, None),
            (11, 1, 14, Some("it expires in 0 days: ")),
            (13, 1, u64::MAX, None),
            (1, u64::MAX, 0, None),
        ] {
            let now = Time::from_seconds(1_800_000_000);
            let expires = Time::from_seconds(now.seconds() + left_hours * HOUR);
            let soon = Expiry { what: "it".to_owned(), expires, days }.soon(now, warn_days);
            let starts = |soon: &String| told.is_some_and(|told| soon.starts_with(told));
            assert_eq!(soon.is_some(), told.is_some(), "{left_hours} {days} {warn_days}: {soon:?}");
            assert!(soon.iter().all(starts), "{left_hours} {days} {warn_days}: {soon:?}");
        }
    }
}

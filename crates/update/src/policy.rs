//! Time, what the product wants and who has put updates off in, whether this is the moment out.
//!
//! Invariant: putting off ends: nobody delays an update longer than the product allows.

use crate::reason::NotNow;
use sha2::{Digest, Sha256};

const DAY: u64 = 86_400;
/// Over which first checks after a start are spread, at most.
const FIRST_SPREAD_SECONDS: u64 = 600;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Between two checks.
    pub check_interval_seconds: u64,
    /// When an update may be installed and the device restarted.
    pub window: Option<Window>,
    /// For how long after it was first offered an update may be put off.
    pub defer_limit_seconds: u64,
}

/// Of a day in UTC; one that ends before it begins goes over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Seconds after midnight.
    pub from_seconds: u32,
    pub to_seconds: u32,
}

impl Window {
    fn holds(&self, time: u64) -> bool {
        let (from, to) = (u64::from(self.from_seconds), u64::from(self.to_seconds));
        let of_day = time % DAY;
        match from <= to {
            true => (from..to).contains(&of_day),
            false => of_day >= from || of_day < to,
        }
    }

    /// When it opens next, from a time outside it.
    fn opens(&self, time: u64) -> u64 {
        let midnight = time - time % DAY;
        let today = midnight + u64::from(self.from_seconds);
        if today > time {
            today
        } else {
            today + DAY
        }
    }
}

/// When the next check is due. A quarter of the interval differs from device to device, so that a server is not asked by all at once.
pub fn next_check(policy: &Policy, last_seconds: u64, device_id: &str) -> u64 {
    let less = place(Sha256::digest(device_id).into(), policy.check_interval_seconds / 4);
    last_seconds.saturating_add(policy.check_interval_seconds - less)
}

/// For how many seconds more than it takes to be ready a device waits with the first check after a start: after a power cut a
/// whole fleet starts at once. `boot`: what tells this start from others, so that no device is always the last.
pub fn first_check_wait(policy: &Policy, device_id: &str, boot: &str) -> u64 {
    let hash = Sha256::new_with_prefix(device_id).chain_update([0]).chain_update(boot).finalize();
    place(hash.into(), policy.check_interval_seconds.min(FIRST_SPREAD_SECONDS))
}

/// Where one among many stands in a span of time.
fn place(hash: [u8; 32], span_seconds: u64) -> u64 {
    let (start, _) = hash.split_first_chunk().expect("32 bytes begin with eight");
    u64::from_le_bytes(*start) % span_seconds.max(1)
}

/// Whether the repository may be asked. A last check that is still to come was one of a clock that was wrong.
pub fn may_check(policy: &Policy, now_seconds: u64, last_seconds: u64, device_id: &str) -> Result<(), NotNow> {
    let at_seconds = next_check(policy, last_seconds, device_id);
    match last_seconds > now_seconds || now_seconds >= at_seconds {
        true => Ok(()),
        false => Err(NotNow::NotDue { at_seconds }),
    }
}

/// What is known about the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since 1970.
    pub now_seconds: u64,
    /// Whether that is the time, or only not before it.
    pub is_certain: bool,
    /// When the update was first offered.
    pub offered_seconds: u64,
    /// Until when services or people have put updates off; 0: they have not.
    pub deferred_until_seconds: u64,
}

/// Whether an update may be installed now.
pub fn may_install(policy: &Policy, moment: Moment) -> Result<(), NotNow> {
    let latest = moment.offered_seconds.min(moment.now_seconds).saturating_add(policy.defer_limit_seconds);
    let until_seconds = moment.deferred_until_seconds.min(latest);
    if moment.now_seconds < until_seconds {
        return Err(NotNow::Deferred { until_seconds });
    }
    match policy.window {
        None => Ok(()),
        Some(_) if !moment.is_certain => Err(NotNow::NoTime),
        Some(window) if window.holds(moment.now_seconds) => Ok(()),
        Some(window) => Err(NotNow::OutsideWindow { at_seconds: window.opens(moment.now_seconds) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: u32 = 3600;

    fn policy(window: Option<(u32, u32)>) -> Policy {
        let window = window.map(|(from, to)| Window { from_seconds: from * HOUR, to_seconds: to * HOUR });
        Policy { check_interval_seconds: 6 * 3600, window, defer_limit_seconds: 7 * DAY }
    }

    fn moment(now_seconds: u64) -> Moment {
        Moment { now_seconds, is_certain: true, offered_seconds: 0, deferred_until_seconds: 0 }
    }

    #[test]
    fn a_window_may_go_over_midnight() {
        let at = |day: u64, hour: u64| day * DAY + hour * 3600;
        for (window, inside, outside, opens) in [
            ((2, 5), at(3, 4), at(3, 5), at(4, 2)),
            ((22, 3), at(3, 23), at(3, 3), at(3, 22)),
            ((22, 3), at(3, 0), at(3, 21), at(3, 22)),
        ] {
            let policy = policy(Some(window));
            assert_eq!(may_install(&policy, moment(inside)), Ok(()), "{window:?}");
            assert_eq!(may_install(&policy, moment(outside)), Err(NotNow::OutsideWindow { at_seconds: opens }));
            let uncertain = Moment { is_certain: false, ..moment(inside) };
            assert_eq!(may_install(&policy, uncertain), Err(NotNow::NoTime));
        }
        assert_eq!(may_install(&policy(None), Moment { is_certain: false, ..moment(5) }), Ok(()));
    }

    #[test]
    fn nobody_puts_an_update_off_for_ever() {
        let deferred =
            |now_seconds| Moment { deferred_until_seconds: u64::MAX, offered_seconds: DAY, ..moment(now_seconds) };
        let until_seconds = 8 * DAY;
        assert_eq!(may_install(&policy(None), deferred(until_seconds - 1)), Err(NotNow::Deferred { until_seconds }));
        assert_eq!(may_install(&policy(None), deferred(until_seconds)), Ok(()));
    }

    #[test]
    fn a_check_is_due_after_its_interval_and_when_the_clock_went_back() {
        let policy = policy(None);
        let due = next_check(&policy, 1000, "device");
        assert_eq!(may_check(&policy, due - 1, 1000, "device"), Err(NotNow::NotDue { at_seconds: due }));
        assert_eq!(may_check(&policy, due, 1000, "device"), Ok(()));
        assert_eq!(may_check(&policy, 999, 1000, "device"), Ok(()));
    }

    #[test]
    fn a_fleet_that_starts_at_once_does_not_ask_at_once() {
        let waits = |policy: &Policy, boot: &str| -> Vec<u64> {
            (0..10_000).map(|id| first_check_wait(policy, &id.to_string(), boot)).collect()
        };
        let often = Policy { check_interval_seconds: 60, ..policy(None) };
        for (policy, span) in [(policy(None), FIRST_SPREAD_SECONDS), (often, 60)] {
            let waits = waits(&policy, "one");
            for tenth in 0..10 {
                let within = tenth * span / 10..(tenth + 1) * span / 10;
                let count = waits.iter().filter(|wait| within.contains(wait)).count();
                assert!((800..1200).contains(&count), "{count} in {within:?}");
            }
        }
        let (one, two) = (waits(&policy(None), "one"), waits(&policy(None), "two"));
        assert_eq!(one, waits(&policy(None), "one"));
        let same = one.iter().zip(&two).filter(|(one, two)| one == two).count();
        assert!(same < 100, "{same} have their place again");
        assert_eq!(first_check_wait(&Policy { check_interval_seconds: 0, ..policy(None) }, "device", "one"), 0);
    }

    proptest! {
        #[test]
        fn a_window_that_is_closed_opens_within_a_day(from in 0u32..86_400, to in 0u32..86_400, now in 0u64..1 << 40) {
            let policy = Policy { window: Some(Window { from_seconds: from, to_seconds: to }), ..policy(None) };
            if let Err(NotNow::OutsideWindow { at_seconds }) = may_install(&policy, moment(now)) {
                prop_assert!(at_seconds > now && at_seconds <= now + DAY);
                prop_assert!(from == to || may_install(&policy, moment(at_seconds)).is_ok());
            }
        }

        #[test]
        fn checks_come_between_three_quarters_and_the_whole_interval(id in "[0-9a-f]{16}", last in 0u64..1 << 40) {
            let at = next_check(&policy(None), last, &id);
            prop_assert!((last + 16_200..=last + 21_600).contains(&at));
        }
    }
}

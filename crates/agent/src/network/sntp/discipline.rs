//! What to do with a measured offset: step the clock, nudge it, or wait for a second opinion.
//!
//! Invariant: pure; once the clock has been right, one wild answer alone never moves it.

use std::time::Duration;

/// Below this the clock is right.
const GOOD_MICROSECONDS: i64 = 500;
/// Up to this the clock is nudged, so that it never jumps for programs that measure with it (RFC 5905 section 10).
const SLEW_MICROSECONDS: i64 = 128_000;
/// Beyond this a clock that was right is not believed to have gone wrong by itself.
const WILD_MICROSECONDS: i64 = 1_000_000_000;
/// Two wild answers agree when they differ by no more than this.
const AGREE_MICROSECONDS: i64 = 1_000_000;

const FIRST_PAUSE: Duration = Duration::from_secs(4);
const LONGEST_RETRY: Duration = Duration::from_secs(128);
/// A guest of a public pool asks no more often.
const BETWEEN_CHECKS: Duration = Duration::from_secs(1024);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Correction {
    Step(i64),
    Slew(i64),
    Leave,
    /// Ask again before anything is moved.
    Doubt,
}

#[derive(Debug, Default)]
pub struct Discipline {
    synchronised: bool,
    doubted: Option<i64>,
    failures: u32,
}

impl Discipline {
    pub fn measured(&mut self, offset_microseconds: i64) -> Correction {
        let size = offset_microseconds.saturating_abs();
        let agreed =
            self.doubted.is_some_and(|d| d.saturating_sub(offset_microseconds).saturating_abs() <= AGREE_MICROSECONDS);
        if self.synchronised && size > WILD_MICROSECONDS && !agreed {
            self.doubted = Some(offset_microseconds);
            return Correction::Doubt;
        }
        self.doubted = None;
        self.failures = 0;
        self.synchronised = true;
        if size <= GOOD_MICROSECONDS {
            Correction::Leave
        } else if size <= SLEW_MICROSECONDS {
            Correction::Slew(offset_microseconds)
        } else {
            Correction::Step(offset_microseconds)
        }
    }

    pub fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// Until the next question: soon while the clock is unknown, seldom when it is right.
    pub fn pause(&self) -> Duration {
        if self.synchronised && self.failures == 0 && self.doubted.is_none() {
            return BETWEEN_CHECKS;
        }
        FIRST_PAUSE.saturating_mul(1 << self.failures.saturating_sub(1).min(8)).min(LONGEST_RETRY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_offsets_are_slewed_and_large_ones_stepped() {
        let mut discipline = Discipline::default();
        for (offset, wanted) in [
            (-900_000_000_000_000, Correction::Step(-900_000_000_000_000)),
            (100, Correction::Leave),
            (-501, Correction::Slew(-501)),
            (128_001, Correction::Step(128_001)),
        ] {
            assert_eq!(discipline.measured(offset), wanted);
        }
    }

    #[test]
    fn a_clock_that_was_right_needs_two_who_agree_to_jump_far() {
        let mut discipline = Discipline::default();
        discipline.measured(0);
        assert_eq!(discipline.measured(5_000_000_000), Correction::Doubt);
        assert_eq!(discipline.pause(), FIRST_PAUSE);
        assert_eq!(discipline.measured(-7_000_000_000), Correction::Doubt);
        assert_eq!(discipline.measured(-7_000_500_000), Correction::Step(-7_000_500_000));
        assert_eq!(discipline.measured(i64::MIN), Correction::Doubt);
    }

    #[test]
    fn failures_make_it_patient() {
        let mut discipline = Discipline::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            discipline.failed();
            pauses.push(discipline.pause().as_secs());
        }
        assert_eq!(pauses, [4, 8, 16, 32, 64, 128, 128, 128]);
        discipline.measured(0);
        assert_eq!(discipline.pause(), BETWEEN_CHECKS);
    }
}

//! How long a service that ended waits before it is started again.
//!
//! Invariant: the pause doubles from 1 s to 60 s and starts over once the service has run for 60 s.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
const GOOD_RUN: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    short_runs: u32,
}

impl Backoff {
    /// The pause after a run of this length.
    pub fn after_run(&mut self, ran: Duration) -> Duration {
        if ran >= GOOD_RUN {
            self.short_runs = 0;
        }
        let pause = FIRST.saturating_mul(1 << self.short_runs.min(10)).min(LONGEST);
        self.short_runs = self.short_runs.saturating_add(1);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_to_a_minute_and_starts_over_after_a_good_run() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..8).map(|_| backoff.after_run(Duration::from_millis(10)).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.after_run(Duration::from_secs(60)), Duration::from_secs(1));
        assert_eq!(backoff.after_run(Duration::ZERO), Duration::from_secs(2));
    }
}

//! A body from the network in, the same bytes out, as long as they come fast enough and not for too long.
//!
//! Only the time spent waiting counts, so a slow reader is not taken for a slow server. Invariant: within any two windows, at
//! least the least amount arrives, or reading fails.

use std::io::{self, Read};
use std::time::{Duration, Instant};

/// How much has to arrive in how much time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub least_bytes: u64,
    pub window: Duration,
    /// For a whole body; a long one has as long as it takes at that rate.
    pub deadline: Duration,
}

impl Default for Pace {
    /// Of the slowest radios, a tenth.
    fn default() -> Pace {
        Pace { least_bytes: 8 << 10, window: Duration::from_secs(60), deadline: Duration::from_secs(3600) }
    }
}

impl Pace {
    /// For a body of this length.
    pub(crate) fn of_body(self, length: u64) -> Pace {
        // The last window may have no more than the rest of it.
        let windows = length.checked_div(self.least_bytes).map_or(0, |windows| windows.saturating_add(1));
        let at_least_rate = self.window.saturating_mul(u32::try_from(windows).unwrap_or(u32::MAX));
        Pace { deadline: self.deadline.max(at_least_rate), ..self }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("too slow")]
pub(crate) struct TooSlow {
    pub found: u64,
    pub after: Duration,
}

pub(crate) struct Paced<R> {
    reader: R,
    pace: Pace,
    in_window: Duration,
    got_in_window: u64,
    waited: Duration,
    got: u64,
}

impl<R> Paced<R> {
    pub fn new(reader: R, pace: Pace) -> Paced<R> {
        Paced { reader, pace, in_window: Duration::ZERO, got_in_window: 0, waited: Duration::ZERO, got: 0 }
    }
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let start = Instant::now();
        let count = self.reader.read(buffer)?;
        let took = start.elapsed();
        (self.in_window, self.waited) = (self.in_window + took, self.waited + took);
        (self.got_in_window, self.got) = (self.got_in_window + count as u64, self.got + count as u64);
        // The end is not slow, however long it took.
        if count > 0 && self.waited > self.pace.deadline {
            return Err(io::Error::other(TooSlow { found: self.got, after: self.waited }));
        }
        if self.in_window >= self.pace.window {
            if count > 0 && self.got_in_window < self.pace.least_bytes {
                return Err(io::Error::other(TooSlow { found: self.got_in_window, after: self.in_window }));
            }
            (self.in_window, self.got_in_window) = (Duration::ZERO, 0);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Or a long part of a payload would be refused again and again by a network that is as fast as it has to be.
    #[test]
    fn a_body_at_the_least_rate_is_never_late() {
        let pace = Pace::default();
        assert_eq!(pace.of_body(1 << 10).deadline, pace.deadline);
        let length = 8u64 << 20;
        let takes = Duration::from_secs(length * pace.window.as_secs() / pace.least_bytes);
        assert!(pace.of_body(length).deadline > takes);
        assert!(pace.of_body(u64::MAX).deadline > takes, "and no length is too long to count");
        let no_rate = Pace { least_bytes: 0, ..pace };
        assert_eq!(no_rate.of_body(length).deadline, pace.deadline);
    }
}

//! A body from the network in, the same bytes out, as long as they come fast enough.
//!
//! A server that sends one byte before each time-out would otherwise keep a build waiting for years. Only the time
//! spent waiting counts, so a slow reader is not taken for a slow server. Invariant: within any two windows, at
//! least the least amount arrives, or reading fails.

use std::io::{self, Read};
use std::time::{Duration, Instant};

/// How much has to arrive in how much time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub least_bytes: u64,
    pub window: Duration,
}

impl Default for Pace {
    /// A tenth of what the slowest modems did.
    fn default() -> Self {
        Pace { least_bytes: 16 << 10, window: Duration::from_secs(60) }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the server is too slow: it sent {got_bytes} bytes in {} seconds", .window.as_secs())]
pub struct TooSlow {
    pub got_bytes: u64,
    pub window: Duration,
}

/// Whether a body was given up for its slowness.
pub fn is_too_slow(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<TooSlow>())
}

pub struct Paced<R> {
    reader: R,
    pace: Pace,
    waited: Duration,
    got_bytes: u64,
}

impl<R> Paced<R> {
    pub fn new(reader: R, pace: Pace) -> Self {
        Paced { reader, pace, waited: Duration::ZERO, got_bytes: 0 }
    }
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let start = Instant::now();
        let count = self.reader.read(buffer)?;
        self.waited += start.elapsed();
        self.got_bytes += count as u64;
        if self.waited >= self.pace.window {
            // The end is not slow, however long it took.
            if count > 0 && self.got_bytes < self.pace.least_bytes {
                return Err(io::Error::other(TooSlow { got_bytes: self.got_bytes, window: self.pace.window }));
            }
            (self.waited, self.got_bytes) = (Duration::ZERO, 0);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Yields `step` bytes after each pause.
    struct Trickle(Duration, usize);

    impl Read for Trickle {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            std::thread::sleep(self.0);
            let count = self.1.min(buffer.len());
            buffer[..count].fill(7);
            Ok(count)
        }
    }

    #[test]
    fn a_trickle_is_given_up_and_a_stream_is_not() {
        let pace = Pace { least_bytes: 100, window: Duration::from_millis(60) };
        let pause = Duration::from_millis(5);
        let mut slow = Paced::new(Trickle(pause, 1), pace);
        let error = slow.read_to_end(&mut Vec::new()).expect_err("it would never end");
        assert!(is_too_slow(&error), "{error}");
        let mut good = Paced::new(Trickle(pause, 200), pace).take(20_000);
        assert_eq!(good.read_to_end(&mut Vec::new()).expect("fast enough"), 20_000);
    }

    #[test]
    fn a_slow_reader_is_not_a_slow_server() {
        let pace = Pace { least_bytes: 100, window: Duration::from_millis(10) };
        let mut body = Paced::new([1u8; 20].as_slice(), pace);
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(2));
            assert_eq!(body.read(&mut [0]).expect("it was there at once"), 1);
        }
    }
}

//! Time since the kernel started, which never jumps, and the time of day, which may.
//!
//! Invariant: both as durations, so that nothing computed from them can be negative by accident.

use rustix::time::{clock_gettime, ClockId};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Since the kernel started.
pub fn now() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// [`now`] in whole milliseconds.
pub fn milliseconds() -> u64 {
    in_milliseconds(now())
}

pub fn in_milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Since 1970, as the system's clock has it.
pub fn unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

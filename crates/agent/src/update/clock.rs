//! The system's clock, as an update asks for it.
//!
//! Invariant: it never shows less than the floor, to which `network::clock` has raised it before anything asks.

use crate::time;
use osbuild_update::device::Clock;

pub struct SystemClock {
    /// Whether a server has said what time it is.
    pub synchronized: bool,
}

impl Clock for SystemClock {
    fn now_seconds(&self) -> u64 {
        time::unix().as_secs()
    }

    fn is_certain(&self) -> bool {
        self.synchronized
    }
}

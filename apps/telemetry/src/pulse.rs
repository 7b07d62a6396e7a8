//! Signs of life of a worker, which the main thread looks at before it vouches for the app.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Shared by a worker and who watches it.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    pub fn beat(&self) {
        self.0.store(now(), Ordering::Relaxed);
    }

    /// Since the last beat, or since the program started.
    pub fn age(&self) -> Duration {
        Duration::from_millis(now().saturating_sub(self.0.load(Ordering::Relaxed)))
    }
}

/// Milliseconds since the first call.
fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_makes_it_young() {
        let pulse = Pulse::default();
        std::thread::sleep(Duration::from_millis(30));
        pulse.beat();
        assert!(pulse.age() < Duration::from_millis(30));
    }
}

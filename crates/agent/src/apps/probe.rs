//! Whether an app accepts connections, tried again and again.
//!
//! Invariant: nobody waits for an attempt; at most one is under way.

use crate::thread;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(2);
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
pub const TRIES: u32 = 3;

const IDLE: u8 = 0;
const TRYING: u8 = 1;
const WELL: u8 = 2;
const FAILED: u8 = 3;

pub struct Probe {
    target: SocketAddr,
    every: Duration,
    next: Duration,
    failures: u32,
    state: Arc<AtomicU8>,
}

impl Probe {
    pub fn new(address: Ipv4Addr, port: u16, seconds: u32) -> Probe {
        let every = Duration::from_secs(u64::from(seconds));
        let target = SocketAddr::from((address, port));
        Probe { target, every, next: Duration::ZERO, failures: 0, state: Arc::new(AtomicU8::new(IDLE)) }
    }

    /// The app has just been started: what was found out before is about another life.
    pub fn begin(&mut self, now: Duration) {
        self.state = Arc::new(AtomicU8::new(IDLE));
        self.failures = 0;
        self.next = now + self.every;
    }

    /// Takes the last attempt's answer and makes the next one when it is due.
    pub fn has_failed(&mut self, now: Duration) -> bool {
        match self.state.load(Ordering::Acquire) {
            WELL => self.failures = 0,
            FAILED => self.failures = self.failures.saturating_add(1),
            TRYING => {
                // Looked at again soon, but not at once and again and again.
                self.next = self.next.max(now + BETWEEN_LOOKS);
                return false;
            }
            _ => {}
        }
        self.state.store(IDLE, Ordering::Release);
        if self.failures >= TRIES {
            return true;
        }
        if now >= self.next {
            self.next = now + self.every;
            self.attempt();
        }
        false
    }

    pub fn wake_at(&self) -> Duration {
        self.next
    }

    fn attempt(&self) {
        let (state, target) = (Arc::clone(&self.state), self.target);
        self.state.store(TRYING, Ordering::Release);
        let started = thread::start("probe", move || {
            let well = TcpStream::connect_timeout(&target, PATIENCE).is_ok();
            state.store(if well { WELL } else { FAILED }, Ordering::Release);
        });
        if started.is_err() {
            // No thread to be had says nothing of the app.
            self.state.store(IDLE, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn ask(probe: &mut Probe, now: Duration) -> bool {
        let failed = probe.has_failed(now);
        while probe.state.load(Ordering::Acquire) == TRYING {
            std::thread::sleep(Duration::from_millis(1));
        }
        failed
    }

    #[test]
    fn three_attempts_in_vain_are_a_failure_and_one_success_forgets_them() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let mut probe = Probe::new(Ipv4Addr::LOCALHOST, port, 1);
        probe.begin(Duration::ZERO);
        assert!((1..5).all(|second| !ask(&mut probe, Duration::from_secs(second))));
        drop(listener);
        let failed = (5..20).find(|second| ask(&mut probe, Duration::from_secs(*second)));
        assert_eq!(failed, Some(8));
    }
}

//! A byte to the pinger and back, again and again: how long its answers take.
//!
//! Invariant: a lost connection is made again, and the time without one counts as one long answer.

use std::fmt;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const BETWEEN: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Pings {
    times: Arc<Mutex<Vec<Duration>>>,
    over: Arc<AtomicBool>,
}

/// Of the answers since the last look.
pub struct Measured {
    pub answers: usize,
    pub median: Duration,
    pub worst: Duration,
}

impl Pings {
    /// To a port of the host's loopback that leads to the pinger.
    pub fn start(port: u16) -> Pings {
        let pings = Pings { times: Arc::default(), over: Arc::default() };
        let (times, over) = (Arc::clone(&pings.times), Arc::clone(&pings.over));
        std::thread::spawn(move || {
            let mut stream = None;
            while !over.load(Ordering::Relaxed) {
                let start = Instant::now();
                while !over.load(Ordering::Relaxed) && !ask(&mut stream, port) {
                    stream = None;
                    std::thread::sleep(BETWEEN);
                }
                times.lock().unwrap_or_else(PoisonError::into_inner).push(start.elapsed());
                std::thread::sleep(BETWEEN);
            }
        });
        pings
    }

    pub fn since_last(&self) -> Measured {
        let mut times = std::mem::take(&mut *self.times.lock().unwrap_or_else(PoisonError::into_inner));
        times.sort();
        let at = |index: usize| times.get(index).copied().unwrap_or_default();
        Measured { answers: times.len(), median: at(times.len() / 2), worst: times.last().copied().unwrap_or_default() }
    }
}

impl Drop for Pings {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Whether one answer came.
fn ask(stream: &mut Option<TcpStream>, port: u16) -> bool {
    let connect = || {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        Some(stream)
    };
    if stream.is_none() {
        *stream = connect();
    }
    let mut byte = [7];
    stream.as_mut().is_some_and(|stream| stream.write_all(&byte).is_ok() && stream.read_exact(&mut byte).is_ok())
}

impl Measured {
    /// No answer at all is not within anything.
    pub fn is_within(&self, median: Duration, worst: Duration) -> bool {
        self.answers > 0 && self.median <= median && self.worst <= worst
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Measured { answers, median, worst } = self;
        write!(f, "{answers}, median {} ms, worst {} ms", median.as_millis(), worst.as_millis())
    }
}

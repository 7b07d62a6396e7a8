//! Two connections to one: what comes from either goes to the other.
//!
//! Invariant: at most one buffer is in memory for each direction, so a side that does not read holds up the other
//! (back-pressure); a connection on which nothing moves either way ends; both sides end together.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const BUFFER_BYTES: usize = 8 << 10;
/// How often a silent direction looks whether the other one is silent too.
const LOOKS: u32 = 4;

/// Bytes from the client, and to it.
#[derive(Debug, PartialEq, Eq)]
pub struct Moved {
    pub up: u64,
    pub down: u64,
}

/// When anything last moved, either way.
struct Clock {
    start: Instant,
    last: AtomicU64,
}

impl Clock {
    fn new() -> Clock {
        Clock { start: Instant::now(), last: AtomicU64::new(0) }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn moved(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    fn silent(&self) -> Duration {
        Duration::from_millis(self.now().saturating_sub(self.last.load(Ordering::Relaxed)))
    }
}

/// Returns when both sides have said all, or with what went wrong.
pub fn both_ways(client: TcpStream, service: TcpStream, idle: Duration) -> Result<Moved, String> {
    let prepared = [&client, &service].into_iter().try_for_each(|stream| {
        stream.set_read_timeout(Some(idle / LOOKS))?;
        stream.set_write_timeout(Some(idle))?;
        stream.set_nodelay(true)
    });
    prepared.map_err(|e| e.to_string())?;
    let clock = Clock::new();
    // Both ways share the two descriptors: the manifest counts no more than these for a connection.
    std::thread::scope(|scope| {
        let down = std::thread::Builder::new().stack_size(super::STACK_BYTES);
        let down = down.spawn_scoped(scope, || one_way(&service, &client, idle, &clock)).map_err(|e| e.to_string())?;
        let up = one_way(&client, &service, idle, &clock);
        let down = down.join().map_err(|_| "the way down broke".to_owned())?;
        Ok(Moved { up: up?, down: down? })
    })
}

/// Bytes moved. The end of what one side says is passed on; after an error nothing goes either way.
fn one_way(mut from: &TcpStream, mut to: &TcpStream, idle: Duration, clock: &Clock) -> Result<u64, String> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut moved = 0;
    let problem = loop {
        match from.read(&mut buffer) {
            Ok(0) => match to.shutdown(Shutdown::Write) {
                Ok(()) => return Ok(moved),
                Err(error) => break error.to_string(),
            },
            Ok(count) => match to.write_all(&buffer[..count]) {
                Ok(()) => {
                    moved += count as u64;
                    clock.moved();
                }
                Err(error) => break error.to_string(),
            },
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if clock.silent() >= idle {
                    break format!("nothing was said for {} s", idle.as_secs());
                }
            }
            Err(error) => break error.to_string(),
        }
    };
    for stream in [from, to] {
        // It may be gone already.
        let _ = stream.shutdown(Shutdown::Both);
    }
    Err(problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Two connected streams.
    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (ours, listener.accept().unwrap().0)
    }

    #[test]
    fn bytes_go_both_ways_and_an_end_is_passed_on() {
        let ((mut client, inner), (outer, mut service)) = (pair(), pair());
        let relay = std::thread::spawn(move || both_ways(inner, outer, Duration::from_secs(20)));
        let question = vec![7; 1 << 20];
        let asked = question.clone();
        let asking = std::thread::spawn(move || {
            client.write_all(&asked).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            answer
        });
        let mut heard = Vec::new();
        service.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, question);
        service.write_all(b"thanks").unwrap();
        drop(service);
        assert_eq!(asking.join().unwrap(), "thanks");
        assert_eq!(relay.join().unwrap(), Ok(Moved { up: 1 << 20, down: 6 }));
    }

    #[test]
    fn silence_ends_it_but_not_while_one_side_speaks() {
        let ((client, inner), (outer, mut service)) = (pair(), pair());
        let relay = std::thread::spawn(move || both_ways(inner, outer, Duration::from_millis(400)));
        for _ in 0..8 {
            std::thread::sleep(Duration::from_millis(100));
            service.write_all(b"x").unwrap();
        }
        assert!(!relay.is_finished());
        let error = relay.join().unwrap().unwrap_err();
        assert!(error.contains("nothing was said"), "{error}");
        drop(client);
    }
}

//! One broker: connects, publishes what waits for it, and starts over when anything goes wrong.
//!
//! Invariant: a message leaves the queue for good only when the broker has confirmed it; between two tries the pause
//! grows to its limit and no further.

use crate::mqtt::{self, Message, Packet};
use crate::pulse::Pulse;
use crate::queue::Queue;
use crate::settings::Broker;
use crate::tls::{self, Stream};
use std::sync::Arc;
use std::time::{Duration, Instant};

const KEEP_ALIVE_SECONDS: u16 = 30;
const PING_AFTER: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_secs(1);
const PAUSE_LIMIT_SECONDS: u64 = 30;
/// What the system tells an app that may know the device's identity.
const DEVICE_ID: &str = "/run/app/device-id";

pub struct Link {
    broker: Broker,
    queue: Arc<Queue>,
    pulse: Pulse,
    client: String,
}

impl Link {
    pub fn new(broker: Broker, queue: Arc<Queue>, pulse: Pulse) -> Link {
        Link { broker, queue, pulse, client: client(std::fs::read_to_string(DEVICE_ID).ok()) }
    }

    /// Never returns.
    pub fn run(self) {
        let mut failures = 0;
        loop {
            self.pulse.beat();
            let mut welcome = false;
            let end = self.session(&mut welcome).unwrap_or_else(|end| end);
            failures = if welcome { 1 } else { failures + 1 };
            let pause = pause_seconds(failures);
            eprintln!("telemetry: {}: {end}; next try in {pause} s", self.broker.host);
            for _ in 0..pause {
                self.pulse.beat();
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    }

    /// One connection, to its end; why it ended. `welcome` tells whether the broker ever took us.
    fn session(&self, welcome: &mut bool) -> Result<String, String> {
        let mut stream = tls::connect(&self.broker)?;
        let stream = &mut *stream;
        send(stream, &mqtt::connect(&self.client, KEEP_ALIVE_SECONDS))?;
        match receive(stream)? {
            Packet::Connected(0) => *welcome = true,
            answer => return Err(format!("the broker does not take us: {answer:?}")),
        }
        eprintln!("telemetry: {}: connected", self.broker.host);
        let (mut number, mut last) = (0, Instant::now());
        loop {
            self.pulse.beat();
            if let Some(message) = self.queue.take(LOOK) {
                number = if number == u16::MAX { 1 } else { number + 1 };
                if let Err(error) = publish(stream, number, &message) {
                    self.queue.put_back(message);
                    return Err(error);
                }
                last = Instant::now();
            } else if last.elapsed() >= PING_AFTER {
                send(stream, &mqtt::PING)?;
                match receive(stream)? {
                    Packet::Pong => last = Instant::now(),
                    answer => return Err(format!("the broker answers a ping with {answer:?}")),
                }
            }
        }
    }
}

fn publish(stream: &mut dyn Stream, number: u16, message: &Message) -> Result<(), String> {
    send(stream, &mqtt::publish(number, message))?;
    match receive(stream)? {
        Packet::Published(confirmed) if confirmed == number => Ok(()),
        answer => Err(format!("the broker answers message {number} with {answer:?}")),
    }
}

fn send(stream: &mut dyn Stream, bytes: &[u8]) -> Result<(), String> {
    stream.write_all(bytes).and_then(|()| stream.flush()).map_err(|e| e.to_string())
}

fn receive(mut stream: &mut dyn Stream) -> Result<Packet, String> {
    mqtt::read(&mut stream).map_err(|e| e.to_string())
}

/// 1, 2, 4, ... seconds.
fn pause_seconds(failures: u32) -> u64 {
    let doubled = 1u64.checked_shl(failures.saturating_sub(1)).unwrap_or(PAUSE_LIMIT_SECONDS);
    doubled.min(PAUSE_LIMIT_SECONDS)
}

/// Two clients of one name throw each other out, so each device has its own.
fn client(device: Option<String>) -> String {
    let device: String = device.unwrap_or_default().trim().chars().take(12).collect();
    match device.is_empty() {
        true => "telemetry".to_owned(),
        false => format!("telemetry-{device}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_limit() {
        let pauses: Vec<u64> = [1, 2, 3, 5, 6, 64, 1000].map(pause_seconds).to_vec();
        assert_eq!(pauses, [1, 2, 4, 16, 30, 30, 30]);
    }

    #[test]
    fn a_device_has_its_own_name() {
        assert_eq!(client(None), "telemetry");
        assert_eq!(client(Some(format!("{}\n", "ab".repeat(32)))), "telemetry-abababababab");
    }

    /// A broker that takes messages from one connection and is gone for the second one.
    #[test]
    fn what_was_not_confirmed_is_sent_again() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let queue = Arc::new(Queue::new(10));
        for payload in ["1", "2"] {
            queue.push(Message { topic: "t".into(), payload: payload.into() });
        }
        let broker = Broker { host: "127.0.0.1".into(), port, authorities: None };
        let link = Link::new(broker, Arc::clone(&queue), Pulse::default());
        std::thread::spawn(move || link.run());
        let mut payloads = Vec::new();
        for confirm in [1, 10] {
            let (mut stream, _) = listener.accept().unwrap();
            let hello = mqtt::connect("telemetry", KEEP_ALIVE_SECONDS);
            let mut bytes = vec![0; hello.len()];
            std::io::Read::read_exact(&mut stream, &mut bytes).unwrap();
            assert_eq!(bytes, hello);
            std::io::Write::write_all(&mut stream, b"\x20\x02\x00\x00").unwrap();
            for count in 0..2 {
                let mut message = [0; 8];
                if payloads.len() == 3 {
                    return;
                }
                std::io::Read::read_exact(&mut stream, &mut message).unwrap();
                payloads.push(message[7]);
                if count < confirm {
                    std::io::Write::write_all(&mut stream, &[0x40, 2, message[5], message[6]]).unwrap();
                }
            }
        }
        assert_eq!(payloads, [b'1', b'2', b'2']);
    }
}

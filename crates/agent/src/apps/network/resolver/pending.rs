//! A question on its way to the name servers, one after the other.
//!
//! Invariant: an answer is taken only from the server that was asked, from a port and with a number that others have to
//! guess; each server gets a bounded time, and nobody waits for it.

use super::question::Question;
use crate::network::dns::{self, Answer};
use crate::random;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

const PORT: u16 = 53;
const PATIENCE: Duration = Duration::from_secs(2);
/// RFC 1035 section 4.2.1.
const LIMIT_BYTES: usize = 512;
/// Datagrams looked at in one turn.
const LIMIT_READ: usize = 8;

pub struct Pending {
    pub app: String,
    pub question: Question,
    /// Who wants to know, in the app's network.
    pub from: SocketAddr,
    pub socket: UdpSocket,
    pub deadline: Duration,
    sent: Vec<u8>,
    /// Not yet asked, the last one next.
    servers: Vec<Ipv4Addr>,
}

pub enum Heard {
    Answer(Answer),
    Nothing,
    /// The server will not answer.
    Refusal,
}

impl Pending {
    /// None: no server can be asked.
    pub fn send(
        app: &str,
        question: Question,
        from: SocketAddr,
        mut servers: Vec<Ipv4Addr>,
        now: Duration,
    ) -> Option<Pending> {
        servers.reverse();
        let (socket, sent) = ask_one(&question.name, &mut servers)?;
        Some(Pending { app: app.to_owned(), question, from, socket, deadline: now + PATIENCE, sent, servers })
    }

    /// Asks the next server; false: there is none.
    pub fn go_on(&mut self, now: Duration) -> bool {
        let Some((socket, sent)) = ask_one(&self.question.name, &mut self.servers) else { return false };
        (self.socket, self.sent, self.deadline) = (socket, sent, now + PATIENCE);
        true
    }

    pub fn hear(&self) -> Heard {
        let mut bytes = [0; LIMIT_BYTES];
        for _ in 0..LIMIT_READ {
            match self.socket.recv(&mut bytes) {
                Ok(count) => {
                    // What is not the answer came from somebody who guesses.
                    if let Some(answer) = dns::read(&self.sent, &bytes[..count]) {
                        return Heard::Answer(answer);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Nothing,
                Err(_) => return Heard::Refusal,
            }
        }
        Heard::Nothing
    }
}

/// A server that cannot be sent to is as good as none.
fn ask_one(name: &str, servers: &mut Vec<Ipv4Addr>) -> Option<(UdpSocket, Vec<u8>)> {
    while let Some(server) = servers.pop() {
        let asked = || -> io::Result<(UdpSocket, Vec<u8>)> {
            let id = u16::from_ne_bytes(random::bytes()?);
            let question = dns::question(id, name).ok_or(io::ErrorKind::InvalidInput)?;
            // Port 0: the kernel picks one that others cannot guess.
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.set_nonblocking(true)?;
            socket.connect((server, PORT))?;
            socket.send(&question)?;
            Ok((socket, question))
        };
        if let Ok(asked) = asked() {
            return Some(asked);
        }
    }
    None
}

//! The few packets of MQTT 3.1.1 that a publisher sends and gets, to and from bytes.
//!
//! Invariant: a packet that is longer than its limit is refused before memory is taken for it; whatever a broker
//! sends is an answer or an error.

use std::io::{Error, ErrorKind, Read};

/// What a publisher is sent is at most four bytes long; some brokers add properties.
const LIMIT_BYTES: usize = 1024;
/// Section 2.2.3: the length is at most four bytes of seven bits.
const LENGTH_BYTES: u32 = 4;
/// Section 3.1.2.4: a clean session, for what was not confirmed is sent again by us.
const CLEAN: u8 = 0b10;

pub const PING: [u8; 2] = [0xc0, 0];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: String,
}

/// What the broker sends.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet {
    /// The answer to CONNECT; 0: welcome.
    Connected(u8),
    /// It has the message of this number.
    Published(u16),
    Pong,
}

/// Section 3.1. The broker hangs up when it hears nothing for one and a half times `keep_alive_seconds`.
pub fn connect(client: &str, keep_alive_seconds: u16) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([4, CLEAN]);
    body.extend(keep_alive_seconds.to_be_bytes());
    body.extend(text(client));
    packet(0x10, &body)
}

/// Section 3.3, with quality of service 1: the broker confirms the number.
pub fn publish(number: u16, message: &Message) -> Vec<u8> {
    let mut body = text(&message.topic);
    body.extend(number.to_be_bytes());
    body.extend(message.payload.as_bytes());
    packet(0x32, &body)
}

/// The next packet; waits as long as the stream does.
pub fn read(stream: &mut impl Read) -> std::io::Result<Packet> {
    let mut byte = || {
        let mut one = [0];
        stream.read_exact(&mut one).map(|()| one[0])
    };
    let kind = byte()?;
    let mut length = 0;
    for place in 0.. {
        if place == LENGTH_BYTES {
            return Err(invalid("a length without an end"));
        }
        let part = byte()?;
        length |= usize::from(part & 0x7f) << (7 * place);
        if part & 0x80 == 0 {
            break;
        }
    }
    if length > LIMIT_BYTES {
        return Err(invalid("a packet longer than a publisher is ever sent"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    match (kind, &body[..]) {
        (0x20, [_, code, ..]) => Ok(Packet::Connected(*code)),
        (0x40, [high, low, ..]) => Ok(Packet::Published(u16::from_be_bytes([*high, *low]))),
        (0xd0, []) => Ok(Packet::Pong),
        _ => Err(invalid("a packet that no publisher is sent")),
    }
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the broker sent {what}"))
}

/// Section 1.5.3. All of ours are short: names of topics and clients.
fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(&text.as_bytes()[..usize::from(length)]);
    bytes
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    let mut left = body.len();
    loop {
        let more = if left > 0x7f { 0x80 } else { 0 };
        bytes.push((left & 0x7f) as u8 | more);
        left >>= 7;
        if left == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_as_the_standard_says() {
        assert_eq!(connect("m", 30), b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x1e\x00\x01m");
        let message = Message { topic: "a/b".into(), payload: "7".into() };
        assert_eq!(publish(10, &message), b"\x32\x08\x00\x03a/b\x00\x0a7");
        // The standard's own border between one and two bytes of length.
        assert_eq!(packet(0x30, &[0; 127])[..2], [0x30, 0x7f]);
        assert_eq!(packet(0x30, &[0; 128])[..3], [0x30, 0x80, 0x01]);
    }

    #[test]
    fn answers_are_read_and_anything_else_is_an_error() {
        for (bytes, packet) in [
            (&b"\x20\x02\x00\x05"[..], Packet::Connected(5)),
            (b"\x40\x02\x01\x00", Packet::Published(256)),
            (b"\xd0\x00", Packet::Pong),
        ] {
            assert_eq!(read(&mut &bytes[..]).expect("a packet"), packet);
            for end in 0..bytes.len() {
                assert!(read(&mut &bytes[..end]).is_err());
            }
        }
        for bad in [&b"\x20\xff\xff\xff\xff\x01"[..], b"\x20\xff\xff\x03", b"\x30\x00", b"\x20\x00", b"\x40\x01\x00"] {
            assert_eq!(read(&mut &bad[..]).expect_err("no packet").kind(), ErrorKind::InvalidData, "{bad:?}");
        }
    }
}

//! Bytes from an app to one DNS question, and the answer to bytes (RFC 1035 section 4).
//!
//! Invariant: any bytes are a question or none; an answer fits a datagram of 512 bytes.

use std::net::Ipv4Addr;

const HEADER_BYTES: usize = 12;
const LIMIT_NAME: usize = 253;
pub const TYPE_A: u16 = 1;
const CLASS_INTERNET: u16 = 1;
/// 8 of them and the longest name need less than 512 bytes.
const LIMIT_ADDRESSES: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Good = 0,
    /// Nobody knows just now.
    Failed = 2,
    NoSuchName = 3,
    Refused = 5,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Lower case, without a dot at the end.
    pub name: String,
    pub kind: u16,
    id: [u8; 2],
    recursion_desired: bool,
    /// Name, type and class as they were asked.
    asked: Vec<u8>,
}

/// None: nothing that deserves an answer. What follows the question, such as EDNS, is not looked at.
pub fn parse(bytes: &[u8]) -> Option<Question> {
    let header = bytes.get(..HEADER_BYTES)?;
    // A query, of the standard kind, with one question.
    if header[2] & 0xf8 != 0 || header[4..6] != [0, 1] {
        return None;
    }
    let mut name = String::new();
    let mut rest = &bytes[HEADER_BYTES..];
    loop {
        let (&length, after) = rest.split_first()?;
        if length == 0 {
            rest = after;
            break;
        }
        // Of the lengths from 64 on some are pointers, which a question has no use for.
        let (label, after) = after.split_at_checked(usize::from(length)).filter(|_| length < 64)?;
        if !name.is_empty() {
            name.push('.');
        }
        let known = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        // What no name has in it is shown as what no name has in it.
        name.extend(label.iter().map(|b| if known(b) { char::from(b.to_ascii_lowercase()) } else { '?' }));
        rest = after;
        if name.len() > LIMIT_NAME {
            return None;
        }
    }
    let fixed = rest.get(..4)?;
    if u16::from_be_bytes([fixed[2], fixed[3]]) != CLASS_INTERNET {
        return None;
    }
    let length = bytes.len() - rest.len() + 4;
    Some(Question {
        name,
        kind: u16::from_be_bytes([fixed[0], fixed[1]]),
        id: [header[0], header[1]],
        recursion_desired: header[2] & 1 != 0,
        asked: bytes[HEADER_BYTES..length].to_vec(),
    })
}

impl Question {
    pub fn answer(&self, code: Code, addresses: &[Ipv4Addr], seconds: u32) -> Vec<u8> {
        let addresses = &addresses[..addresses.len().min(LIMIT_ADDRESSES)];
        let count = u8::try_from(addresses.len()).unwrap_or(0);
        let mut bytes = self.id.to_vec();
        // An answer, from one who asks others.
        bytes.extend([0x80 | u8::from(self.recursion_desired), 0x80 | code as u8, 0, 1, 0, count, 0, 0, 0, 0]);
        bytes.extend(&self.asked);
        for address in addresses {
            // The name is that of the question, 12 bytes from the start.
            bytes.extend([0xc0, 12, 0, 1, 0, 1]);
            bytes.extend(seconds.to_be_bytes());
            bytes.extend([0, 4]);
            bytes.extend(address.octets());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::dns;
    use proptest::prelude::*;

    #[test]
    fn the_agents_own_client_understands_the_answers() {
        let asked = dns::question(7, "Broker.example.").expect("a name");
        let question = parse(&asked).expect("a question");
        assert_eq!((question.name.as_str(), question.kind), ("broker.example", TYPE_A));
        let addresses: Vec<Ipv4Addr> = (0..9).map(|last| Ipv4Addr::new(10, 0, 0, last)).collect();
        let answer = dns::read(&asked, &question.answer(Code::Good, &addresses, 77)).expect("an answer");
        assert_eq!((answer.code, answer.seconds, &answer.addresses[..]), (0, 77, &addresses[..8]));
        let refused = dns::read(&asked, &question.answer(Code::Refused, &[], 0)).expect("an answer");
        assert_eq!((refused.code, refused.addresses.len()), (5, 0));
    }

    #[test]
    fn what_is_no_question_is_none() {
        let good = dns::question(7, "a.b").expect("a name");
        // An answer, another kind of query, two questions, a pointer, another class.
        for (at, value) in [(2, 0x81), (2, 0x11), (5, 2), (12, 0xc0), (20, 3)] {
            let mut bytes = good.clone();
            bytes[at] = value;
            assert_eq!(parse(&bytes), None, "{at}");
        }
        for length in 0..good.len() {
            assert_eq!(parse(&good[..length]), None);
        }
        let mut strange = good.clone();
        strange[13] = 0x1b;
        assert_eq!(parse(&strange).map(|question| question.name), Some("?.b".to_owned()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_question_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..600), framed: bool) {
            let mut bytes = bytes;
            if framed && bytes.len() > 12 {
                bytes[2..6].copy_from_slice(&[1, 0, 0, 1]);
            }
            if let Some(question) = parse(&bytes) {
                prop_assert!(question.name.len() <= LIMIT_NAME + 64 && question.name.is_ascii());
                prop_assert!(question.answer(Code::Good, &[Ipv4Addr::LOCALHOST; 9], 1).len() <= 512);
            }
        }
    }
}

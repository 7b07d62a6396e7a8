//! One DNS question, the IPv4 addresses of a name, to and from bytes (RFC 1035 section 4).
//!
//! Invariant: reading follows no pointers, so it ends; it keeps a bounded number of addresses.

use std::net::Ipv4Addr;

const LIMIT_ADDRESSES: usize = 8;
const HEADER_BYTES: usize = 12;
const TYPE_A: u16 = 1;
const CLASS_INTERNET: u16 = 1;

/// None: not a name that DNS can carry.
pub fn question(id: u16, name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + name.len() + 6);
    bytes.extend(id.to_be_bytes());
    // Recursion desired; one question.
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|l| (1..=63).contains(l))?;
        bytes.push(length);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    if bytes.len() > HEADER_BYTES + 255 {
        return None;
    }
    bytes.extend(TYPE_A.to_be_bytes());
    bytes.extend(CLASS_INTERNET.to_be_bytes());
    Some(bytes)
}

/// The addresses in the answer to `question`; none when it is not its answer or says that there are none.
pub fn addresses(question: &[u8], answer: &[u8]) -> Vec<Ipv4Addr> {
    read(question, answer).map(|answer| answer.addresses).unwrap_or_default()
}

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// RCODE; 0: no error, 3: no such name.
    pub code: u8,
    pub addresses: Vec<Ipv4Addr>,
    /// For how long all of it is true.
    pub seconds: u32,
}

/// None: these bytes are no answer to `question`.
pub fn read(question: &[u8], answer: &[u8]) -> Option<Answer> {
    let header = answer.get(..HEADER_BYTES)?;
    let response = header[2] & 0x80 != 0;
    let code = header[3] & 0x0f;
    let same = header[..2] == *question.get(..2)? && header[4..6] == [0, 1];
    let echo = answer.get(HEADER_BYTES..question.len())?;
    // Names compare without regard to case, and servers may change it.
    if !(response && same && echo.eq_ignore_ascii_case(question.get(HEADER_BYTES..)?)) {
        return None;
    }
    if code != 0 {
        return Some(Answer { code, addresses: Vec::new(), seconds: 0 });
    }
    let mut seconds = u32::MAX;
    let count = u16::from_be_bytes([header[6], header[7]]);
    let mut rest = answer.get(question.len()..)?;
    let mut addresses = Vec::new();
    for _ in 0..count {
        rest = skip_name(rest)?;
        let (fixed, after) = rest.split_at_checked(10)?;
        let length = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        seconds = seconds.min(u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]));
        let (data, after) = after.split_at_checked(length)?;
        rest = after;
        let kind = (u16::from_be_bytes([fixed[0], fixed[1]]), u16::from_be_bytes([fixed[2], fixed[3]]));
        if kind == (TYPE_A, CLASS_INTERNET) && addresses.len() < LIMIT_ADDRESSES {
            addresses.push(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?));
        }
    }
    Some(Answer { code, addresses, seconds })
}

fn skip_name(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (&length, rest) = bytes.split_first()?;
        match length {
            0 => return Some(rest),
            1..=63 => bytes = rest.get(usize::from(length)..)?,
            // A pointer is the last part of a name; where it leads does not matter here.
            192.. => return rest.get(1..),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An alias and two addresses, as a resolver answers.
    fn answer(question: &[u8]) -> Vec<u8> {
        let mut bytes = question.to_vec();
        bytes[2] |= 0x80;
        bytes[7] = 3;
        bytes.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 4, 1, b'x', 0xc0, 12]);
        for last in [1, 2] {
            bytes.extend([1, b'x', 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 0, last]);
        }
        bytes
    }

    #[test]
    fn addresses_behind_an_alias_are_found() {
        let question = question(77, "pool.ntp.org").expect("a name");
        assert_eq!(addresses(&question, &answer(&question)), [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)]);
    }

    #[test]
    fn answers_to_something_else_are_not_believed() {
        let question = question(77, "pool.ntp.org").expect("a name");
        for at in [0, 1, 5, 13, question.len() - 1] {
            let mut bytes = answer(&question);
            bytes[at] ^= 1;
            assert_eq!(addresses(&question, &bytes), [] as [Ipv4Addr; 0], "byte {at}");
        }
        assert_eq!(read(&question, &answer(&question)).map(|answer| answer.seconds), Some(9));
        let mut failed = answer(&question);
        failed[3] = 3;
        assert_eq!(addresses(&question, &failed), [] as [Ipv4Addr; 0]);
        assert_eq!(addresses(&question, &question), [] as [Ipv4Addr; 0]);
    }

    #[test]
    fn names_that_dns_cannot_carry_are_refused() {
        for name in ["", "a..b", &"x".repeat(64), &"x.".repeat(130)] {
            assert_eq!(question(1, name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(tail in proptest::collection::vec(any::<u8>(), 0..300), count: u8) {
            let question = question(77, "a.b").expect("a name");
            let mut bytes = question.clone();
            bytes[2] |= 0x80;
            bytes[7] = count;
            bytes.extend(&tail);
            prop_assert!(addresses(&question, &bytes).len() <= LIMIT_ADDRESSES);
            prop_assert!(addresses(&question, &tail).len() <= LIMIT_ADDRESSES);
        }
    }
}

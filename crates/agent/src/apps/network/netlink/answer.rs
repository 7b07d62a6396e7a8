//! Bytes from the kernel, to its verdict on one message and its words about it.
//!
//! Invariant: no bytes make it panic or loop: each message and each attribute takes at least its header away.

use super::message::HEADER_BYTES;
use std::io;

const KIND_ERROR: u16 = 2;
const FLAG_DETAILS: u16 = 0x200;
const DETAIL_TEXT: u16 = 1;
const LIMIT_TEXT: usize = 256;

/// The verdict on the messages `first` to `last`, of which the last asked for one: a refusal of any, or that of the last.
/// None: it is not among these bytes.
pub fn verdict(bytes: &[u8], first: u32, last: u32) -> Option<io::Result<()>> {
    let ours = |m: &Answer<'_>| m.kind == KIND_ERROR && (first..=last).contains(&m.sequence);
    // The kernel gives its refusals in the order of the messages.
    messages(bytes).filter(ours).find_map(|m| match judge(&m) {
        Ok(()) if m.sequence != last => None,
        verdict => Some(verdict),
    })
}

pub struct Answer<'a> {
    pub kind: u16,
    flags: u16,
    sequence: u32,
    pub body: &'a [u8],
}

/// What is cut short ends the list.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Answer<'_>> {
    std::iter::from_fn(move || {
        let header = bytes.get(..HEADER_BYTES)?;
        let length = usize::try_from(number(header, 0)?).ok()?;
        let body = bytes.get(HEADER_BYTES..length)?;
        let answer = Answer { kind: short(header, 4)?, flags: short(header, 6)?, sequence: number(header, 8)?, body };
        bytes = bytes.get(length.checked_next_multiple_of(4)?..).unwrap_or_default();
        Some(answer)
    })
}

/// `struct nlmsgerr`, without the message that it is about: the socket asks the kernel to leave it out.
fn judge(answer: &Answer<'_>) -> io::Result<()> {
    let Some(code) = number(answer.body, 0) else { return Err(io::ErrorKind::InvalidData.into()) };
    // Negative, in two's complement.
    let code = i32::from_ne_bytes(code.to_ne_bytes());
    if code == 0 {
        return Ok(());
    }
    let error = io::Error::from_raw_os_error(code.checked_neg().unwrap_or(0));
    let details = answer.body.get(4 + HEADER_BYTES..).filter(|_| answer.flags & FLAG_DETAILS != 0);
    match details.and_then(|bytes| attribute(bytes, DETAIL_TEXT)) {
        Some(text) => {
            let text = String::from_utf8_lossy(&text[..text.len().min(LIMIT_TEXT)]);
            Err(io::Error::new(error.kind(), format!("{error}: {}", text.trim_end_matches('\0'))))
        }
        None => Err(error),
    }
}

/// The first attribute of this kind.
pub fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(short(bytes, 0)?);
        let value = bytes.get(4..length)?;
        if short(bytes, 2)? & 0x3fff == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refusal(code: i32) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(48u32.to_ne_bytes());
        bytes.extend(KIND_ERROR.to_ne_bytes());
        bytes.extend(FLAG_DETAILS.to_ne_bytes());
        bytes.extend(7u32.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(code.to_ne_bytes());
        bytes.extend([0; 16]);
        bytes.extend(9u16.to_ne_bytes());
        bytes.extend(DETAIL_TEXT.to_ne_bytes());
        bytes.extend(b"what\0\0\0\0");
        bytes
    }

    #[test]
    fn the_kernels_words_are_part_of_the_error() {
        let error = verdict(&refusal(-17), 7, 7).expect("it is there").expect_err("a refusal");
        assert!(error.to_string().ends_with(": what") && error.kind() == io::ErrorKind::AlreadyExists, "{error}");
        assert!(verdict(&refusal(0), 7, 7).expect("it is there").is_ok());
        assert!(verdict(&refusal(0), 8, 9).is_none());
        // One of many: good is only what the last one is told, bad is any.
        assert!(verdict(&refusal(0), 6, 8).is_none());
        assert!(verdict(&refusal(-1), 6, 8).expect("it is there").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0..48usize, new: u8) {
            let _ = verdict(&bytes, 7, 9);
            let mut changed = refusal(-1);
            changed[at] = new;
            let _ = verdict(&changed, 7, 9);
        }
    }
}

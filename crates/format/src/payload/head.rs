//! The first bytes of a payload to its envelope, and back.
//!
//! Invariant: a reader knows from the first [`PREFIX_BYTES`] how much it has to read before it can trust anything.

use super::LIMIT_ENVELOPE_BYTES;

pub const MAGIC: &[u8; 8] = b"OSBUPAY\0";
pub const VERSION: u32 = 1;
/// Before the envelope.
pub const PREFIX_BYTES: usize = 16;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("a payload begins with {PREFIX_BYTES} bytes, there are only {0}")]
    Short(usize),
    #[error("this is no payload: the signature of the format is missing")]
    Magic,
    #[error("this reader knows version {VERSION} of the format, the payload has: {0}")]
    Version(u32),
    #[error("the header's envelope has {0} bytes; the limit is {LIMIT_ENVELOPE_BYTES}")]
    Envelope(u64),
}

/// Bytes of the envelope, from the first [`PREFIX_BYTES`].
pub fn envelope_length(prefix: &[u8]) -> Result<usize, HeadError> {
    let prefix = prefix.get(..PREFIX_BYTES).ok_or(HeadError::Short(prefix.len()))?;
    if &prefix[..8] != MAGIC {
        return Err(HeadError::Magic);
    }
    let number = |at: usize| u32::from_le_bytes(prefix[at..at + 4].try_into().expect("4 bytes"));
    if number(8) != VERSION {
        return Err(HeadError::Version(number(8)));
    }
    let length = usize::try_from(number(12)).ok().filter(|length| (1..=LIMIT_ENVELOPE_BYTES).contains(length));
    length.ok_or(HeadError::Envelope(number(12).into()))
}

/// Everything before the first segment.
pub fn head(envelope: &[u8]) -> Result<Vec<u8>, HeadError> {
    let length = u32::try_from(envelope.len()).ok().filter(|_| (1..=LIMIT_ENVELOPE_BYTES).contains(&envelope.len()));
    let length = length.ok_or(HeadError::Envelope(envelope.len() as u64))?;
    Ok([MAGIC, &VERSION.to_le_bytes()[..], &length.to_le_bytes(), envelope].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_head_leads_to_its_envelope_and_anything_else_is_refused() {
        let bytes = head(b"envelope").expect("short enough");
        assert_eq!(envelope_length(&bytes), Ok(8));
        assert_eq!(&bytes[PREFIX_BYTES..], b"envelope");
        assert_eq!(envelope_length(&bytes[..15]), Err(HeadError::Short(15)));
        let changed = |at: usize, value: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            envelope_length(&bytes)
        };
        assert_eq!(changed(0, b'X'), Err(HeadError::Magic));
        assert_eq!(changed(8, 2), Err(HeadError::Version(2)));
        assert_eq!(changed(15, 1), Err(HeadError::Envelope((1 << 24) + 8)));
        assert_eq!(changed(12, 0), Err(HeadError::Envelope(0)));
        assert_eq!(head(b""), Err(HeadError::Envelope(0)));
    }

    proptest! {
        #[test]
        fn no_prefix_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..32)) {
            let length = envelope_length(&bytes);
            prop_assert!(length.is_err() || length.is_ok_and(|length| length <= LIMIT_ENVELOPE_BYTES));
        }
    }
}

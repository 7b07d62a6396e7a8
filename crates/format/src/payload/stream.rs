//! One of a segment's three streams: what travels in, its bytes as they are asked for out.
//!
//! A stream travels as it is, or as one Zstandard frame (RFC 8878). Invariant: no more memory is taken than the stream's own
//! length and a few blocks, whatever the frame says.

use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use std::io::Read;

/// "Block_Maximum_Size" of RFC 8878: a window may be this much larger than the content without being worth a word.
const BLOCK_BYTES: u64 = 128 << 10;
const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();

#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("a stream does not begin as a Zstandard frame")]
    Frame,
    #[error("a stream of {length} bytes asks for a window of: {window}")]
    Window { length: u32, window: u64 },
    #[error("a stream cannot be decoded: {0}")]
    Decode(String),
    #[error("a stream has other than its {0} bytes")]
    Length(u32),
}

pub enum Stream<'a> {
    Plain(&'a [u8]),
    Frame { decoder: Box<StreamingDecoder<&'a [u8], FrameDecoder>>, length: u32, left: u32 },
}

impl<'a> Stream<'a> {
    /// `length`: of the content; when it travels in as many bytes, they are the content.
    pub fn new(stored: &'a [u8], length: u32) -> Result<Self, StreamError> {
        if stored.len() as u64 == u64::from(length) {
            return Ok(Stream::Plain(stored));
        }
        let window = window(stored).ok_or(StreamError::Frame)?;
        if window > u64::from(length).max(BLOCK_BYTES) {
            return Err(StreamError::Window { length, window });
        }
        let decoder = StreamingDecoder::new(stored).map_err(|error| StreamError::Decode(error.to_string()))?;
        Ok(Stream::Frame { decoder: Box::new(decoder), length, left: length })
    }

    /// Fills `into` with what comes next.
    pub fn take(&mut self, into: &mut [u8]) -> Result<(), StreamError> {
        match self {
            Stream::Plain(rest) => {
                let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
                let (taken, after) = rest.split_at_checked(into.len()).ok_or(StreamError::Length(length))?;
                into.copy_from_slice(taken);
                *rest = after;
                Ok(())
            }
            Stream::Frame { decoder, length, left } => {
                let wanted = u32::try_from(into.len()).ok();
                *left = wanted.and_then(|wanted| left.checked_sub(wanted)).ok_or(StreamError::Length(*length))?;
                decoder.read_exact(into).map_err(|error| StreamError::Decode(error.to_string()))
            }
        }
    }

    /// Nothing may be left, neither of the content nor of what travelled.
    pub fn finish(self) -> Result<(), StreamError> {
        match self {
            Stream::Plain([]) => Ok(()),
            Stream::Plain(rest) => Err(StreamError::Length(u32::try_from(rest.len()).unwrap_or(u32::MAX))),
            Stream::Frame { mut decoder, length, left } => {
                let mut more = [0];
                let read = decoder.read(&mut more).map_err(|error| StreamError::Decode(error.to_string()))?;
                let whole = left == 0 && read == 0 && decoder.decoder.is_finished() && decoder.get_ref().is_empty();
                whole.then_some(()).ok_or(StreamError::Length(length))
            }
        }
    }

    /// All of it, for a stream that is read at once.
    pub fn all(mut self, length: u32) -> Result<Vec<u8>, StreamError> {
        let mut bytes = vec![0; length as usize];
        self.take(&mut bytes)?;
        self.finish()?;
        Ok(bytes)
    }
}

/// What the frame's header asks for. RFC 8878, section 3.1.1.1.
fn window(frame: &[u8]) -> Option<u64> {
    let rest = frame.strip_prefix(&MAGIC)?;
    let (&descriptor, rest) = rest.split_first()?;
    // A dictionary is none of this format's.
    if descriptor & 0b11 != 0 {
        return None;
    }
    if descriptor & 0b10_0000 == 0 {
        let window = *rest.first()?;
        let base = 1_u64 << (10 + (window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    let number = |bytes: usize| {
        let content = rest.get(..bytes)?;
        Some(content.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    };
    match descriptor >> 6 {
        0 => number(1),
        1 => Some(number(2)? + 256),
        2 => number(4),
        _ => number(8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame_of_one_byte(content: u8, times: u8) -> Vec<u8> {
        // A single segment of `times` bytes in one RLE block (section 3.1.1.2).
        let header = 1 | 1 << 1 | u32::from(times) << 3;
        [&MAGIC[..], &[0x20, times], &header.to_le_bytes()[..3], &[content]].concat()
    }

    #[test]
    fn a_frame_and_plain_bytes_give_the_same() {
        let frame = frame_of_one_byte(b'a', 100);
        for stored in [&[b'a'; 100][..], &frame] {
            let mut stream = Stream::new(stored, 100).expect("a stream");
            let mut taken = [0; 60];
            stream.take(&mut taken).expect("enough");
            stream.take(&mut taken[..40]).expect("enough");
            assert_eq!(taken, [b'a'; 60]);
            stream.finish().expect("nothing is left");
        }
        assert_eq!(window(&frame), Some(100));
    }

    #[test]
    fn a_length_that_is_not_the_content_s_and_a_window_beyond_it_are_refused() {
        let frame = frame_of_one_byte(7, 100);
        for length in [98, 99, 101, 200] {
            let taken = Stream::new(&frame, length).and_then(|stream| stream.all(length));
            assert!(taken.is_err(), "{length}");
        }
        let tail = [&frame[..], b"x"].concat();
        assert!(matches!(Stream::new(&tail, 100).and_then(|s| s.all(100)), Err(StreamError::Length(100))));
        // 1 GiB of window.
        let wide = [&MAGIC[..], &[0, 20 << 3, 1, 0, 0]].concat();
        assert!(matches!(Stream::new(&wide, 100), Err(StreamError::Window { window: 0x4000_0000, .. })));
        assert!(matches!(Stream::new(b"no frame", 100), Err(StreamError::Frame)));
        assert!(matches!(Stream::new(b"plain", 5).and_then(|s| s.finish()), Err(StreamError::Length(5))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(tail in proptest::collection::vec(any::<u8>(), 0..200), length in 0u32..300) {
            let stored = [&MAGIC[..], &tail].concat();
            let taken = Stream::new(&stored, length).and_then(|stream| stream.all(length));
            prop_assert!(taken.is_err() || taken.is_ok_and(|bytes| bytes.len() == length as usize));
        }
    }
}

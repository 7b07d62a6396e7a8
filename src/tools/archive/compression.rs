//! Compressed bytes in, plain bytes out, told apart by magic number.
//!
//! Invariant: a decoder's window is bounded, and no more plain bytes come out than the limits allow.

use super::Limits;
use liblzma::stream::{Stream, CONCATENATED};
use std::cell::Cell;
use std::io::{self, BufReader, Cursor, Read};
use std::rc::Rc;

const HEAD_BYTES: u64 = 8;
const BUFFER_BYTES: usize = 256 << 10;
/// `xz -9` needs 65 MiB to decode.
const XZ_MEMORY_BYTES: u64 = 512 << 20;
/// `zstd --long`: 128 MiB.
const ZSTD_WINDOW_LOG: u32 = 27;

/// The first bytes, and a reader that still yields them.
pub fn peek<R: Read>(mut reader: R) -> io::Result<(Vec<u8>, impl Read)> {
    let mut head = Vec::new();
    reader.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(reader)))
}

/// Decompresses `reader`, or passes it through when it is not compressed.
pub fn decode<'a, R: Read + 'a>(reader: R, limits: &Limits) -> io::Result<Capped<Box<dyn Read + 'a>>> {
    let (head, reader) = peek(reader)?;
    let buffered = BufReader::with_capacity(BUFFER_BYTES, reader);
    let plain: Box<dyn Read + 'a> = match head.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(buffered)),
        [b'B', b'Z', b'h', ..] => Box::new(bzip2::bufread::MultiBzDecoder::new(buffered)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY_BYTES, CONCATENATED).map_err(io::Error::other)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(buffered, stream))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(buffered)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        _ => Box::new(buffered),
    };
    // Two blocks a header: the entry's own and one for a long name.
    let left_bytes = limits.total_bytes + limits.entries.saturating_mul(2048).max(1 << 20);
    Ok(Capped { reader: plain, left_bytes, overflow: Rc::default() })
}

/// Yields at most a given number of bytes; more is an error, and is remembered.
pub struct Capped<R> {
    reader: R,
    left_bytes: u64,
    overflow: Rc<Cell<bool>>,
}

impl<R> Capped<R> {
    /// True once the limit was hit: the error itself passes through layers that hide it.
    pub fn overflow(&self) -> Rc<Cell<bool>> {
        self.overflow.clone()
    }
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        match self.left_bytes.checked_sub(count as u64) {
            Some(left) => self.left_bytes = left,
            None => {
                self.overflow.set(true);
                return Err(io::Error::other("the limit of unpacked bytes is exceeded"));
            }
        }
        Ok(count)
    }
}

//! Bytes that were written before, and a zstd frame that goes on from them, to one frame that any decoder takes.
//!
//! The frame travels without its header. It gets one that says nothing of its size, then the bytes from before as blocks that
//! are no smaller than what they hold, then the blocks that travelled. Source: RFC 8878, sections 3.1.1.1 and 3.1.1.2.
//! Invariant: the bytes had their digest when they were first read.

use super::apply::{SegmentError, Source, Written};
use super::ImageName;
use sha2::{Digest, Sha256};
use std::io::{self, Read};

/// Magic number, a descriptor without content size and checksum, a window of [`WINDOW_BYTES`].
pub const FRAME_HEADER: [u8; 6] = [0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3];
/// Bytes from before and those that go on from them have to lie in it.
pub const WINDOW_BYTES: u64 = 8 << 20;
const BLOCK_BYTES: u64 = 64 << 10;

/// Has the digest that it should.
pub struct Before<'a> {
    pub length: u64,
    source: &'a dyn Source,
    image: ImageName,
    offset: u64,
}

impl<'a> Before<'a> {
    pub fn check(written: Written, source: Option<&'a dyn Source>) -> Result<Self, SegmentError> {
        let source = source.ok_or(SegmentError::NoSource)?;
        let Written { image, offset, length, sha256 } = written;
        let (mut hasher, mut bytes, mut done) = (Sha256::new(), vec![0; BLOCK_BYTES as usize], 0);
        while done < u64::from(length) {
            let bytes = &mut bytes[..BLOCK_BYTES.min(u64::from(length) - done) as usize];
            let at = offset.checked_add(done).ok_or(SegmentError::Length)?;
            source.read_at(image, at, bytes).map_err(SegmentError::ReadWritten)?;
            hasher.update(&*bytes);
            done += bytes.len() as u64;
        }
        let found: [u8; 32] = hasher.finalize().into();
        match found == sha256 {
            true => Ok(Self { length: length.into(), source, image, offset }),
            false => {
                let [wanted, found] = [sha256, found].map(|digest| crate::hex::encode(&digest));
                Err(SegmentError::Written { wanted, found })
            }
        }
    }

    /// The frame whose blocks `travelled`.
    pub fn frame(self, travelled: &'a [u8]) -> impl Read + 'a {
        let blocks = Blocks { before: self, done: 0, block: Vec::new(), taken: 0 };
        (&FRAME_HEADER[..]).chain(blocks).chain(travelled)
    }
}

struct Blocks<'a> {
    before: Before<'a>,
    done: u64,
    /// With its header.
    block: Vec<u8>,
    taken: usize,
}

impl Read for Blocks<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.block.len() && self.done < self.before.length {
            let length = BLOCK_BYTES.min(self.before.length - self.done);
            // Not the last one, raw, so many bytes.
            let head = (length as u32) << 3;
            self.block.clear();
            self.block.extend_from_slice(&head.to_le_bytes()[..3]);
            self.block.resize(3 + length as usize, 0);
            self.before.source.read_at(self.before.image, self.before.offset + self.done, &mut self.block[3..])?;
            self.done += length;
            self.taken = 0;
        }
        let read = (&self.block[self.taken..]).read(bytes)?;
        self.taken += read;
        Ok(read)
    }
}

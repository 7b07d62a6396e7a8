//! Bytes that stream past, compared with their pin.
//!
//! Invariant: the end of the stream is reached only by content that has the pinned SHA-256 and size.

use super::{Progress, Reason, Wanted, LIMIT_BYTES};
use crate::model::digest::Digester;
use std::io::{self, Read};

pub struct Checked<'a, R> {
    reader: R,
    /// None once the content has been found right.
    digester: Option<Digester>,
    wanted: &'a Wanted,
    read_bytes: u64,
    progress: Progress<'a>,
}

impl<'a, R> Checked<'a, R> {
    pub fn new(reader: R, wanted: &'a Wanted, progress: Progress<'a>) -> Self {
        Checked { reader, digester: Some(Digester::default()), wanted, read_bytes: 0, progress }
    }

    fn end(&mut self) -> io::Result<usize> {
        let Some(digester) = self.digester.take() else { return Ok(0) };
        let found = digester.finish();
        let wanted_bytes = self.wanted.size_bytes.unwrap_or(found.size_bytes);
        if found.size_bytes < wanted_bytes {
            return Err(io::Error::other(Reason::Truncated { got_bytes: found.size_bytes, wanted_bytes }));
        }
        if found.sha256 != self.wanted.sha256 {
            return Err(io::Error::other(Reason::WrongDigest { found: found.sha256 }));
        }
        Ok(0)
    }
}

impl<R: Read> Read for Checked<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = self.reader.read(buffer).map_err(|e| match e.get_ref() {
            Some(inner) if inner.is::<Reason>() => e,
            _ if e.kind() == io::ErrorKind::Interrupted => e,
            _ => io::Error::other(Reason::Read(e)),
        });
        let count = read?;
        if count == 0 {
            return self.end();
        }
        self.read_bytes += count as u64;
        let limit_bytes = self.wanted.size_bytes.unwrap_or(LIMIT_BYTES);
        if self.read_bytes > limit_bytes {
            return Err(io::Error::other(Reason::TooLarge { limit_bytes }));
        }
        if let Some(digester) = &mut self.digester {
            digester.update(&buffer[..count]);
        }
        (self.progress)(self.read_bytes);
        Ok(count)
    }
}

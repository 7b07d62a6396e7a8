//! A payload's bytes, one part after the other, in; whether its segments are those that its header names out.
//!
//! Invariant: what [`Segments::finish`] says yes to, a device would not refuse for its bytes.

use super::target::Described;
use super::{wrong, RepositoryError};
use sha2::{Digest, Sha256};
use std::io::Write;

/// Takes the whole file.
pub struct Segments<'a> {
    described: &'a Described,
    /// Bytes of the head that are still to come.
    head: u64,
    /// The segment whose bytes come, and how many of them came.
    number: usize,
    taken: usize,
    hash: Sha256,
    damaged: Option<usize>,
}

impl<'a> Segments<'a> {
    /// `length`: of the whole file.
    pub fn new(described: &'a Described, length: u64) -> Segments<'a> {
        let head = length.saturating_sub(described.header.stored_bytes());
        Segments { described, head, number: 0, taken: 0, hash: Sha256::new(), damaged: None }
    }

    pub fn finish(self) -> Result<(), RepositoryError> {
        match self.damaged {
            Some(number) => wrong(format!("segment {number} is not the one that the header names")),
            None if self.number < self.described.header.segments.len() => wrong("it ends within its segments"),
            None => Ok(()),
        }
    }
}

impl Write for Segments<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let skipped = usize::try_from(self.head).unwrap_or(usize::MAX).min(bytes.len());
        self.head -= skipped as u64;
        let mut rest = &bytes[skipped..];
        while let Some(segment) = self.described.header.segments.get(self.number).filter(|_| !rest.is_empty()) {
            let wanted = segment.stored_bytes as usize;
            let (part, after) = rest.split_at(rest.len().min(wanted - self.taken));
            self.hash.update(part);
            (self.taken, rest) = (self.taken + part.len(), after);
            if self.taken == wanted {
                if hex::encode(self.hash.finalize_reset()) != segment.stored_sha256 {
                    self.damaged.get_or_insert(self.number);
                }
                (self.number, self.taken) = (self.number + 1, 0);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

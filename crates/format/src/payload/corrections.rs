//! What sets predicted bytes right, from its columns: of references, numbers that are added; of all other bytes, bytes.
//!
//! Invariant: a run of wrong bytes ends within its operation, and every column is used up.

use super::predict::Truth;
use super::stream::Column;
use super::SegmentError;

pub struct Corrections<'a> {
    /// Right references before each wrong one.
    pub hits: Column<'a>,
    /// What is added to each wrong reference, signed.
    pub misses: Column<'a>,
    /// Right bytes before each run of wrong ones.
    pub gaps: Column<'a>,
    /// Length of each run, less one.
    pub runs: Column<'a>,
    /// What is added to each byte of a run, modulo 256.
    pub differences: Column<'a>,
    pub left: Left,
}

/// What is known of what comes. One more than it is, so that 0 says: not read yet.
#[derive(Default)]
pub struct Left {
    hits: u64,
    right: u64,
    /// Bytes of a run that has begun; none more than there are.
    wrong: u64,
}

impl Truth for Corrections<'_> {
    type Error = SegmentError;

    fn plain(&mut self, bytes: &mut [u8]) -> Result<(), SegmentError> {
        let mut at = 0;
        loop {
            let rest = bytes.len() - at;
            let length = self.left.wrong.min(rest as u64) as usize;
            self.run(&mut bytes[at..at + length])?;
            at += length;
            if self.left.wrong > 0 || (self.left.right == 0 && self.gaps.is_empty()) {
                return Ok(());
            }
            if self.left.right == 0 {
                self.left.right = self.gaps.number()?.saturating_add(1);
            }
            let (right, rest) = (self.left.right - 1, (bytes.len() - at) as u64);
            if right >= rest {
                self.left.right -= rest;
                return Ok(());
            }
            at += right as usize;
            self.left.right = 0;
            self.left.wrong = self.runs.number()?.checked_add(1).ok_or(SegmentError::Length)?;
        }
    }

    fn reference(&mut self, bytes: &mut [u8]) -> Result<(), SegmentError> {
        if self.left.hits == 0 {
            if self.hits.is_empty() {
                return Ok(());
            }
            self.left.hits = self.hits.number()?.saturating_add(1);
        }
        self.left.hits -= 1;
        if self.left.hits > 0 {
            return Ok(());
        }
        let mut value = [0; 8];
        value[..bytes.len()].copy_from_slice(bytes);
        let value = u64::from_le_bytes(value).wrapping_add_signed(self.misses.signed()?);
        let length = bytes.len();
        bytes.copy_from_slice(&value.to_le_bytes()[..length]);
        Ok(())
    }
}

impl Corrections<'_> {
    fn run(&mut self, bytes: &mut [u8]) -> Result<(), SegmentError> {
        let mut differences = [0; 256];
        for part in bytes.chunks_mut(differences.len()) {
            let differences = &mut differences[..part.len()];
            self.differences.fill(differences)?;
            part.iter_mut().zip(&*differences).for_each(|(byte, difference)| *byte = byte.wrapping_add(*difference));
        }
        self.left.wrong -= bytes.len() as u64;
        Ok(())
    }

    /// Between two operations.
    pub fn between(&self) -> Result<(), SegmentError> {
        match self.left.wrong {
            0 => Ok(()),
            _ => Err(SegmentError::Length),
        }
    }

    pub fn end(self) -> Result<(), SegmentError> {
        for (left, name) in [(self.left.hits, "hits"), (self.left.right, "gaps")] {
            if left != 0 {
                return Err(SegmentError::Column(name));
            }
        }
        self.hits.end()?;
        self.misses.end()?;
        self.gaps.end()?;
        self.runs.end()?;
        self.differences.end()
    }
}

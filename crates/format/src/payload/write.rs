//! Operations and their bytes to a stored segment.
//!
//! Invariant: [`super::decode`] makes of it what the operations write.

use super::apply::Written;
use super::before::FRAME_HEADER;
use super::learned::Learned;
use super::operation::{kept_bytes, operations_columns, spaces_column, Operation};
use super::predict::Truth;
use super::space::{Frame, Space};
use super::stream::{push_number, push_signed, Coding};
use super::ImageName;
use std::convert::Infallible;

/// A segment before its columns are coded.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    pub operations: Vec<Operation>,
    pub spaces: Vec<Space>,
    pub frames: Vec<Frame>,
    /// What the literals go on from.
    pub written: Option<Written>,
    /// Of all source ranges in the order of the operations; none: there are none.
    pub source_sha256: Option<[u8; 32]>,
    pub wrong: Wrong,
    pub literals: Vec<u8>,
}

/// The columns of corrections, which go on over operations.
#[derive(Clone, Debug, Default)]
pub struct Wrong {
    hits: Vec<u8>,
    misses: Vec<u8>,
    gaps: Vec<u8>,
    runs: Vec<u8>,
    differences: Vec<u8>,
    /// Right references and right bytes since the last wrong ones.
    since: (u64, u64),
}

impl Parts {
    /// Of all columns, before they are coded. `start`: where the segment writes.
    pub fn columns_bytes(&self, start: u64) -> usize {
        let columns = operations_columns(&self.operations, start);
        let operations = columns.tags.len() + columns.lengths.len() + columns.shifts.len();
        let spaces = spaces_column(&self.spaces, &self.frames).len();
        operations
            + spaces
            + self.wrong.columns().iter().map(|column| column.len()).sum::<usize>()
            + self.literals.len()
    }

    /// What a reader keeps beside columns; all of it counts for [`super::LIMIT_WORK_BYTES`]. `learned`: from all operations.
    pub fn kept_bytes(&self, learned: &Learned) -> u64 {
        kept_bytes(self.operations.len(), &self.spaces) + learned.bytes()
    }

    /// The stored bytes of the segment, which writes at `start` of its image. `compress` makes a zstd frame of a column; if it is
    /// said so, one that goes on from what was written, as [`Self::written`] says.
    pub fn store<E>(&self, start: u64, compress: impl Fn(&[u8], bool) -> Result<Vec<u8>, E>) -> Result<Vec<u8>, E> {
        let coded = self.code(start, |column| compress(column, false))?;
        Ok(coded.with_literals(self, &compress(&self.literals, self.written.is_some())?))
    }

    /// All columns but the literals, of which it may then be tried what they best go on from.
    pub fn code<E>(&self, start: u64, compress: impl Fn(&[u8]) -> Result<Vec<u8>, E>) -> Result<Coded, E> {
        let operations = operations_columns(&self.operations, start);
        let spaces = spaces_column(&self.spaces, &self.frames);
        let mut coded = Coded { start, declared: Vec::new(), body: Vec::new() };
        let described = [&operations.tags, &operations.lengths, &operations.shifts, &spaces];
        for column in described.into_iter().chain(self.wrong.columns()) {
            push_column(&mut coded.declared, &mut coded.body, column, &compress(column)?, Coding::Zstd);
        }
        Ok(coded)
    }

    fn flags(&self) -> Vec<u8> {
        let mut head = vec![u8::from(self.source_sha256.is_some()) | u8::from(self.written.is_some()) << 1];
        head.extend(self.source_sha256.iter().flatten());
        if let Some(Written { image, offset, length, sha256 }) = &self.written {
            head.push(u8::from(*image == ImageName::Esp));
            push_number(&mut head, *offset);
            push_number(&mut head, u64::from(*length));
            head.extend(sha256);
        }
        head
    }
}

/// A segment but for its literals.
#[derive(Clone, Debug)]
pub struct Coded {
    start: u64,
    declared: Vec<u8>,
    body: Vec<u8>,
}

impl Coded {
    /// The stored bytes, with the `literals` of `parts` as the frame that goes on from what `parts` says.
    pub fn with_literals(&self, parts: &Parts, literals: &[u8]) -> Vec<u8> {
        let mut head = parts.flags();
        push_number(&mut head, self.start);
        head.extend_from_slice(&self.declared);
        let mut body = Vec::new();
        match (parts.written.is_some(), literals.strip_prefix(&FRAME_HEADER)) {
            (true, Some(blocks)) => push_column(&mut head, &mut body, &parts.literals, blocks, Coding::After),
            _ => push_column(&mut head, &mut body, &parts.literals, literals, Coding::Zstd),
        }
        [head, self.body.clone(), body].concat()
    }
}

/// Declares a column in `head` and adds it to `body`, coded if that is smaller.
fn push_column(head: &mut Vec<u8>, body: &mut Vec<u8>, column: &[u8], coded: &[u8], coding: Coding) {
    if column.is_empty() {
        return head.push(Coding::Empty as u8);
    }
    let smaller = coded.len() < column.len();
    head.push(if smaller { coding } else { Coding::Plain } as u8);
    push_number(head, column.len() as u64);
    if smaller {
        push_number(head, coded.len() as u64);
    }
    body.extend_from_slice(if smaller { coded } else { column });
}

impl Wrong {
    /// Adds what a PATCH has to be corrected by.
    pub fn push(&mut self, correction: &Correction) {
        for off in &correction.offs {
            if *off == 0 {
                self.since.0 += 1;
                continue;
            }
            push_number(&mut self.hits, self.since.0);
            push_signed(&mut self.misses, *off);
            self.since.0 = 0;
        }
        let (predicted, wanted) = (&correction.predicted, &correction.plain);
        let mut at = 0;
        while at < predicted.len() {
            if predicted[at] == wanted[at] {
                (self.since.1, at) = (self.since.1 + 1, at + 1);
                continue;
            }
            let length = predicted[at..].iter().zip(&wanted[at..]).take_while(|(have, want)| have != want).count();
            push_number(&mut self.gaps, self.since.1);
            push_number(&mut self.runs, length as u64 - 1);
            let differences = predicted[at..at + length].iter().zip(&wanted[at..at + length]);
            self.differences.extend(differences.map(|(have, want)| want.wrapping_sub(*have)));
            (self.since.1, at) = (0, at + length);
        }
    }

    /// In the order in which they travel.
    fn columns(&self) -> [&Vec<u8>; 5] {
        [&self.hits, &self.misses, &self.gaps, &self.runs, &self.differences]
    }
}

/// What the bytes of one PATCH are in truth, and how far off a prediction is.
#[derive(Debug)]
pub struct Correction<'a> {
    rest: &'a [u8],
    /// All bytes but references, as predicted and as they are.
    predicted: Vec<u8>,
    plain: Vec<u8>,
    /// Of each reference.
    offs: Vec<i64>,
}

impl<'a> Correction<'a> {
    pub fn to(wanted: &'a [u8]) -> Self {
        Self { rest: wanted, predicted: Vec::new(), plain: Vec::new(), offs: Vec::new() }
    }

    /// Of bytes without references.
    pub fn of(predicted: &[u8], wanted: &'a [u8]) -> Self {
        Self { rest: &[], predicted: predicted.to_vec(), plain: wanted.to_vec(), offs: Vec::new() }
    }

    /// Wrong bytes, about: a wrong reference is told in two of them.
    pub fn cost(&self) -> usize {
        let bytes = self.predicted.iter().zip(&self.plain).filter(|(have, want)| have != want).count();
        bytes + 2 * self.offs.iter().filter(|off| **off != 0).count()
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }
}

impl Truth for Correction<'_> {
    type Error = Infallible;

    fn plain(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        let wanted = self.take(bytes.len());
        self.predicted.extend_from_slice(bytes);
        self.plain.extend_from_slice(wanted);
        bytes.copy_from_slice(wanted);
        Ok(())
    }

    fn reference(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        let wanted = self.take(bytes.len());
        let signed = |bytes: &[u8]| {
            let mut value = [0; 8];
            value[8 - bytes.len()..].copy_from_slice(bytes);
            i64::from_le_bytes(value)
        };
        // Numbers of four bytes in the upper half: what is more than they hold falls off, and the sign stays.
        let off = signed(wanted).wrapping_sub(signed(bytes)) >> (64 - 8 * bytes.len());
        self.offs.push(off);
        bytes.copy_from_slice(wanted);
        Ok(())
    }
}

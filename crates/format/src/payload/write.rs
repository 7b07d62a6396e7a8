//! Operations and their bytes to a stored segment.
//!
//! Invariant: [`super::decode`] makes of it what the operations write.

use super::operation::{operations_columns, spaces_column, Operation};
use super::predict::{Frame, Space};
use super::stream::{push_number, Coding};

/// A segment before its columns are coded.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    pub operations: Vec<Operation>,
    pub spaces: Vec<Space>,
    pub frames: Vec<Frame>,
    /// Of all source ranges in the order of the operations; none: there are none.
    pub source_sha256: Option<[u8; 32]>,
    /// Right bytes before each wrong run.
    pub gaps: Vec<u8>,
    /// Lengths of wrong runs, less one.
    pub runs: Vec<u8>,
    pub differences: Vec<u8>,
    pub literals: Vec<u8>,
}

impl Parts {
    /// Of all columns, before they are coded. `start`: where the segment writes.
    pub fn columns_bytes(&self, start: u64) -> usize {
        let columns = operations_columns(&self.operations, start);
        let operations = columns.tags.len() + columns.lengths.len() + columns.shifts.len();
        let spaces = spaces_column(&self.spaces, &self.frames).len();
        operations + spaces + self.gaps.len() + self.runs.len() + self.differences.len() + self.literals.len()
    }

    /// Adds what turns `predicted` into `wanted`; `right` counts the right bytes since the last run, over operations.
    pub fn correct(&mut self, predicted: &[u8], wanted: &[u8], right: &mut u64) {
        let mut at = 0;
        while at < predicted.len() {
            if predicted[at] == wanted[at] {
                (*right, at) = (*right + 1, at + 1);
                continue;
            }
            let length = predicted[at..].iter().zip(&wanted[at..]).take_while(|(have, want)| have != want).count();
            push_number(&mut self.gaps, *right);
            push_number(&mut self.runs, length as u64 - 1);
            let differences = predicted[at..at + length].iter().zip(&wanted[at..at + length]);
            self.differences.extend(differences.map(|(have, want)| want.wrapping_sub(*have)));
            (*right, at) = (0, at + length);
        }
    }

    /// The stored bytes of the segment, which writes at `start` of its image. `compress` makes a zstd frame of a column.
    pub fn store<E>(&self, start: u64, compress: impl Fn(&[u8]) -> Result<Vec<u8>, E>) -> Result<Vec<u8>, E> {
        let operations = operations_columns(&self.operations, start);
        let spaces = spaces_column(&self.spaces, &self.frames);
        let mut head = match &self.source_sha256 {
            None => vec![0],
            Some(digest) => [&[1], &digest[..]].concat(),
        };
        push_number(&mut head, start);
        let mut body = Vec::new();
        let described = [&operations.tags, &operations.lengths, &operations.shifts, &spaces];
        let contents = [&self.gaps, &self.runs, &self.differences, &self.literals];
        for column in described.into_iter().chain(contents) {
            if column.is_empty() {
                head.push(Coding::Empty as u8);
                continue;
            }
            let coded = compress(column)?;
            let smaller = coded.len() < column.len();
            head.push(if smaller { Coding::Zstd } else { Coding::Plain } as u8);
            push_number(&mut head, column.len() as u64);
            if smaller {
                push_number(&mut head, coded.len() as u64);
            }
            body.extend_from_slice(if smaller { &coded } else { column });
        }
        head.extend_from_slice(&body);
        Ok(head)
    }
}

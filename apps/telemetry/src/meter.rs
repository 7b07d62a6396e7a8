//! The meter: a serial line to readings.
//!
//! A line is a name and a number, such as `power 2310.5`. Invariant: any bytes are taken; what is no reading is
//! reported once in a while and left out, and a line is never longer than its limit in memory.

use crate::mqtt::Message;
use crate::pulse::Pulse;
use rustix::fs::{Mode, OFlags};
use rustix::termios::{self, OptionalActions, SpecialCodeIndex};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

const LINE_LIMIT_BYTES: usize = 128;
const BAUD: u32 = 115_200;
const LIMIT_NAME_BYTES: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    name: String,
    /// As the meter wrote it: digits are not the app's to change.
    value: String,
}

impl Reading {
    pub fn parse(line: &[u8]) -> Option<Reading> {
        let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
        let (name, value) = (words.next()?, words.next()?);
        let number = value.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.'));
        let good = is_name(name) && number && value.parse::<f64>().is_ok() && words.next().is_none();
        good.then(|| Reading { name: name.to_owned(), value: value.to_owned() })
    }

    pub fn message(&self, prefix: &str) -> Message {
        Message { topic: format!("{prefix}/{}", self.name), payload: self.value.clone() }
    }
}

/// Fit for a level of a topic: no wildcards, no `/`.
pub fn is_name(text: &str) -> bool {
    (1..=LIMIT_NAME_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
}

/// Bytes to lines.
#[derive(Default)]
struct Lines {
    open: Vec<u8>,
    /// The line is longer than its limit: what is left of it is skipped.
    skipping: bool,
}

impl Lines {
    fn take(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        for &byte in bytes {
            if matches!(byte, b'\n' | b'\r') {
                if !self.open.is_empty() && !self.skipping {
                    line(&self.open);
                }
                self.open.clear();
                self.skipping = false;
            } else if self.open.len() >= LINE_LIMIT_BYTES {
                self.skipping = true;
            } else {
                self.open.push(byte);
            }
        }
    }
}

/// Opens the line as a meter speaks it: 115200 bits a second, eight bits, no parity, every byte as it comes.
pub fn open(path: &Path) -> Result<OwnedFd, String> {
    let failed = |what: &str, e| format!("cannot {what} the meter's line `{}`: {e}", path.display());
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let line = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| failed("open", e))?;
    let mut modes = termios::tcgetattr(&line).map_err(|e| failed("ask for the modes of", e))?;
    modes.make_raw();
    modes.set_speed(BAUD).map_err(|e| failed("set the speed of", e))?;
    // A read ends after a second of silence, so that silence can be told from a program that hangs.
    modes.special_codes[SpecialCodeIndex::VMIN] = 0;
    modes.special_codes[SpecialCodeIndex::VTIME] = 10;
    termios::tcsetattr(&line, OptionalActions::Flush, &modes).map_err(|e| failed("set the modes of", e))?;
    Ok(line)
}

/// Hands on each reading until the line breaks; why it did.
pub fn read(line: &impl AsFd, pulse: &Pulse, mut reading: impl FnMut(Reading)) -> String {
    let mut lines = Lines::default();
    let mut buffer = [0; 256];
    let mut strange: u64 = 0;
    loop {
        pulse.beat();
        let count = match rustix::io::read(line, &mut buffer) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return error.to_string(),
        };
        lines.take(&buffer[..count], |text| match Reading::parse(text) {
            Some(known) => reading(known),
            None => {
                strange += 1;
                // The 1st, 2nd, 4th, 8th: a broken meter must not fill the log.
                if strange.is_power_of_two() {
                    eprintln!("telemetry: {strange} lines of the meter were no reading, the last: {:?}", shown(text));
                }
            }
        });
    }
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_a_name_and_a_number() {
        let reading = Reading::parse(b"power 2310.5").expect("a reading");
        let message = reading.message("meters");
        assert_eq!((message.topic.as_str(), message.payload.as_str()), ("meters/power", "2310.5"));
        for good in [&b"t -3"[..], b" flow-1  0 ", b"a_b 00.10"] {
            assert!(Reading::parse(good).is_some(), "{}", shown(good));
        }
        for bad in
            [&b""[..], b"power", b"power x", b"power 1 2", b"a/b 1", b"# 1", b"power inf", b"p 1e5", b"p -", b"\xff 1"]
        {
            assert_eq!(Reading::parse(bad), None, "{}", shown(bad));
        }
    }

    #[test]
    fn lines_come_in_any_pieces_and_long_ones_are_left_out() {
        let long = [&b"x".repeat(10_000)[..], b"\r\nb 2\npart"].concat();
        for size in [1, 7, 20_000] {
            let (mut lines, mut seen) = (Lines::default(), Vec::new());
            for piece in [b"a 1\r\n", &long[..]].concat().chunks(size) {
                lines.take(piece, |line| seen.push(String::from_utf8_lossy(line).into_owned()));
                assert!(lines.open.len() <= LINE_LIMIT_BYTES);
            }
            assert_eq!(seen, ["a 1", "b 2"], "{size}");
        }
    }
}

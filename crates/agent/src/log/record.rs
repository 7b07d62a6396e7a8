//! One entry of the log, to a line of JSON.
//!
//! Invariant: a line is at most a few kilobytes and holds no line break of its own.

use serde::Serialize;

/// Longer messages are cut, and say so.
pub const LIMIT_BYTES: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Info,
    Warning,
    Error,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    /// Milliseconds since the kernel started, which never jump.
    ms: u64,
    level: Level,
    unit: &'a str,
    message: &'a str,
}

/// With its final line break.
pub fn line(ms: u64, level: Level, unit: &str, message: &str) -> String {
    let (message, cut) = match message.char_indices().find(|(at, c)| at + c.len_utf8() > LIMIT_BYTES) {
        Some((at, _)) => (&message[..at], true),
        None => (message, false),
    };
    let owned;
    let message = if cut {
        owned = format!("{message} [cut]");
        &owned
    } else {
        message
    };
    let mut text = serde_json::to_string(&Line { ms, level, unit, message }).expect("plain text has a JSON form");
    text.push('\n');
    text
}

/// Bytes of a stream in pieces to lines: what a service writes.
#[derive(Default)]
pub struct Splitter {
    rest: Vec<u8>,
}

impl Splitter {
    /// The lines that `bytes` complete; a line over the limit is handed out in parts.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in bytes {
            if *byte == b'\n' || self.rest.len() >= LIMIT_BYTES {
                lines.extend(self.finish());
            }
            if *byte != b'\n' {
                self.rest.push(*byte);
            }
        }
        lines
    }

    /// What was written without a final line break.
    pub fn finish(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.rest);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        (!line.is_empty()).then(|| String::from_utf8_lossy(line).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_is_one_json_object() {
        assert_eq!(
            line(12, Level::Info, "web", "a \"b\"\nc"),
            "{\"ms\":12,\"level\":\"info\",\"unit\":\"web\",\"message\":\"a \\\"b\\\"\\nc\"}\n"
        );
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let text = line(0, Level::Info, "web", &"é".repeat(LIMIT_BYTES));
        assert!(text.contains("é [cut]\"") && text.len() < LIMIT_BYTES + 100);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_however_the_stream_is_cut(text in "[a-c\n]{0,200}", at in 0..200usize) {
            let at = at.min(text.len());
            let mut splitter = Splitter::default();
            let mut lines = splitter.push(&text.as_bytes()[..at]);
            lines.extend(splitter.push(&text.as_bytes()[at..]));
            lines.extend(splitter.finish());
            let wanted: Vec<&str> = text.split('\n').filter(|l| !l.is_empty()).collect();
            prop_assert_eq!(lines, wanted);
        }

        #[test]
        fn memory_stays_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..20_000)) {
            let mut splitter = Splitter::default();
            for line in splitter.push(&bytes) {
                prop_assert!(line.len() <= LIMIT_BYTES * 3);
            }
            prop_assert!(splitter.rest.len() <= LIMIT_BYTES);
        }
    }
}

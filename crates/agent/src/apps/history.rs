//! The last ends of an app, kept over reboots.
//!
//! Invariant: bounded in number and size; losing it never stops anything.

use super::reason::Reason;
use crate::{file, time};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

const FOLDER: &str = "/data/osagent/apps/history";
const LIMIT_ENDS: usize = 16;
/// Of 16 ends with all texts at their limit, each character written as an escape of 6 bytes.
const LIMIT_BYTES: usize = 128 * 1024;
/// In characters. An error names the program, which may be as long as its manifest likes.
const LIMIT_TEXT: usize = 512;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Seconds since 1970, by the clock of then.
    pub unix_seconds: u64,
    pub version: String,
    /// How long it had run.
    pub ran_ms: u64,
    pub reason: Reason,
    /// The reason for a person.
    pub text: String,
}

/// Newest last.
#[derive(Clone, Debug, Default)]
pub struct History {
    ends: VecDeque<End>,
    path: PathBuf,
}

impl History {
    pub fn load(id: &str) -> History {
        let path = PathBuf::from(FOLDER).join(format!("{id}.json"));
        let ends = file::read(&path, LIMIT_BYTES).ok().and_then(|bytes| parse(&bytes)).unwrap_or_default();
        History { ends, path }
    }

    pub fn add(&mut self, version: &str, ran_ms: u64, mut reason: Reason) -> io::Result<()> {
        if let Reason::NotStarted { error: text } | Reason::Policy { rule: text } = &mut reason {
            *text = cut(text);
        }
        let text = cut(&reason.to_string());
        self.ends.push_back(End {
            unix_seconds: time::unix().as_secs(),
            version: version.to_owned(),
            ran_ms,
            reason,
            text,
        });
        while self.ends.len() > LIMIT_ENDS {
            self.ends.pop_front();
        }
        let bytes = serde_json::to_vec(&self.ends)?;
        std::fs::create_dir_all(FOLDER)?;
        file::replace(&self.path, &bytes, 0o600)
    }

    pub fn ends(&self) -> &VecDeque<End> {
        &self.ends
    }

    pub fn last(&self) -> Option<&End> {
        self.ends.back()
    }
}

fn cut(text: &str) -> String {
    text.chars().take(LIMIT_TEXT).collect()
}

fn parse(bytes: &[u8]) -> Option<VecDeque<End>> {
    let mut ends: VecDeque<End> = serde_json::from_slice(bytes).ok()?;
    ends.drain(..ends.len().saturating_sub(LIMIT_ENDS));
    Some(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_are_kept_and_damage_is_forgotten() {
        let folder = std::env::temp_dir().join(format!("osagent-history-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut history = History { path: folder.join("a.json"), ..History::default() };
        for code in 0..20 {
            history.push(code);
        }
        assert_eq!((history.ends().len(), history.last().map(|e| e.ran_ms)), (16, Some(19)));
        let bytes = serde_json::to_vec(history.ends()).expect("JSON");
        assert_eq!(parse(&bytes).as_ref(), Some(history.ends()));
        assert_eq!(parse(b"[{}]"), None);
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn the_longest_texts_can_be_read_again() {
        let mut history = History { path: PathBuf::from("/nowhere/a.json"), ..History::default() };
        for _ in 0..LIMIT_ENDS {
            let _ = history.add("1.0.0", 0, Reason::NotStarted { error: "\u{1}".repeat(5000) });
        }
        let bytes = serde_json::to_vec(history.ends()).expect("JSON");
        assert!((LIMIT_BYTES / 2..LIMIT_BYTES).contains(&bytes.len()), "{} bytes", bytes.len());
    }

    impl History {
        fn push(&mut self, ran_ms: u64) {
            // `/data` is not there on the machine that runs the tests: only the file is not written.
            let _ = self.add("1.0.0", ran_ms, Reason::Stopped);
        }
    }
}

//! What the guest says on a channel: a stream of bytes to timed lines that tests can wait for.
//!
//! Invariant: memory is bounded (the oldest lines go first); the whole stream is in the log file.

use super::stop::{Stop, LOOK};
use super::BoardError;
use crate::io::file;
use regex::Regex;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

const LINE_LIMIT: usize = 20_000;
const LINE_LIMIT_BYTES: usize = 64 << 10;

/// A line without its end, colours and cursor movements, and when it began to arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub at: Duration,
    pub text: String,
}

/// A line that matched, and the index of the pattern it matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub pattern: usize,
    pub line: Line,
}

/// A place in the stream: only what comes after it is looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark(u64);

#[derive(Default)]
struct State {
    lines: VecDeque<Line>,
    /// Lines that were dropped from the front.
    dropped: u64,
    /// The line that has no end yet.
    open: Vec<u8>,
    open_since: Duration,
    closed: bool,
}

pub struct Feed {
    state: Arc<(Mutex<State>, Condvar)>,
    writer: UnixStream,
    stop: Stop,
}

impl Feed {
    /// Starts to read `stream`; times count from `start`; the raw bytes also go to `log`. Nothing is waited for
    /// once `stop` is wished.
    pub fn read(stream: UnixStream, start: Instant, log: &Path, stop: &Stop) -> Result<Feed, BoardError> {
        let log = file::create(log)?;
        let writer = stream.try_clone().map_err(|source| BoardError::Talk { program: "QEMU".into(), source })?;
        let state = Arc::new((Mutex::default(), Condvar::new()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || pump(stream, start, log, &shared));
        Ok(Feed { state, writer, stop: stop.clone() })
    }

    /// Sends text to the guest.
    pub fn send(&self, text: &str) -> Result<(), BoardError> {
        let sent = (&self.writer).write_all(text.as_bytes());
        sent.map_err(|source| BoardError::Talk { program: "QEMU".into(), source })
    }

    /// The end of what was said so far.
    pub fn mark(&self) -> Mark {
        let state = self.lock();
        Mark(state.dropped + state.lines.len() as u64)
    }

    /// Waits for a line, said at any time, that matches one of `patterns`.
    pub fn expect(&self, patterns: &[Regex], timeout: Duration) -> Result<Seen, BoardError> {
        self.expect_after(Mark(0), patterns, timeout)
    }

    /// The same for what is said after `mark`.
    pub fn expect_after(&self, mark: Mark, patterns: &[Regex], timeout: Duration) -> Result<Seen, BoardError> {
        let start = Instant::now();
        let mut next = mark.0;
        let mut state = self.lock();
        loop {
            if let Some(seen) = state.search(&mut next, patterns) {
                return Ok(seen);
            }
            let left = timeout.saturating_sub(start.elapsed());
            if state.closed || left.is_zero() {
                return Err(state.not_seen(patterns, timeout));
            }
            self.stop.check()?;
            state = self.state.1.wait_timeout(state, left.min(LOOK)).unwrap_or_else(|e| e.into_inner()).0;
        }
    }

    /// The first line said so far that matches; does not wait.
    pub fn find(&self, pattern: &Regex) -> Option<Line> {
        let mut next = 0;
        self.lock().search(&mut next, std::slice::from_ref(pattern)).map(|seen| seen.line)
    }

    /// The newest whole line.
    pub fn last(&self) -> Option<Line> {
        self.lock().lines.back().cloned()
    }

    /// Everything said so far.
    pub fn text(&self) -> String {
        let state = self.lock();
        state.lines.iter().map(|l| l.text.as_str()).chain([&*state.open_text()]).collect::<Vec<_>>().join("\n")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The reader never panics while it holds the lock; if it did, the lines are still whole.
        self.state.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl State {
    /// Looks at lines from number `next` on, and at the open one; `next` moves past what cannot match later.
    fn search(&self, next: &mut u64, patterns: &[Regex]) -> Option<Seen> {
        let matching = |text: &str| patterns.iter().position(|p| p.is_match(text));
        let from = next.saturating_sub(self.dropped) as usize;
        for line in self.lines.iter().skip(from) {
            if let Some(pattern) = matching(&line.text) {
                return Some(Seen { pattern, line: line.clone() });
            }
        }
        *next = (*next).max(self.dropped + self.lines.len() as u64);
        let text = self.open_text();
        let pattern = matching(&text).filter(|_| !text.is_empty())?;
        Some(Seen { pattern, line: Line { at: self.open_since, text } })
    }

    fn open_text(&self) -> String {
        plain(&self.open)
    }

    fn take(&mut self, bytes: &[u8], at: Duration) {
        for &byte in bytes {
            if self.open.is_empty() {
                self.open_since = at;
            }
            if byte != b'\n' {
                self.open.push(byte);
            }
            if byte == b'\n' || self.open.len() >= LINE_LIMIT_BYTES {
                let text = self.open_text();
                self.lines.push_back(Line { at: self.open_since, text });
                self.open.clear();
            }
            if self.lines.len() > LINE_LIMIT {
                self.lines.pop_front();
                self.dropped += 1;
            }
        }
    }

    fn not_seen(&self, patterns: &[Regex], waited: Duration) -> BoardError {
        let wanted: Vec<String> = patterns.iter().map(|p| format!("`{p}`")).collect();
        let expected = format!("expected {}", wanted.join(" or "));
        let from = self.lines.len().saturating_sub(15);
        let tail: Vec<&str> = self.lines.iter().skip(from).map(|l| l.text.as_str()).collect();
        let tail = tail.join("\n");
        if self.closed {
            BoardError::EndedBefore { expected, tail }
        } else {
            BoardError::NotSeen { expected, waited, tail }
        }
    }
}

fn pump(mut stream: UnixStream, start: Instant, mut log: std::fs::File, shared: &(Mutex<State>, Condvar)) {
    let mut buffer = [0; 4096];
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(count) => count,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => 0,
        };
        // A full disk must not stop the board: the lines in memory are what tests look at.
        let _ = log.write_all(&buffer[..count]);
        let mut state = shared.0.lock().unwrap_or_else(|e| e.into_inner());
        state.take(&buffer[..count], start.elapsed());
        state.closed = count == 0;
        shared.1.notify_all();
        if count == 0 {
            return;
        }
    }
}

/// Drops what moves the cursor or colours the text: escape sequences and control characters.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\x1b' {
            let sequence = characters.next_if(|c| matches!(c, '[' | '('));
            if sequence.is_some() {
                while characters.next().is_some_and(|c| !c.is_ascii_alphabetic()) {}
            }
        } else if !character.is_control() || character == '\t' {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn patterns(texts: &[&str]) -> Vec<Regex> {
        texts.iter().map(|t| Regex::new(t).unwrap()).collect()
    }

    fn feed(stop: &Stop) -> (Feed, UnixStream, tempfile::TempDir) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let feed = Feed::read(ours, Instant::now(), &folder.path().join("log"), stop).unwrap();
        (feed, theirs, folder)
    }

    #[test]
    fn lines_are_waited_for_and_kept_in_the_log() {
        let (feed, mut theirs, folder) = feed(&Stop::default());
        theirs.write_all(b"\x1b[2J\x1b[01;01Hfirst\r\nsecond\nlogin: ").unwrap();
        let seen = feed.expect(&patterns(&["nothing", "^login: $"]), Duration::from_secs(5)).unwrap();
        assert_eq!((seen.pattern, seen.line.text.as_str()), (1, "login: "));
        assert_eq!(feed.find(&Regex::new("^first$").unwrap()).unwrap().text, "first");
        let mark = feed.mark();
        theirs.write_all(b"root\nfirst again\n").unwrap();
        let seen = feed.expect_after(mark, &patterns(&["first"]), Duration::from_secs(5)).unwrap();
        assert_eq!(seen.line.text, "first again");
        let log = file::read(&folder.path().join("log"), 1000).unwrap();
        assert!(log.starts_with(b"\x1b[2J"));
    }

    #[test]
    fn what_never_comes_is_an_error_that_shows_the_last_lines() {
        let (feed, mut theirs, _folder) = feed(&Stop::default());
        theirs.write_all(b"last words\n").unwrap();
        drop(theirs);
        let error = feed.expect(&patterns(&["ready"]), Duration::from_secs(5)).unwrap_err().to_string();
        assert!(error.contains("ended") && error.contains("`ready`") && error.contains("last words"), "{error}");
    }

    #[test]
    fn a_wish_to_stop_ends_a_wait() {
        let flag = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (feed, _theirs, _folder) = feed(&Stop::at(Arc::clone(&flag)));
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            flag.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let start = Instant::now();
        let error = feed.expect(&patterns(&["ready"]), Duration::from_secs(60)).unwrap_err();
        assert!(matches!(error, BoardError::Interrupted), "{error}");
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)) {
            let mut state = State::default();
            for chunk in &chunks {
                state.take(chunk, Duration::ZERO);
            }
            let ends = chunks.iter().flatten().filter(|b| **b == b'\n').count();
            prop_assert_eq!(state.lines.len(), ends);
        }
    }
}

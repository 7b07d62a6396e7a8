//! What an app tells the agent, by datagrams of sd_notify(3), to what it means.
//!
//! Invariant: each message is read with a limit; words that are not known mean nothing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

const LIMIT_BYTES: usize = 4096;
/// Read from one app before the others get their turn.
const LIMIT_MESSAGES: usize = 16;
const LIMIT_STATUS: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    Ready,
    Watchdog,
    Status(String),
    /// Asks for what needs a capability.
    Wish(Wish),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Reboot,
    /// Seconds since 1970.
    SetTime(u64),
    /// For this many seconds.
    DeferUpdates(u32),
}

/// How many wishes of an app are heard: a few at once, then one a second. Each is logged, and some lines of that go to a
/// serial console: one message alone has room for two hundred.
#[derive(Debug, Default)]
pub struct Allowance {
    used: u32,
    since: Duration,
}

const WISHES_AT_ONCE: u32 = 8;

impl Allowance {
    pub fn take(&mut self, now: Duration) -> bool {
        let seconds = now.saturating_sub(self.since).as_secs();
        if seconds > 0 {
            self.used = self.used.saturating_sub(u32::try_from(seconds).unwrap_or(u32::MAX));
            self.since = now;
        }
        let heard = self.used < WISHES_AT_ONCE;
        self.used += u32::from(heard);
        heard
    }
}

/// The agent's end.
#[derive(Debug)]
pub struct Notify(UnixDatagram);

impl Notify {
    /// Listens at `path`, which only the app's sandbox shows to anybody.
    pub fn listen(path: &Path) -> io::Result<Notify> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixDatagram::bind(path)?;
        socket.set_nonblocking(true)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
        Ok(Notify(socket))
    }

    /// What has been said since.
    pub fn take(&self) -> Vec<Word> {
        let mut words = Vec::new();
        let mut buffer = [0; LIMIT_BYTES];
        for _ in 0..LIMIT_MESSAGES {
            match self.0.recv(&mut buffer) {
                Ok(count) => words.extend(parse(&buffer[..count])),
                // Nothing more, or nothing that can be read: the next turn tries again.
                Err(_) => break,
            }
        }
        words
    }
}

impl AsFd for Notify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The assignments of one message, a line each.
pub fn parse(message: &[u8]) -> Vec<Word> {
    let text = String::from_utf8_lossy(&message[..message.len().min(LIMIT_BYTES)]);
    text.lines().filter_map(word).collect()
}

fn word(line: &str) -> Option<Word> {
    let (name, value) = line.split_once('=')?;
    Some(match (name, value) {
        ("READY", "1") => Word::Ready,
        ("WATCHDOG", "1") => Word::Watchdog,
        ("STATUS", text) => {
            let plain = text.chars().filter(|c| !c.is_control());
            Word::Status(plain.take(LIMIT_STATUS).collect())
        }
        ("X_OSBUILD_REBOOT", "1") => Word::Wish(Wish::Reboot),
        ("X_OSBUILD_SET_TIME", seconds) => Word::Wish(Wish::SetTime(seconds.parse().ok()?)),
        ("X_OSBUILD_DEFER_UPDATES", seconds) => Word::Wish(Wish::DeferUpdates(seconds.parse().ok()?)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_words_are_understood_and_others_mean_nothing() {
        let message = b"READY=1\nSTATUS=all \x07well\nMAINPID=1\nnonsense\nWATCHDOG=1\nX_OSBUILD_SET_TIME=7\nREADY=0";
        let wanted = [Word::Ready, Word::Status("all well".into()), Word::Watchdog, Word::Wish(Wish::SetTime(7))];
        assert_eq!(parse(message), wanted);
    }

    #[test]
    fn a_flood_of_wishes_is_heard_at_one_a_second() {
        let mut allowance = Allowance::default();
        let heard = (0..10_000).filter(|ms| allowance.take(Duration::from_millis(60_000 + ms))).count();
        assert_eq!(heard, 8 + 9);
        assert!(allowance.take(Duration::from_secs(80)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..5000), start in "(STATUS|READY|X_OSBUILD_SET_TIME)=") {
            let all = [start.as_bytes(), &bytes].concat();
            for word in parse(&all) {
                if let Word::Status(text) = word {
                    prop_assert!(text.chars().count() <= LIMIT_STATUS);
                }
            }
        }
    }
}

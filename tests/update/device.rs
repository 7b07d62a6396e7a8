//! A device of the test: what it says of its updates, and what it is told to do.
//!
//! Invariant: everything is asked of the running device itself, through the commands that people have.

use crate::command::guest::Guest;
use osbuild::tools::board::Mark;
use regex::Regex;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Two boots of an emulated machine on a busy host, and what comes between them.
pub const PATIENCE: Duration = Duration::from_secs(900);
/// A device that has just become ready may not yet listen.
const ATTEMPTS: u32 = 10;
/// After the version: a pattern with what it took.
const INSTALLED: &str = " is installed and starts next; that took ([0-9]+) KiB of memory";

pub struct Device<'a>(pub &'a mut Guest);

impl Device<'_> {
    /// What `osagent update status --json` says.
    pub fn status(&self) -> Value {
        let text = self.shell("osagent update status --json");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// What the agent says by itself since it is ready, without being asked.
    pub fn own_status(&self) -> Value {
        let start = Instant::now();
        loop {
            match self.0.board().status() {
                Some(status) if status["state"] == "ready" => return status,
                status => assert!(start.elapsed() < PATIENCE, "it says nothing: {status:?}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The slot and the version that run.
    pub fn runs(&self) -> (String, String) {
        let status = self.status();
        let text = |field: &str| status[field].as_str().unwrap_or_else(|| panic!("{status:#}")).to_owned();
        (text("slot"), text("version"))
    }

    /// Waits until no worker runs, then asks for `words` and waits for the result. One that restarts the device has none.
    pub fn ask(&self, words: &str) -> Value {
        self.rests();
        let text = self.shell(&format!("osagent update {words} --json || true"));
        // A reason follows for people.
        let result = serde_json::Deserializer::from_str(&text).into_iter().next();
        result.and_then(Result::ok).unwrap_or_else(|| panic!("no result: {text}"))
    }

    /// The device may just have begun to look for an update by itself.
    pub fn rests(&self) {
        let start = Instant::now();
        while self.status()["working"] != false {
            assert!(start.elapsed() < PATIENCE, "it does not end: {:#}", self.status());
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// Has an update installed if the device does not do so already; does not wait for it.
    pub fn begin(&self) {
        self.shell("osagent update install </dev/null >/dev/null 2>&1 &");
    }

    /// What `command` prints on the device.
    pub fn shell(&self, command: &str) -> String {
        for _ in 1..ATTEMPTS {
            let ended = self.0.shell(command);
            if ended.status == 0 {
                return ended.output;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        self.0.shell(command).succeeds().output
    }

    /// Waits until it has installed `version` and restarts. What that took of memory at most, in KiB.
    pub fn installs(&self, mark: Mark, version: &str) -> u64 {
        let line = self.says(mark, &format!("osagent: restarting: {}{INSTALLED}", regex::escape(version)));
        peaks_kib(&line)[0]
    }

    /// The same of everything that it has installed since it was switched on.
    pub fn peaks_kib(&self) -> Vec<u64> {
        peaks_kib(&self.0.board().console().text())
    }

    pub fn mark(&self) -> Mark {
        self.0.board().console().mark()
    }

    /// Waits for a line of the console with this text, after `mark`; a shell's prompt may stand before it.
    pub fn says_line(&self, mark: Mark, text: &str) -> String {
        self.says(mark, &regex::escape(text))
    }

    /// The same for a line that matches `pattern`.
    pub fn says(&self, mark: Mark, pattern: &str) -> String {
        let pattern = Regex::new(pattern).expect("a pattern");
        self.0.board().console().expect_after(mark, &[pattern], PATIENCE).expect("it says so").line.text
    }

    /// Waits until it is ready once more: after `mark` it was so in the slot on trial, too, if that came so far.
    pub fn is_ready(&self, mark: Mark) {
        self.says_line(mark, "osagent: ready in");
    }
}

fn peaks_kib(console: &str) -> Vec<u64> {
    let pattern = Regex::new(&format!("osagent: restarting: [0-9.]+{INSTALLED}")).expect("a pattern");
    pattern.captures_iter(console).map(|found| found[1].parse().expect("a number")).collect()
}

//! `osagent update ...` at a prompt of the device.
//!
//! Invariant: exit code 0 only when what was asked for was done; the reason is printed when it was not.

use super::client::{ask, complain, print};
use super::{Answer, Request, UpdateAction, SOCKET};
use serde_json::Value;
use std::process::ExitCode;
use std::time::Duration;

pub const USAGE: &str = "update status [--json] | update check [--from BASE] [--json]
               | update install [--from BASE] [--full] [--json] | update defer SECONDS [--json]";
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// `words` follow `update`; none: not understood.
pub fn run(words: &[&str]) -> Option<ExitCode> {
    let (json, words): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| **word == "--json");
    let json = !json.is_empty();
    let (full, words): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| **word == "--full");
    let full = !full.is_empty();
    let base = |base: &str| if base.starts_with('/') { format!("file://{base}") } else { base.to_owned() };
    let (command, from) = match words[..] {
        [command] => (command, None),
        [command, "--from", from] => (command, Some(base(from))),
        ["defer", seconds] => {
            return seconds.parse().ok().map(|seconds| begin(UpdateAction::Defer { seconds }, json));
        }
        _ => return None,
    };
    match (command, full, &from) {
        ("status", false, None) => Some(status(json)),
        ("check", false, _) => Some(begin(UpdateAction::Check { from }, json)),
        ("install", full, _) => Some(begin(UpdateAction::Install { from, full }, json)),
        _ => None,
    }
}

fn updates() -> Result<Value, ExitCode> {
    match ask(&Request::Updates) {
        Ok(Answer::Status(status)) => Ok(status),
        Ok(Answer::Refused(reason)) => Err(complain(&format!("osagent: {reason}"), 1)),
        Ok(Answer::Done) => Ok(Value::Null),
        Err(error) => Err(complain(&format!("osagent: cannot ask `{SOCKET}`: {error}"), 1)),
    }
}

fn status(json: bool) -> ExitCode {
    match updates() {
        Ok(status) if json => print(&format!("{status:#}\n")),
        Ok(status) => print(&super::text::updates(&status)),
        Err(code) => code,
    }
}

/// Begins it, and waits for what becomes of it.
fn begin(action: UpdateAction, json: bool) -> ExitCode {
    match ask(&Request::Update(action)) {
        Ok(Answer::Refused(reason)) => return complain(&format!("osagent: {reason}"), 1),
        Ok(_) => {}
        Err(error) => return complain(&format!("osagent: cannot ask `{SOCKET}`: {error}"), 1),
    }
    loop {
        std::thread::sleep(BETWEEN_LOOKS);
        let status = match updates() {
            Ok(status) => status,
            Err(code) => return code,
        };
        if status.pointer("/working").and_then(Value::as_bool) == Some(true) {
            continue;
        }
        let result = status.pointer("/result/result").and_then(Value::as_str).unwrap_or_default();
        let text = status.pointer("/text").and_then(Value::as_str).unwrap_or("nothing is known of it");
        if json {
            print(&format!("{:#}\n", status.pointer("/result").unwrap_or(&Value::Null)));
        }
        return match result {
            "failed" | "not-now" | "" => complain(&format!("osagent: {text}"), 1),
            _ if json => ExitCode::SUCCESS,
            _ => print(&format!("{text}\n")),
        };
    }
}

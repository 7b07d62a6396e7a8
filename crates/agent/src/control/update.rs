//! `osagent update ...` at a prompt of the device.
//!
//! Invariant: exit code 0 only when what was asked for was done; the reason is printed when it was not, as JSON where that was
//! asked for.

use super::client::{complain, print};
use super::{Answer, Request, UpdateAction, SOCKET};
use crate::update::report::Report;
use serde_json::{json, Value};
use std::process::ExitCode;
use std::time::Duration;

pub const USAGE: &str = "update status [--json] | update check [--from BASE] [--json]
               | update install [--from BASE] [--full] [--json] | update defer SECONDS [--json]";
/// Of a client that waits for what becomes of it.
pub const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// `words` follow `update`; none: not understood.
pub fn run(words: &[&str]) -> Option<ExitCode> {
    let (json, words): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| **word == "--json");
    let json = !json.is_empty();
    let (full, words): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| **word == "--full");
    let full = !full.is_empty();
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

/// A folder as a person names it, from where that person is; or a repository's address, as it is.
fn base(from: &str) -> String {
    if from.contains("://") {
        return from.to_owned();
    }
    // Nothing is known of a folder that is gone; the updater then says that there is none of that name.
    let path = std::path::absolute(from).unwrap_or_else(|_| from.into());
    format!("file://{}", path.display())
}

/// What was not done.
enum Not {
    /// By the agent, for this reason.
    Refused(String),
    Unreachable(std::io::Error),
}

impl Not {
    fn tell(&self, json: bool) -> ExitCode {
        let reason = match self {
            Not::Refused(reason) => reason.clone(),
            Not::Unreachable(error) => format!("cannot ask `{SOCKET}`: {error}"),
        };
        if json {
            print(&format!("{:#}\n", self.value(&reason)));
        }
        complain(&format!("osagent: {reason}"), 1)
    }

    fn value(&self, reason: &str) -> Value {
        let result = match self {
            Not::Refused(_) => "refused",
            Not::Unreachable(_) => "failed",
        };
        json!({ "result": result, "reason": reason })
    }
}

fn ask(request: &Request) -> Result<Answer, Not> {
    match super::client::ask(request) {
        Ok(Answer::Refused(reason)) => Err(Not::Refused(reason)),
        Ok(answer) => Ok(answer),
        Err(error) => Err(Not::Unreachable(error)),
    }
}

fn updates() -> Result<Value, Not> {
    ask(&Request::Updates).map(|answer| match answer {
        Answer::Status(status) => status,
        _ => Value::Null,
    })
}

fn status(json: bool) -> ExitCode {
    match updates() {
        Ok(status) if json => print(&format!("{status:#}\n")),
        Ok(status) => print(&super::text::updates(&status)),
        Err(not) => not.tell(json),
    }
}

fn at_once(result: &Value, json: bool) -> ExitCode {
    match serde_json::from_value::<Report>(result.clone()) {
        Ok(_) if json => print(&format!("{result:#}\n")),
        Ok(report) => print(&format!("{}\n", report.text())),
        Err(error) => complain(&format!("osagent: this answer is not understood: {error}"), 1),
    }
}

/// Begins it, and waits for what becomes of it.
fn begin(action: UpdateAction, json: bool) -> ExitCode {
    match ask(&Request::Update(action)) {
        // It is done, and what is under way goes on.
        Ok(Answer::Status(result)) => return at_once(&result, json),
        Ok(_) => {}
        Err(not) => return not.tell(json),
    }
    loop {
        std::thread::sleep(BETWEEN_LOOKS);
        let status = match updates() {
            Ok(status) => status,
            Err(not) => return not.tell(json),
        };
        let asked = status.pointer("/asked").unwrap_or(&Value::Null);
        // The policy may have begun something else by then.
        if asked.is_null() && status.pointer("/working").and_then(Value::as_bool) == Some(true) {
            continue;
        }
        if json {
            print(&format!("{asked:#}\n"));
        }
        return match serde_json::from_value::<Report>(asked.clone()) {
            Ok(report @ (Report::Failed { .. } | Report::NotNow { .. })) => {
                complain(&format!("osagent: {}", report.text()), 1)
            }
            Ok(_) if json => ExitCode::SUCCESS,
            Ok(report) => print(&format!("{}\n", report.text())),
            Err(_) => complain("osagent: nothing is known of it", 1),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_meant_from_where_somebody_is() {
        assert_eq!(base("https://updates.example/x"), "https://updates.example/x");
        assert_eq!(base("file:///data/stick"), "file:///data/stick");
        assert_eq!(base("/data/stick"), "file:///data/stick");
        let here = std::env::current_dir().expect("a folder");
        assert_eq!(base("stick"), format!("file://{}/stick", here.display()));
    }

    #[test]
    fn what_is_not_done_has_a_word_for_programs() {
        let refused = Not::Refused("2.0.0 is on trial".into());
        assert_eq!(refused.value("why"), json!({ "result": "refused", "reason": "why" }));
        let error = std::io::Error::from(std::io::ErrorKind::NotFound);
        assert_eq!(Not::Unreachable(error).value("why")["result"], "failed");
    }
}

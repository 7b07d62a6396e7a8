//! The agent asked from outside: `/run/osagent.sock`, one request and one answer per connection, as JSON lines.
//!
//! Invariant: only root reaches the socket; a client that is slow or silent holds nobody up but other clients.

mod apps;
pub mod client;
pub mod server;
pub mod status;
mod text;
pub mod update;

use serde::{Deserialize, Serialize};

pub const SOCKET: &str = "/run/osagent.sock";
/// Of a request.
/// A capability token is the longest part.
const LIMIT_BYTES: usize = 16 * 1024;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    Status,
    Restart {
        service: String,
    },
    /// All apps, as JSON.
    Apps,
    App {
        id: String,
        action: AppAction,
    },
    /// A file of [`crate::apps::install::INCOMING`], and the envelope of a capability token.
    Install {
        file: String,
        token: Option<String>,
    },
    /// What is known of updates, as JSON.
    Updates,
    /// Begins it; [`Request::Updates`] says what has become of it.
    Update(UpdateAction),
    Reboot,
    PowerOff,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "lowercase", deny_unknown_fields)]
pub enum UpdateAction {
    Check {
        from: Option<String>,
    },
    Install {
        /// Base of a repository, rather than the configured one.
        from: Option<String>,
        /// Consents to a full download.
        full: bool,
    },
    Defer {
        seconds: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AppAction {
    Start,
    Stop,
    Restart,
    /// Only one that was installed.
    Remove,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    Status(serde_json::Value),
    Done,
    Refused(String),
}

impl Request {
    /// One line, with or without its end; the answer says what is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Request, Answer> {
        serde_json::from_slice(line).map_err(|error| Answer::Refused(format!("this is not a request: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_one_form_each() {
        for (text, wanted) in [
            (r#"{"command":"status"}"#, Some(Request::Status)),
            (r#"{"command":"restart","service":"web"}"#, Some(Request::Restart { service: "web".into() })),
            (r#"{"command":"poweroff"}"#, Some(Request::PowerOff)),
            (r#"{"command":"updates"}"#, Some(Request::Updates)),
            (
                r#"{"command":"update","action":"install","from":null,"full":true}"#,
                Some(Request::Update(UpdateAction::Install { from: None, full: true })),
            ),
            (r#"{"command":"update","action":"format"}"#, None),
            (r#"{"command":"shell"}"#, None),
            (r#"{"command":"restart"}"#, None),
            ("", None),
        ] {
            assert_eq!(Request::parse(text.as_bytes()).ok(), wanted, "{text}");
        }
    }
}

//! A message in, the signature that another program makes of it out.
//!
//! Invariant: the program gets a limited time and room, and nothing of what it writes is believed: the caller verifies it.

use super::PublicKey;
use crate::io::command::{self, CommandError};
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use serde::Deserialize;
use serde_json::json;
use std::process::Command;
use std::time::Duration;

/// A signature of RSA-4096 has 512 bytes, in base64 some more.
const LIMIT_SIGNATURE_BYTES: usize = 4096;
/// A person may have to touch a token.
const DEFAULT_SECONDS: u64 = 120;
/// A day: for whoever is asked may be asleep.
const LIMIT_SECONDS: u64 = 86_400;

#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Form")]
pub struct External {
    argv: Vec<String>,
    input: Input,
    seconds: u64,
}

/// `["PROGRAM", "ARGUMENT"]`, or the same with options.
#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Argv(Vec<String>),
    Options(Options),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    argv: Vec<String>,
    #[serde(default)]
    input: Input,
    seconds: Option<u64>,
}

/// What the program reads from its standard input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Input {
    /// What is to be signed, as it is; the signature comes back as it is.
    #[default]
    Message,
    /// `{"key", "algorithm", "message"}` with the message in base64; the signature comes back in base64.
    Json,
}

impl TryFrom<Form> for External {
    type Error = String;

    fn try_from(form: Form) -> Result<External, String> {
        Ok(match form {
            Form::Argv(argv) => External { argv, input: Input::Message, seconds: DEFAULT_SECONDS },
            Form::Options(Options { argv, input, seconds }) => {
                External { argv, input, seconds: seconds.unwrap_or(DEFAULT_SECONDS) }
            }
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ExternalError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("what the program wrote is not base64")]
    Base64(#[from] base64::DecodeError),
}

impl External {
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let in_time = (1..=LIMIT_SECONDS).contains(&self.seconds);
        match self.argv.first().is_some_and(|program| !program.is_empty()) && in_time {
            true => Ok(()),
            false => Err("it names no program, or gives it no time or more than a day"),
        }
    }

    pub(super) fn sign(&self, name: &str, public: &PublicKey, message: &[u8]) -> Result<Vec<u8>, ExternalError> {
        let (program, args) = self.argv.split_first().map_or(("", &[][..]), |(program, args)| (program, args));
        let mut command = Command::new(program);
        command.args(args).env("OSBUILD_SIGN_KEY", name).env("OSBUILD_SIGN_ALGORITHM", public.algorithm());
        let input = match self.input {
            Input::Message => message.to_vec(),
            Input::Json => {
                let request =
                    json!({"key": name, "algorithm": public.algorithm(), "message": STANDARD.encode(message)});
                request.to_string().into_bytes()
            }
        };
        let output = command::answer(&mut command, &input, LIMIT_SIGNATURE_BYTES, Duration::from_secs(self.seconds))?;
        match self.input {
            Input::Message => Ok(output),
            Input::Json => Ok(STANDARD.decode(output.trim_ascii())?),
        }
    }
}

//! `osagent COMMAND` at a prompt of the device: asks the agent that is PID 1.
//!
//! Invariant: exit code 0 only when the request was done; 2 when it was not understood.

use super::{apps, text, update, Answer, Request, SOCKET};
use crate::log;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);
const LIMIT_BYTES: u64 = 1 << 20;
const USAGE: &str = "usage: osagent status [--json] | log | restart SERVICE | reboot | poweroff";

fn usage() -> String {
    format!("{USAGE}\n       osagent {}\n       osagent {}", apps::USAGE, update::USAGE)
}

pub fn run(words: &[&str]) -> ExitCode {
    let request = match words[..] {
        ["status"] | ["status", "--json"] => Request::Status,
        ["log"] => return show_log(),
        ["update", ref words @ ..] => return update::run(words).unwrap_or_else(|| complain(&usage(), 2)),
        ["restart", service] => Request::Restart { service: service.to_owned() },
        ["reboot"] => Request::Reboot,
        ["poweroff"] => Request::PowerOff,
        ["app", ref words @ ..] => return apps::run(words).unwrap_or_else(|| complain(&usage(), 2)),
        _ => return complain(&usage(), 2),
    };
    match ask(&request) {
        Ok(Answer::Status(status)) => show(&status, words.contains(&"--json")),
        Ok(Answer::Done) => ExitCode::SUCCESS,
        Ok(Answer::Refused(reason)) => complain(&format!("osagent: {reason}"), 1),
        Err(error) => complain(&format!("osagent: cannot ask `{SOCKET}`: {error}"), 1),
    }
}

pub fn ask(request: &Request) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(SOCKET)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(LIMIT_BYTES)).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}

fn show(status: &Value, json: bool) -> ExitCode {
    print(&if json { format!("{status:#}\n") } else { text::render(status) })
}

pub fn print(text: &str) -> ExitCode {
    // A reader that has gone away, such as `head`, has seen enough.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn show_log() -> ExitCode {
    for path in log::own_files() {
        match crate::file::open(&path) {
            Ok(mut file) => drop(io::copy(&mut file, &mut io::stdout())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return complain(&format!("osagent: cannot read `{}`: {error}", path.display()), 1),
        }
    }
    ExitCode::SUCCESS
}

pub fn complain(text: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::from(code)
}

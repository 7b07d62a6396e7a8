//! `osagent app ...` at a prompt of the device.
//!
//! Invariant: a file that is brought is checked whole before the agent is asked to take it; what it cannot be is said
//! here, what it may not be by the agent.

use super::client::{ask, complain, print};
use super::{text, Answer, AppAction, Request};
use crate::apps::install::INCOMING;
use crate::apps::package::check_whole;
use crate::error::{chain, AgentError, Doing};
use crate::{file, log};
use osbuild_format::app::{is_app_id, package, token, Manifest, PAYLOAD_TYPE};
use osbuild_format::dsse;
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

pub const USAGE: &str =
    "app list|status [ID] [--json] | app start|stop|restart|remove ID | app logs ID [--json] [--follow]
               | app install FILE|- [--token FILE] | app device";
/// No app's file is longer.
const LIMIT_FILE_BYTES: u64 = 4 << 30;
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// `words` follow `app`; none: not understood.
pub fn run(words: &[&str]) -> Option<ExitCode> {
    let (json, words): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| **word == "--json");
    let json = !json.is_empty();
    Some(match words[..] {
        ["list"] => listed(json, None),
        ["status"] => listed(json, None),
        ["status", id] => listed(json, Some(id)),
        ["start", id] => act(id, AppAction::Start),
        ["stop", id] => act(id, AppAction::Stop),
        ["restart", id] => act(id, AppAction::Restart),
        ["remove", id] => act(id, AppAction::Remove),
        ["logs", id] => logs(id, json, false),
        ["logs", id, "--follow"] | ["logs", "--follow", id] => logs(id, json, true),
        ["install", file] => install(file, None),
        ["install", file, "--token", token] | ["install", "--token", token, file] => install(file, Some(token)),
        ["device"] => device(),
        _ => return None,
    })
}

fn listed(json: bool, id: Option<&str>) -> ExitCode {
    let all = match ask(&Request::Apps) {
        Ok(Answer::Status(all)) => all,
        Ok(Answer::Refused(reason)) => return complain(&format!("osagent: {reason}"), 1),
        Ok(Answer::Done) => Value::Null,
        Err(error) => return unreachable_agent(&error),
    };
    let shown = match id {
        None => Some(&all),
        Some(id) => all.get(id),
    };
    let Some(shown) = shown else {
        return complain(&format!("osagent: there is no app `{}`", id.unwrap_or_default()), 1);
    };
    match (json, id) {
        (true, _) => print(&format!("{shown:#}\n")),
        (false, None) => print(&text::apps(shown)),
        (false, Some(_)) => print(&text::app(shown)),
    }
}

fn act(id: &str, action: AppAction) -> ExitCode {
    answered(ask(&Request::App { id: id.to_owned(), action }))
}

fn answered(answer: io::Result<Answer>) -> ExitCode {
    match answer {
        Ok(Answer::Refused(reason)) => complain(&format!("osagent: {reason}"), 1),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => unreachable_agent(&error),
    }
}

fn unreachable_agent(error: &io::Error) -> ExitCode {
    complain(&format!("osagent: cannot ask `{}`: {error}", super::SOCKET), 1)
}

fn device() -> ExitCode {
    match ask(&Request::Status) {
        Ok(Answer::Status(status)) => {
            print(&format!("{}\n", status.get("device_id").and_then(Value::as_str).unwrap_or_default()))
        }
        Ok(_) => complain("osagent: the agent did not understand", 1),
        Err(error) => unreachable_agent(&error),
    }
}

fn logs(id: &str, json: bool, follow: bool) -> ExitCode {
    if !is_app_id(id) {
        return complain(&format!("osagent: this is not the id of an app: `{id}`"), 2);
    }
    let [previous, current] = log::app_files(id);
    let mut known = false;
    for path in [&previous, &current] {
        match file::open(path) {
            Ok(file) => {
                known = true;
                if show(&mut BufReader::new(file), json).is_err() {
                    return ExitCode::SUCCESS;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return complain(&format!("osagent: cannot read `{}`: {error}", path.display()), 1),
        }
    }
    match (known, follow) {
        (false, _) => complain(&format!("osagent: there is no app `{id}`, or it has written nothing yet"), 1),
        (true, false) => ExitCode::SUCCESS,
        (true, true) => follow_log(&current, json),
    }
}

/// Until the reader goes away.
fn follow_log(path: &Path, json: bool) -> ExitCode {
    let open = || file::open(path).map(BufReader::new);
    let Ok(mut reader) = open() else { return ExitCode::FAILURE };
    if io::copy(&mut reader, &mut io::sink()).is_err() {
        return ExitCode::FAILURE;
    }
    loop {
        if show(&mut reader, json).is_err() {
            return ExitCode::SUCCESS;
        }
        std::thread::sleep(BETWEEN_LOOKS);
        // A full file was renamed, and a new one begun.
        if let Some(next) = replaced(reader.get_ref(), path) {
            if show(&mut reader, json).is_err() {
                return ExitCode::SUCCESS;
            }
            reader = BufReader::new(next);
        }
    }
}

fn replaced(open: &File, path: &Path) -> Option<File> {
    use std::os::unix::fs::MetadataExt;
    let next = file::open(path).ok()?;
    (next.metadata().ok()?.ino() != open.metadata().ok()?.ino()).then_some(next)
}

/// An error means that nobody reads any more.
fn show(lines: &mut impl BufRead, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        match json {
            true => out.write_all(line.as_bytes())?,
            false => out.write_all(text::log_line(&line).as_bytes())?,
        }
        line.clear();
    }
    out.flush()
}

fn install(file: &str, token: Option<&str>) -> ExitCode {
    let request = token.map(read_token).transpose().and_then(|token| {
        let incoming = bring(file)?;
        Ok(Request::Install { file: incoming, token })
    });
    match request {
        Ok(request) => answered(ask(&request)),
        Err(error) => complain(&format!("osagent: {}", chain(&error)), 1),
    }
}

fn read_token(path: &str) -> Result<String, AgentError> {
    let bytes = file::read(path, token::LIMIT_BYTES).doing(|| format!("read the capability token `{path}`"))?;
    String::from_utf8(bytes).map_err(|_| AgentError::Wrong(format!("`{path}` is not a capability token")))
}

/// Copies the file to where the agent looks, and gives its name there.
fn bring(from: &str) -> Result<String, AgentError> {
    std::fs::create_dir_all(INCOMING).doing(|| format!("make the folder `{INCOMING}`"))?;
    let name = format!("upload-{}", std::process::id());
    let path = Path::new(INCOMING).join(&name);
    let brought = copy(from, &path).and_then(|()| check(&path));
    if brought.is_err() {
        // The agent sweeps what is left.
        let _ = std::fs::remove_file(&path);
    }
    brought.map(|()| name)
}

fn copy(from: &str, to: &PathBuf) -> Result<(), AgentError> {
    let doing = || format!("copy `{from}` to `{}`", to.display());
    let mut source: Box<dyn Read> = match from {
        "-" => Box::new(io::stdin()),
        path => Box::new(file::open(path).doing(doing)?),
    };
    let mut target = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to).doing(doing)?;
    let copied = io::copy(&mut source.by_ref().take(LIMIT_FILE_BYTES + 1), &mut target).doing(doing)?;
    if copied > LIMIT_FILE_BYTES {
        return Err(AgentError::Wrong(format!("`{from}` has more than {LIMIT_FILE_BYTES} bytes")));
    }
    target.sync_all().doing(doing)
}

/// Whether the file is whole; who signed it, the agent asks.
fn check(path: &Path) -> Result<(), AgentError> {
    let wrong =
        |error: &dyn std::error::Error| AgentError::Wrong(format!("this is not an app's file: {}", chain(error)));
    let opened = file::open(path).doing(|| format!("open `{}`", path.display()))?;
    let length = opened.metadata().doing(|| format!("look at `{}`", path.display()))?.len();
    let head = usize::try_from(package::IMAGE_OFFSET.min(length)).unwrap_or(0);
    let head = file::read_at(&opened, 0, head).doing(|| format!("read `{}`", path.display()))?;
    let envelope = package::envelope(&head).map_err(|error| wrong(&error))?;
    let payload = dsse::read_vouched(envelope, PAYLOAD_TYPE).map_err(|error| wrong(&error))?;
    let manifest = Manifest::from_json(&payload).map_err(|error| wrong(&error))?;
    package::check_size(&manifest, length).map_err(|error| wrong(&error))?;
    check_whole(&opened, &manifest)
}

//! Checks against a running board: each probe is repeated until it holds or its time is over.
//!
//! Invariant: a failed check says what was wanted and what was there; it never ends the others.

use super::super::ssh::Ssh;
use super::super::{Board, BoardError, Mark, Seen, ToolRoot};
use super::spec::{Check, Probe};
use super::Outcome;
use crate::io::file;
use regex::Regex;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How ssh checks log in.
#[derive(Clone, Debug)]
pub struct SshAccess {
    /// Private key in a format that OpenSSH reads.
    pub key: PathBuf,
}

/// What probes need besides the board.
pub struct Bench<'a> {
    pub tools: &'a ToolRoot,
    pub ssh: Option<&'a SshAccess>,
}

const BETWEEN_TRIES: Duration = Duration::from_millis(100);
const TYPED_PATIENCE: Duration = Duration::from_secs(3);
const SSH_PATIENCE: Duration = Duration::from_secs(30);

/// Runs one check to its outcome.
pub fn run(board: &Board, bench: &Bench, check: &Check) -> Outcome {
    let start = Instant::now();
    let objection = loop {
        let left = check.within.saturating_sub(start.elapsed());
        let objection = match try_once(board, bench, &check.probe, left) {
            Ok(objection) => objection,
            Err(error) => Some(with_causes(&error)),
        };
        // A line that was said once stays said: waiting helps no check that forbids it.
        let hopeless = matches!(check.probe, Probe::ConsoleNever(_) | Probe::TypedInVain { .. });
        let stopped = bench.tools.stop().check().is_err();
        if objection.is_none() || hopeless || stopped || start.elapsed() + BETWEEN_TRIES >= check.within {
            break objection;
        }
        std::thread::sleep(BETWEEN_TRIES);
    };
    Outcome { suite: check.suite.clone(), name: check.name.clone(), objection, took: start.elapsed() }
}

/// None: it holds now; otherwise what is wrong.
fn try_once(board: &Board, bench: &Bench, probe: &Probe, left: Duration) -> Result<Option<String>, BoardError> {
    match probe {
        Probe::Status { pointer, wanted } => Ok(match board.status() {
            Some(status) => wanted.objection(status.pointer(pointer)).map(|wrong| format!("`{pointer}`: {wrong}")),
            None => Some("the agent has sent no status".to_owned()),
        }),
        Probe::Console(pattern) => board.expect_console(std::slice::from_ref(pattern), left).map(|_| None),
        Probe::ConsoleNever(pattern) => {
            Ok(board.console().find(pattern).map(|line| format!("the console showed `{}`", line.text)))
        }
        Probe::Connect { network, guest_port, says } => Ok(match host_port(board, *network, *guest_port) {
            Ok(port) => connect(port, *guest_port, says.as_ref()),
            Err(objection) => Some(objection),
        }),
        Probe::Refuses { network, guest_port } => Ok(match host_port(board, *network, *guest_port) {
            Ok(port) => greeting(port).map(|_| format!("port {guest_port} accepts connections")),
            Err(objection) => Some(objection),
        }),
        Probe::Serial { number, writes, says } => serial(board, *number, writes.as_deref(), says.as_ref(), left),
        Probe::Ssh { user, command, prints } => ssh(board, bench, user, command, prints.as_ref()),
        Probe::Typed { line, shows } => typed(board, line, shows, left.min(TYPED_PATIENCE)).map(|_| None),
        Probe::TypedInVain { line, never_shows } => match typed(board, line, never_shows, TYPED_PATIENCE) {
            Ok(seen) => Ok(Some(format!("the console showed `{}`", seen.line.text))),
            Err(BoardError::NotSeen { .. }) => Ok(None),
            Err(error) => Err(error),
        },
    }
}

fn typed(board: &Board, line: &str, shows: &Regex, patience: Duration) -> Result<Seen, BoardError> {
    let mark = board.console().mark();
    board.console().send(&format!("{line}\n"))?;
    board.console().expect_after(mark, std::slice::from_ref(shows), patience)
}

fn serial(
    board: &Board,
    number: usize,
    writes: Option<&str>,
    says: Option<&Regex>,
    left: Duration,
) -> Result<Option<String>, BoardError> {
    let Some(port) = board.serial(number) else {
        return Ok(Some(format!("the machine's `board: serial-ports:` has no number {number}")));
    };
    let (mark, patience) = match writes {
        Some(line) => {
            let mark = port.mark();
            port.send(&format!("{line}\n"))?;
            // A guest that was not ready to read it is asked again.
            (mark, left.min(TYPED_PATIENCE))
        }
        None => (Mark::default(), left),
    };
    says.map_or(Ok(None), |says| port.expect_after(mark, std::slice::from_ref(says), patience).map(|_| None))
}

fn host_port(board: &Board, network: usize, guest_port: u16) -> Result<u16, String> {
    let place = match network {
        0 => "`board: forwards:`".to_owned(),
        number => format!("`forwards` of network {number}"),
    };
    board.forward_on(network, guest_port).ok_or_else(|| format!("the machine's {place} has no port {guest_port}"))
}

/// What the guest says first on the port; none when nothing listens there.
fn greeting(port: u16) -> Option<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(3))).ok()?;
    let mut buffer = [0; 512];
    match stream.read(&mut buffer) {
        // QEMU accepts for the guest and hangs up when the guest refuses.
        Ok(0) => None,
        Ok(count) => Some(String::from_utf8_lossy(&buffer[..count]).into_owned()),
        Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
            Some(String::new())
        }
        Err(_) => None,
    }
}

fn connect(port: u16, guest_port: u16, says: Option<&Regex>) -> Option<String> {
    match (greeting(port), says) {
        (None, _) => Some(format!("nothing listens at port {guest_port}")),
        (Some(text), Some(pattern)) if !pattern.is_match(&text) => {
            Some(format!("port {guest_port} said `{}`, wanted a match of `{pattern}`", text.trim_end()))
        }
        _ => None,
    }
}

fn ssh(
    board: &Board,
    bench: &Bench,
    user: &str,
    command: &str,
    prints: Option<&Regex>,
) -> Result<Option<String>, BoardError> {
    let port = match host_port(board, 0, 22) {
        Ok(port) => port,
        Err(objection) => return Ok(Some(objection)),
    };
    let Some(access) = bench.ssh else {
        return Ok(Some("no ssh key was given for this product".to_owned()));
    };
    let folder = &board.state().folder;
    let log = folder.join("ssh.log");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let client = Ssh { user: user.to_owned(), address, key: access.key.clone(), known_hosts: None };
    if let Err(error) = bench.tools.run(client.launch(command, folder, None, Some(log.clone()))?, SSH_PATIENCE) {
        return Ok(Some(with_causes(&error)));
    }
    let printed = file::read_text(&log)?;
    Ok(match prints {
        Some(pattern) if !pattern.is_match(printed.trim_end()) => {
            Some(format!("it printed `{}`, wanted a match of `{pattern}`", printed.trim_end()))
        }
        _ => None,
    })
}

/// An error and what caused it, on one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

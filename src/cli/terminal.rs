//! A sandboxed program on a pseudo-terminal, joined to the terminal of this process.
//!
//! The program has a terminal of its own: Ctrl-C, job control and the size of the window are its business, and it
//! cannot put words into ours. Invariant: however the program ends, our terminal is as it was.

use super::interrupt;
use super::report::Failure;
use super::session::Session;
use crate::exec::local::Workshop;
use crate::exec::{ExecError, TaskError};
use crate::plan::task::Task;
use osbuild_sys::sandbox::{Child, Stdio};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::pty::{grantpt, ioctl_tiocgptpeer, openpt, unlockpt, OpenptFlags};
use rustix::stdio::{stderr, stdin};
use rustix::termios::{isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize, OptionalActions, Termios};
use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::process::ExitStatus;

/// How often the size of the window and the end of the program are looked at.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
const BUFFER_BYTES: usize = 16 << 10;

/// Whether a person sits in front of us. Standard output may well be a file: the program draws on standard error.
pub fn is_here() -> bool {
    isatty(stdin()) && isatty(stderr())
}

/// Runs `argv` in the sandbox; returns how it ended, or with what the user interrupted us.
pub fn run(session: &Session, workshop: &Workshop, task: &Task, argv: Vec<String>) -> Result<ExitStatus, Failure> {
    let failed = |error: Errno| Failure::new(format!("cannot use the terminal: {error}"));
    let kind = std::env::var("TERM").ok().filter(|kind| !kind.is_empty()).unwrap_or_else(|| "xterm".to_owned());
    let (master, slave) = open().map_err(failed)?;
    let copy = || slave.try_clone().map(|slave| Stdio::File(File::from(slave)));
    let streams = || Ok([copy()?, copy()?, copy()?]);
    let mut child = workshop.spawn(task, argv, streams().map_err(TaskError::Wait)?, Some(&kind))?;
    // The program's copies alone keep it open, so that its end is seen.
    drop(slave);
    let raw = Raw::enter().map_err(failed)?;
    let relayed = relay(&master, &mut child, || session.interrupted());
    drop(raw);
    match relayed.map_err(failed)? {
        true => Ok(child.wait().map_err(TaskError::Wait)?),
        false => Err(Failure { exit: interrupt::EXIT, ..ExecError::Interrupted.into() }),
    }
}

/// A pseudo-terminal that looks and measures like ours.
fn open() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    tcsetattr(&slave, OptionalActions::Now, &tcgetattr(stdin())?)?;
    tcsetwinsize(&master, tcgetwinsize(stdin())?)?;
    Ok((master, slave))
}

/// Our terminal passing every key on as it is.
struct Raw(Termios);

impl Raw {
    fn enter() -> Result<Raw, Errno> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Drain, &raw)?;
        Ok(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &self.0);
    }
}

/// Carries keys in and the screen out until the program ends, or `interrupted` (then the answer is false).
fn relay(master: &OwnedFd, child: &mut Child, interrupted: impl Fn() -> bool) -> Result<bool, Errno> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut keys: Vec<u8> = Vec::new();
    loop {
        // Looked at before the last of the screen is read, so that nothing is left behind.
        let ended = child.try_wait().map_err(|_| Errno::CHILD)?.is_some();
        if interrupted() {
            return Ok(false);
        }
        let size = tcgetwinsize(stdin())?;
        if tcgetwinsize(master)? != size {
            tcsetwinsize(master, size)?;
        }
        // While keys wait for the program no more are read; its screen always is, so neither waits for ever.
        let ready = if keys.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
        let mut watched = [PollFd::new(master, ready), PollFd::from_borrowed_fd(stdin(), PollFlags::IN)];
        let watched = if keys.is_empty() { &mut watched[..] } else { &mut watched[..1] };
        let pause = if ended { Timespec { tv_sec: 0, tv_nsec: 0 } } else { PAUSE };
        match poll(watched, Some(&pause)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let seen: Vec<PollFlags> = watched.iter().map(PollFd::revents).collect();
        if seen[0].intersects(PollFlags::IN | PollFlags::HUP) {
            match rustix::io::read(master, &mut buffer) {
                Ok(length) if length > 0 => write_all(stderr(), &buffer[..length])?,
                // The program has closed its side: it ends now.
                Ok(_) | Err(Errno::IO) => return Ok(true),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(error),
            }
        } else if ended {
            return Ok(true);
        }
        if seen[0].contains(PollFlags::OUT) {
            let written = rustix::io::write(master, &keys)?;
            keys.drain(..written);
        }
        if seen.get(1).is_some_and(|seen| !seen.is_empty()) {
            match rustix::io::read(stdin(), &mut buffer) {
                Ok(length) if length > 0 => keys.extend(&buffer[..length]),
                Err(Errno::INTR | Errno::AGAIN) => {}
                // Our terminal is gone, and with it the person.
                Ok(_) | Err(_) => return Ok(false),
            }
        }
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

//! A path in, bytes both ways out: a terminal device made raw at 115200 baud, or a socket.
//!
//! Invariant: while bytes wait to go out, what comes in is taken, so neither side waits for ever; a terminal is left as it
//! was found.

use super::SerialError;
use crate::tools::board::Stop;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::{fcntl_getfl, fcntl_setfl, flock, open, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::{ioctl_tiocexcl, ioctl_tiocnxcl, isatty, tcgetattr, tcsetattr};
use rustix::termios::{ControlModes, OptionalActions, SpecialCodeIndex, Termios};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const BAUD: u32 = 115_200;
/// How often a wait looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);
const BUFFER_BYTES: usize = 16 << 10;

pub struct Wire {
    path: PathBuf,
    line: OwnedFd,
    /// How the terminal was; none of a socket.
    before: Option<Termios>,
    stop: Stop,
}

impl Wire {
    pub fn open(path: &Path, stop: &Stop) -> Result<Wire, SerialError> {
        let failed = |source: std::io::Error| SerialError::Open { path: path.to_owned(), source };
        let kind = rustix::fs::stat(path).map_err(|errno| failed(errno.into()))?.st_mode;
        match FileType::from_raw_mode(kind) {
            FileType::Socket => Wire::over(UnixStream::connect(path).map_err(failed)?, path, stop),
            FileType::CharacterDevice => Wire::terminal(path, stop),
            _ => Err(SerialError::NoLine(path.to_owned())),
        }
    }

    /// A stream that is open already; `path` is what messages call it.
    pub fn over(stream: UnixStream, path: &Path, stop: &Stop) -> Result<Wire, SerialError> {
        let failed = |source: std::io::Error| SerialError::Open { path: path.to_owned(), source };
        stream.set_nonblocking(true).map_err(failed)?;
        Ok(Wire { path: path.to_owned(), line: stream.into(), before: None, stop: stop.clone() })
    }

    fn terminal(path: &Path, stop: &Stop) -> Result<Wire, SerialError> {
        let failed = |errno: Errno| match errno {
            // Somebody has it for themselves.
            Errno::BUSY | Errno::AGAIN => SerialError::Busy(path.to_owned()),
            _ => SerialError::Open { path: path.to_owned(), source: errno.into() },
        };
        // It must neither wait for a modem's carrier nor become the terminal that rules this process.
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let line = open(path, flags, Mode::empty()).map_err(failed)?;
        if !isatty(&line) {
            return Err(SerialError::NoLine(path.to_owned()));
        }
        // The ways in which terminal programs keep others out: both are kept, and heeded.
        flock(&line, FlockOperation::NonBlockingLockExclusive).map_err(failed)?;
        let before = tcgetattr(&line).map_err(failed)?;
        ioctl_tiocexcl(&line).map_err(failed)?;
        let mut wire = Wire { path: path.to_owned(), line, before: None, stop: stop.clone() };
        let raw = raw(&before).map_err(failed)?;
        wire.before = Some(before);
        tcsetattr(&wire.line, OptionalActions::Now, &raw).map_err(failed)?;
        fcntl_setfl(&wire.line, fcntl_getfl(&wire.line).map_err(failed)? | OFlags::NONBLOCK).map_err(failed)?;
        Ok(wire)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sends what it can of `out`, which becomes shorter, and takes what is there, for at most `patience`; comes back as
    /// soon as something came in or all is out. False when nothing moved.
    pub fn exchange(&self, out: &mut &[u8], into: &mut Vec<u8>, patience: Duration) -> Result<bool, SerialError> {
        let start = Instant::now();
        loop {
            self.stop.check().map_err(|_| SerialError::Interrupted)?;
            let left = patience.saturating_sub(start.elapsed());
            let ready = self.wait(!out.is_empty(), left.min(LOOK))?;
            let mut moved = false;
            if ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                moved |= self.take(into)?;
            }
            if ready.contains(PollFlags::OUT) {
                moved |= self.give(out)?;
            }
            if moved || left.is_zero() {
                return Ok(moved);
            }
        }
    }

    fn wait(&self, writes: bool, patience: Duration) -> Result<PollFlags, SerialError> {
        let wanted = if writes { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut watched = [PollFd::new(&self.line, wanted)];
        let patience = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
        match poll(&mut watched, Some(&patience)) {
            Ok(_) => Ok(watched[0].revents()),
            Err(Errno::INTR) => Ok(PollFlags::empty()),
            Err(errno) => Err(self.failed(errno)),
        }
    }

    fn take(&self, into: &mut Vec<u8>) -> Result<bool, SerialError> {
        let mut buffer = [0; BUFFER_BYTES];
        match rustix::io::read(&self.line, &mut buffer) {
            // An adapter that was pulled out, or a pseudo-terminal without its program, has no more than an end.
            Ok(0) | Err(Errno::IO) => Err(SerialError::Closed(self.path.clone())),
            Ok(length) => {
                into.extend_from_slice(&buffer[..length]);
                Ok(true)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(errno) => Err(self.failed(errno)),
        }
    }

    fn give(&self, out: &mut &[u8]) -> Result<bool, SerialError> {
        match rustix::io::write(&self.line, out) {
            Ok(length) => {
                *out = &out[length..];
                Ok(length > 0)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(Errno::PIPE | Errno::IO) => Err(SerialError::Closed(self.path.clone())),
            Err(errno) => Err(self.failed(errno)),
        }
    }

    /// Sends what goes at once, whatever is wished: for last words.
    pub fn part(&self, words: &[u8]) {
        // The line may be gone, and then nothing is left to be told.
        let _ = rustix::io::write(&self.line, words);
    }

    fn failed(&self, errno: Errno) -> SerialError {
        SerialError::Talk { path: self.path.clone(), source: errno.into() }
    }
}

/// 115200 baud, eight bits, no parity, one stop bit, no flow control, no modem's lines.
fn raw(before: &Termios) -> Result<Termios, Errno> {
    let mut raw = before.clone();
    raw.make_raw();
    raw.control_modes -= ControlModes::CSTOPB | ControlModes::CRTSCTS;
    raw.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
    raw.special_codes[SpecialCodeIndex::VMIN] = 1;
    raw.special_codes[SpecialCodeIndex::VTIME] = 0;
    raw.set_speed(BAUD)?;
    Ok(raw)
}

impl Drop for Wire {
    fn drop(&mut self) {
        // A line that is gone needs nothing.
        if let Some(before) = &self.before {
            let _ = tcsetattr(&self.line, OptionalActions::Drain, before);
            let _ = ioctl_tiocnxcl(&self.line);
        }
    }
}

//! The socket's end in PID 1: a thread that takes requests in and hands each to the main loop.
//!
//! Invariant: the main loop alone decides and answers; this thread only waits, reads and writes.

use super::{Answer, Request, LIMIT_BYTES, SOCKET};
use crate::error::{AgentError, Doing};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(2);

/// A request, and where its answer goes.
pub struct Asked {
    pub request: Request,
    pub answer: Sender<Answer>,
}

/// The main loop's side.
pub struct Requests {
    queue: Receiver<Asked>,
    bell: File,
}

struct Porter {
    listener: UnixListener,
    queue: Sender<Asked>,
    bell: File,
}

pub fn start() -> Result<Requests, AgentError> {
    let doing = || format!("listen at `{SOCKET}`");
    let listener = UnixListener::bind(SOCKET).doing(doing)?;
    std::fs::set_permissions(SOCKET, std::fs::Permissions::from_mode(0o600)).doing(doing)?;
    let (bell, ringer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).doing(doing)?;
    let (sender, queue) = channel();
    let porter = Porter { listener, queue: sender, bell: File::from(ringer) };
    crate::thread::start("control", move || porter.run())?;
    Ok(Requests { queue, bell: File::from(bell) })
}

impl Requests {
    /// The next request; call it once each time the descriptor is readable.
    pub fn take(&mut self) -> Option<Asked> {
        let mut ring = [0; 1];
        self.bell.read_exact(&mut ring).ok()?;
        self.queue.try_recv().ok()
    }
}

impl AsFd for Requests {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl Porter {
    fn run(mut self) {
        loop {
            match self.listener.accept() {
                // What becomes of one client is no concern of the next.
                Ok((stream, _)) => drop(self.serve(&stream)),
                Err(_) => std::thread::sleep(PATIENCE),
            }
        }
    }

    fn serve(&mut self, mut stream: &UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut line = String::new();
        BufReader::new(stream.take(LIMIT_BYTES)).read_line(&mut line)?;
        let answer = match serde_json::from_str(&line) {
            Ok(request) => self.ask(request)?,
            Err(error) => Answer::Refused(format!("this is not a request: {error}")),
        };
        let mut text = serde_json::to_string(&answer)?;
        text.push('\n');
        stream.write_all(text.as_bytes())
    }

    fn ask(&mut self, request: Request) -> io::Result<Answer> {
        let (answer, answered) = channel();
        self.queue.send(Asked { request, answer }).map_err(io::Error::other)?;
        self.bell.write_all(&[1])?;
        answered.recv_timeout(PATIENCE).map_err(io::Error::other)
    }
}

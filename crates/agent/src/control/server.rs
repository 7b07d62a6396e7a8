//! The socket's end in PID 1: a thread that takes requests in and hands each to the main loop.
//!
//! Invariant: the main loop alone decides and answers; this thread only waits, reads and writes.

use super::{Answer, Request, LIMIT_BYTES, SOCKET};
use crate::error::{AgentError, Doing};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::time::{Duration, Instant};

/// Of everything that we wait for: a whole request, an answer, a reader.
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
        stream.set_write_timeout(Some(PATIENCE))?;
        let line = request_line(stream, PATIENCE)?;
        let answer = match Request::parse(&line) {
            Ok(request) => self.ask(request)?,
            Err(refusal) => refusal,
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

/// What comes in up to a line's end, the end of the stream or the limit, within `patience` for all of it: a client
/// that sends a byte now and then gets no more time than a silent one.
fn request_line(mut stream: &UnixStream, patience: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + patience;
    let mut line = vec![0; LIMIT_BYTES];
    let mut length = 0;
    while length < LIMIT_BYTES && !line[..length].contains(&b'\n') {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut line[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    line.truncate(length);
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A porter whose main loop agrees to everything, and what a client that sends `bytes` is answered.
    fn answer_to(bytes: &[u8]) -> String {
        let (queue, asked) = channel::<Asked>();
        let (bell, ringer) = rustix::pipe::pipe().expect("a pipe");
        let listener = UnixListener::bind_addr(&abstract_address()).expect("bound");
        let mut porter = Porter { listener, queue, bell: File::from(ringer) };
        let main_loop = std::thread::spawn(move || {
            while let Ok(asked) = asked.recv() {
                asked.answer.send(Answer::Done).expect("somebody waits");
            }
        });
        let (mut client, server) = UnixStream::pair().expect("a pair");
        client.write_all(bytes).expect("written");
        client.shutdown(std::net::Shutdown::Write).expect("shut down");
        porter.serve(&server).expect("served");
        drop((porter, bell));
        let mut answer = String::new();
        std::io::BufRead::read_line(&mut io::BufReader::new(client), &mut answer).expect("read");
        drop(server);
        main_loop.join().expect("ended");
        answer
    }

    fn abstract_address() -> std::os::unix::net::SocketAddr {
        use std::os::linux::net::SocketAddrExt;
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("osagent-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        std::os::unix::net::SocketAddr::from_abstract_name(name).expect("a name")
    }

    #[test]
    fn a_request_is_answered_and_anything_else_refused() {
        assert_eq!(answer_to(b"{\"command\":\"reboot\"}\n"), "\"done\"\n");
        let long = format!("{{\"command\":\"restart\",\"service\":\"{}\"}}\n", "x".repeat(LIMIT_BYTES));
        for bad in [&b"\n"[..], b"", b"\xff\xfe\n", b"{\"command\":\"shell\"}\n", &[b'['; 4096], long.as_bytes()] {
            assert!(answer_to(bad).starts_with("{\"refused\":\"this is not a request: "), "{bad:?}");
        }
    }

    #[test]
    fn a_client_that_trickles_is_given_up() {
        let (mut client, server) = UnixStream::pair().expect("a pair");
        let trickle = std::thread::spawn(move || {
            while client.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let began = Instant::now();
        assert!(request_line(&server, Duration::from_millis(100)).is_err());
        assert!(began.elapsed() < Duration::from_secs(2));
        drop(server);
        trickle.join().expect("ended");
    }
}

//! A static web server for one device, by HTTPS: files of a folder, whole or in parts, and a count of what was sent.
//!
//! It can be slow, cut a connection, change a byte before it is encrypted, and be another server than the one that is trusted.
//! Invariant: it listens on 127.0.0.1 only, and what it says of sent bytes it has handed to the kernel.

use crate::tls::Authority;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// As the guest sees it: QEMU's user network has the host's loopback at this address.
const HOST: &str = "10.0.2.2";
const PART_BYTES: u64 = 16 << 10;
/// A pace is kept in steps that are no longer.
const PARTS_PER_SECOND: u64 = 4;

type Stream = StreamOwned<ServerConnection, TcpStream>;

/// Bytes of a file that were sent, in one answer.
#[derive(Clone, Debug)]
pub struct Sent {
    answer: u64,
    pub path: String,
    pub start: u64,
    pub end: u64,
}

#[derive(Default)]
pub struct Behaviour {
    pub folder: PathBuf,
    /// Files whose name has this ending go at so many bytes a second; others as fast as they can.
    pub paced: Option<(&'static str, u64)>,
    /// In files whose name has this ending, the byte of this place is another one.
    pub changed: Option<(&'static str, u64)>,
    /// The connection ends in the middle of an answer, once this many bytes more were sent.
    pub cut_after: Option<u64>,
    /// New connections get a certificate for the same host, by an authority that the device does not know.
    pub is_stranger: bool,
    pub sent: Vec<Sent>,
    answers: u64,
}

pub struct Server {
    address: SocketAddr,
    authority: Authority,
    behaviour: Arc<Mutex<Behaviour>>,
}

pub fn serve(folder: &Path) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let behaviour = Arc::new(Mutex::new(Behaviour { folder: folder.to_owned(), ..Behaviour::default() }));
    let shared = Arc::clone(&behaviour);
    let authority = Authority::new();
    let (ours, strange) = (authority.server(HOST), Authority::new().server(HOST));
    // It ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let behaviour = Arc::clone(&shared);
            let config = Arc::clone(if lock(&behaviour).is_stranger { &strange } else { &ours });
            // Whoever hangs up has heard enough, or has lost its power.
            std::thread::spawn(move || answer_all(stream, config, &behaviour));
        }
    });
    Server { address, authority, behaviour }
}

impl Server {
    pub fn url(&self) -> String {
        format!("https://{HOST}:{}", self.address.port())
    }

    /// PEM of the authority that vouches for it.
    pub fn authority(&self) -> String {
        self.authority.pem()
    }

    pub fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        lock(&self.behaviour)
    }

    /// What was sent since the last time.
    pub fn take_sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.behaviour().sent)
    }
}

fn lock(behaviour: &Mutex<Behaviour>) -> MutexGuard<'_, Behaviour> {
    behaviour.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer_all(stream: TcpStream, config: Arc<ServerConfig>, behaviour: &Mutex<Behaviour>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut reader = BufReader::new(Stream::new(connection, stream));
    while let Some((path, range)) = request(&mut reader)? {
        answer(reader.get_mut(), behaviour, &path, range)?;
    }
    Ok(())
}

/// The path of a GET request and the first and last byte that it asks for.
#[allow(clippy::type_complexity)]
fn request(reader: &mut impl BufRead) -> std::io::Result<Option<(String, Option<(u64, u64)>)>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let Some(path) = line.split(' ').nth(1).map(str::to_owned) else { return Ok(None) };
    let mut range = None;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            return Ok(Some((path, range)));
        }
        let lower = line.to_ascii_lowercase();
        if let Some((first, last)) = lower.strip_prefix("range: bytes=").and_then(|value| value.trim().split_once('-'))
        {
            range = first.parse().ok().zip(last.parse().ok());
        }
    }
}

fn answer(
    stream: &mut Stream,
    behaviour: &Mutex<Behaviour>,
    path: &str,
    range: Option<(u64, u64)>,
) -> std::io::Result<()> {
    let file = lock(behaviour).folder.join(path.trim_start_matches('/'));
    let Ok(mut file) = File::open(file) else {
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
        return stream.flush();
    };
    let size = file.metadata()?.len();
    let (first, last) = range.map_or((0, size.saturating_sub(1)), |(first, last)| (first, last.min(size - 1)));
    let length = if size == 0 { 0 } else { last + 1 - first };
    match range {
        None => write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")?,
        Some(_) => write!(
            stream,
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {length}\r\nContent-Range: bytes {first}-{last}/{size}\r\n\r\n"
        )?,
    }
    file.seek(SeekFrom::Start(first))?;
    let answer = {
        let mut behaviour = lock(behaviour);
        behaviour.answers += 1;
        let answer = behaviour.answers;
        behaviour.sent.push(Sent { answer, path: path.to_owned(), start: first, end: first });
        answer
    };
    let mut at = first;
    while at < first + length {
        let pace = lock(behaviour).paced.filter(|(ending, _)| path.ends_with(ending)).map(|(_, pace)| pace);
        let most = pace.map_or(PART_BYTES, |pace| (pace / PARTS_PER_SECOND).clamp(1, PART_BYTES));
        let mut part = vec![0; most.min(first + length - at) as usize];
        file.read_exact(&mut part)?;
        let started = Instant::now();
        {
            let mut behaviour = lock(behaviour);
            if let Some((_, place)) = behaviour.changed.filter(|(ending, _)| path.ends_with(ending)) {
                if let Some(byte) = place.checked_sub(at).and_then(|place| part.get_mut(place as usize)) {
                    *byte ^= 1;
                }
            }
            if let Some(left) = &mut behaviour.cut_after {
                if *left < part.len() as u64 {
                    behaviour.cut_after = None;
                    return Err(std::io::ErrorKind::ConnectionAborted.into());
                }
                *left -= part.len() as u64;
            }
        }
        stream.write_all(&part)?;
        // What was encrypted and could not be sent, only this tells.
        stream.flush()?;
        at += part.len() as u64;
        // The list may have been taken meanwhile: what follows belongs to nobody's count.
        if let Some(sent) = lock(behaviour).sent.iter_mut().find(|sent| sent.answer == answer) {
            sent.end = at;
        }
        let pause = pace.map(|pace| Duration::from_secs_f64(part.len() as f64 / pace as f64));
        std::thread::sleep(pause.unwrap_or_default().saturating_sub(started.elapsed()));
    }
    Ok(())
}

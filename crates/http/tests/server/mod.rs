//! A server on loopback whose every byte a test decides.
//!
//! Invariant: it ends with the test, and writes down what it was asked.

#![allow(dead_code)] // Each test binary uses its part.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    /// Such as `bytes=0-9`.
    pub range: Option<String>,
    /// Which connection it came on.
    pub connection: usize,
}

impl Request {
    /// First and last byte that are asked for.
    pub fn bytes(&self) -> Option<(usize, usize)> {
        let (first, last) = self.range.as_ref()?.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?))
    }
}

pub struct Server {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    stopped: Arc<AtomicBool>,
}

impl Server {
    /// `answer` writes whatever it likes; the connection stays open while it says that all is well.
    pub fn new(answer: impl Fn(&Request, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let server = Server { address, requests: Arc::default(), stopped: Arc::default() };
        let (requests, stopped, answer) = (server.requests.clone(), server.stopped.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (requests, answer) = (requests.clone(), answer.clone());
                let Ok(stream) = stream else { continue };
                std::thread::spawn(move || while serve(&stream, connection, &requests, &*answer).is_ok() {});
            }
        });
        server
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for it.
        drop(TcpStream::connect(&self.address));
    }
}

type Answer = dyn Fn(&Request, &mut TcpStream) -> io::Result<()> + Send + Sync;

fn serve(stream: &TcpStream, connection: usize, requests: &Mutex<Vec<Request>>, answer: &Answer) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut request = Request { path, range: None, connection };
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some(("range", value)) = line.to_ascii_lowercase().split_once(": ") {
            request.range = Some(value.to_owned());
        }
    }
    requests.lock().expect("no panic").push(request.clone());
    answer(&request, &mut stream.try_clone()?)
}

/// An honest answer.
pub fn ok(stream: &mut TcpStream, body: &[u8]) -> io::Result<()> {
    answer(stream, "200 OK", &[], body)
}

pub fn answer(stream: &mut TcpStream, status: &str, headers: &[&str], body: &[u8]) -> io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len())?;
    headers.iter().try_for_each(|header| write!(stream, "{header}\r\n"))?;
    stream.write_all(b"\r\n")?;
    stream.write_all(body)
}

/// Ends the connection.
pub fn hang_up() -> io::Result<()> {
    Err(io::ErrorKind::ConnectionAborted.into())
}

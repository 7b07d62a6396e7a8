//! The guardian within the limits of its manifest: every seat it offers can be taken.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SEATS: usize = 16;
/// `limits: {files: 64}` of app.yaml.
const FILES: u32 = 64;

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends each byte back to whoever sent it.
fn echo() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    port
}

fn answers(mut stream: &TcpStream) -> bool {
    let mut byte = [7];
    stream.write_all(&byte).is_ok() && stream.read_exact(&mut byte).is_ok()
}

#[test]
fn every_seat_has_its_descriptors_and_the_next_client_is_refused() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let script = format!("ulimit -n {FILES}; exec {}", env!("CARGO_BIN_EXE_guardian"));
    let mut command = Command::new("sh");
    command.args(["-c", &script]).env("LISTEN", free.to_string()).env("UPSTREAM", "127.0.0.1");
    let child = command.env("UPSTREAM_PORT", echo().to_string()).stderr(Stdio::null()).spawn().unwrap();
    let _running = Running(child);
    let connect = || loop {
        match TcpStream::connect(free) {
            Ok(stream) => break stream,
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let mut taken = Vec::new();
    for seat in 0..SEATS {
        let stream = connect();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert!(answers(&stream), "seat {seat}");
        taken.push(stream);
    }
    assert!(!answers(&connect()));
    assert!(taken.iter().all(answers));
}

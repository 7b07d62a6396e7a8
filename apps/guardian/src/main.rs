//! Guardian: connections of devices on an isolated network to one upstream service, byte for byte.
//!
//! It ends no TLS: the device below and the service above still see each other's certificates. Invariant: one
//! listening address, one upstream address, at most so many connections; the manifest holds the app to the same.

mod notify;
mod relay;
mod seats;
mod settings;

use seats::Seats;
use settings::Settings;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

/// Well below the watchdog of the manifest.
const TELL_EVERY: Duration = Duration::from_secs(5);
const DIAL_PATIENCE: Duration = Duration::from_secs(10);
/// Of one name.
const LIMIT_ADDRESSES: usize = 2;
/// Two threads for each connection; they copy through a buffer on the heap.
const STACK_BYTES: usize = 64 << 10;

fn main() -> ExitCode {
    match run() {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("guardian: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<std::convert::Infallible, String> {
    let settings = Settings::from_env()?;
    let listener =
        TcpListener::bind(settings.listen).map_err(|e| format!("cannot listen at {}: {e}", settings.listen))?;
    eprintln!("guardian: {} leads to {}:{}", settings.listen, settings.host, settings.port);
    thread("watchdog", || loop {
        notify::send("WATCHDOG=1");
        std::thread::sleep(TELL_EVERY);
    })?;
    notify::send("READY=1");
    serve(&listener, &settings)
}

/// Accepts for ever. A connection that cannot be had is the client's problem, not the app's end.
fn serve(listener: &TcpListener, settings: &Settings) -> Result<std::convert::Infallible, String> {
    let seats = Seats::new(settings.connections);
    loop {
        let (client, from) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                // Such as too many open files: no reason to spin.
                eprintln!("guardian: cannot accept: {error}");
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        let Some(seat) = seats.take() else {
            eprintln!("guardian: {from} refused: {} connections are open", settings.connections);
            continue;
        };
        let (host, port, idle) = (settings.host.clone(), settings.port, settings.idle);
        let started = thread("relay", move || {
            // Held until both directions are done.
            let _seat = seat;
            let end = dial(&host, port).and_then(|service| relay::both_ways(client, service, idle));
            match end {
                Ok(moved) => eprintln!("guardian: {from} done: {} bytes up, {} down", moved.up, moved.down),
                Err(error) => eprintln!("guardian: {from} ended: {error}"),
            }
        });
        if let Err(error) = started {
            eprintln!("guardian: {from} refused: {error}");
        }
    }
}

fn dial(host: &str, port: u16) -> Result<TcpStream, String> {
    let addresses = (host, port).to_socket_addrs().map_err(|e| format!("no address of {host}: {e}"))?;
    let mut problem = format!("no address of {host}");
    for address in addresses.filter(|address| address.is_ipv4()).take(LIMIT_ADDRESSES) {
        match TcpStream::connect_timeout(&address, DIAL_PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => problem = format!("{address}: {error}"),
        }
    }
    Err(problem)
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let builder = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
    builder.spawn(work).map(drop).map_err(|e| format!("cannot start a thread: {e}"))
}

//! The system's clock: never before the floor, remembered over reboots, corrected by SNTP.
//!
//! Invariant: no time before the floor is ever set.

use super::sntp::{offset_microseconds, question, Correction, Discipline, Exchange, PACKET_BYTES, PORT};
use super::{resolver, Network};
use crate::log::Log;
use crate::{file, random, thread, time};
use rustix::time::{clock_settime, ClockId, Timespec};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

/// The time when it was last known, in seconds since 1970.
const SAVED: &str = "/data/osagent/clock";
/// 2100-01-01: a saved time above it is damage.
const LIMIT_SAVED: u64 = 4_102_444_800;
const PATIENCE: Duration = Duration::from_secs(2);
const UNTIL_AN_ADDRESS: Duration = Duration::from_millis(250);

/// Raises the clock to the floor when it shows less: a board without a battery starts in 1970.
pub fn raise_to_floor(floor_seconds: u64, log: &Log) -> Duration {
    let floor = Duration::from_secs(floor_seconds);
    raise(floor, log);
    floor
}

/// Raises the clock to when the system last ran.
pub fn raise_to_saved(log: &Log) {
    if let Some(seconds) = file::text(SAVED).ok().and_then(|text| text.parse().ok()).filter(|s| *s < LIMIT_SAVED) {
        raise(Duration::from_secs(seconds), log);
    }
}

/// Keeps the time for the next boot.
pub fn save() -> io::Result<()> {
    file::replace(SAVED, format!("{}\n", time::unix().as_secs()).as_bytes(), 0o600)
}

fn raise(least: Duration, log: &Log) {
    if time::unix() >= least {
        return;
    }
    match set(least) {
        Ok(()) => log.info(&format!("the clock was behind: set to {} s after 1970", least.as_secs())),
        Err(error) => log.warn(&format!("cannot set the clock: {error}")),
    }
}

/// What an app with the capability says the time is.
pub fn set_by_app(to: Duration, floor: Duration) -> io::Result<()> {
    if to < floor || to.as_secs() >= LIMIT_SAVED {
        return Err(io::Error::other("no true clock shows that"));
    }
    set(to)
}

fn set(to: Duration) -> io::Result<()> {
    let seconds = i64::try_from(to.as_secs()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let time = Timespec { tv_sec: seconds, tv_nsec: to.subsec_nanos().into() };
    Ok(clock_settime(ClockId::Realtime, time)?)
}

/// Corrects the clock for as long as the system runs.
pub fn keep(servers: &[String], floor: Duration, network: &Network, log: &Log) {
    let mut discipline = Discipline::default();
    loop {
        while network.leases().is_empty() {
            std::thread::sleep(UNTIL_AN_ADDRESS);
        }
        match measure(servers, floor, network) {
            Ok((server, offset)) => correct(&mut discipline, server, offset, floor, network, log),
            Err(reason) => {
                discipline.failed();
                log.info(&format!("no time from the network: {reason}"));
            }
        }
        thread::rest_for(discipline.pause());
    }
}

fn correct(discipline: &mut Discipline, server: Ipv4Addr, offset: i64, floor: Duration, network: &Network, log: &Log) {
    let correction = discipline.measured(offset);
    let done = match correction {
        Correction::Step(offset) => step(offset, floor).and_then(|()| osbuild_sys::clock::slew(0)),
        Correction::Slew(offset) => osbuild_sys::clock::slew(offset),
        Correction::Leave => osbuild_sys::clock::slew(0),
        Correction::Doubt => {
            log.warn(&format!("{server} says that the clock is {} s off: asking again", offset / 1_000_000));
            return;
        }
    };
    match done {
        Ok(()) => {
            network.set_clock(server, offset);
            log.info(&format!("the clock was {} ms off, by {server}", offset / 1000));
        }
        Err(error) => log.warn(&format!("cannot correct the clock: {error}")),
    }
    // Without a place to keep it the time is no less right.
    let _ = save();
}

fn step(offset: i64, floor: Duration) -> io::Result<()> {
    let size = Duration::from_micros(offset.unsigned_abs());
    let now = time::unix();
    let target = if offset < 0 { now.checked_sub(size) } else { now.checked_add(size) };
    let target = target.filter(|t| *t >= floor).ok_or_else(|| io::Error::other("it would be before the floor"))?;
    set(target)
}

/// The first answer among the configured servers, then those that DHCP named.
fn measure(servers: &[String], floor: Duration, network: &Network) -> Result<(Ipv4Addr, i64), String> {
    let resolvers = network.name_servers();
    let configured = servers.iter().flat_map(|name| resolver::addresses(name, &resolvers));
    let mut reason = "no time server has a known address".to_owned();
    for server in configured.chain(network.time_servers()) {
        match exchange(server, floor) {
            Ok(offset) => return Ok((server, offset)),
            Err(error) => reason = format!("{server}: {error}"),
        }
    }
    Err(reason)
}

fn exchange(server: Ipv4Addr, floor: Duration) -> io::Result<i64> {
    let cookie = u64::from_ne_bytes(random::bytes()?);
    let socket = UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(SocketAddrV4::new(server, PORT))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    // The trip is timed by the clock that never jumps; the time of day only anchors it.
    let (sent, began) = (time::unix(), time::now());
    socket.send(&question(cookie))?;
    let mut answer = [0; PACKET_BYTES];
    let count = socket.recv(&mut answer).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => io::Error::other("no answer"),
        _ => error,
    })?;
    let received = sent + time::now().saturating_sub(began);
    offset_microseconds(&answer[..count], &Exchange { cookie, sent, received }, floor).map_err(io::Error::other)
}

//! A payload and the images of a slot in, what it costs a device to get there out: bytes, calls and time.
//!
//! The agent's own code from the header to the commit; firmware, epoch and state are in memory. Invariant: nothing is read or
//! written but through the traits, and what the storage holds in the end is a release that was committed.

use crate::device::{Area, BootManager, Epoch, Payloads, Storage};
use crate::install::{other, InstallError, Installer};
use crate::payload::{Payload, PayloadError};
use crate::state::{Journal, Phase, State, StateError, RECORD_BYTES};
use crate::trial;
use osbuild_format::command_line::Slot;
use osbuild_format::dsse::VerifyingKey;
use osbuild_format::target::TargetCustom;
use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Simulation<'a> {
    /// Name of the target.
    pub target: &'a str,
    pub custom: &'a TargetCustom,
    /// Of the device's configuration.
    pub keys: &'a [VerifyingKey],
    /// The slot whose images the storage has.
    pub running: Slot,
    /// SHA-256 of its ESP, 64 hex digits.
    pub release: &'a str,
}

/// What it cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub fetched_bytes: u64,
    pub requests: u64,
    pub read_bytes: u64,
    /// To the slot's partitions.
    pub written_bytes: u64,
    /// To the records of the state.
    pub state_bytes: u64,
    pub flushes: u64,
    /// Changes of the firmware's variables.
    pub variables: u64,
    pub time: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    #[error(transparent)]
    Payload(#[from] PayloadError),
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the release is installed and was not committed: {0}")]
    NotCommitted(&'static str),
}

/// Installs, starts and commits. `storage` needs no [`Area::State`].
pub fn run(
    simulation: Simulation,
    storage: &mut dyn Storage,
    payloads: &mut dyn Payloads,
) -> Result<Report, SimulateError> {
    let started = Instant::now();
    let mut device = Counted::new(storage);
    let mut payloads = Fetched { payloads, bytes: 0, requests: 0 };
    let mut firmware = Firmware { order: simulation.running, next: None, changes: 0 };
    let mut epoch = InMemory(0);
    let payload = Payload::open(&mut payloads, simulation.target, simulation.custom, simulation.keys)?;
    let (mut journal, mut state, _) = Journal::load(&device)?;
    let mut installer = Installer {
        storage: &mut device,
        boot: &mut firmware,
        journal: &mut journal,
        state: &mut state,
        running: simulation.running,
        release: simulation.release,
    };
    installer.install(&payload, &mut payloads)?;
    trial::begin(&mut device, &mut firmware, &mut journal, &mut state, 1)?;
    let slot = other(simulation.running);
    if firmware.next.take() != Some(slot) {
        return Err(SimulateError::NotCommitted("its start is not armed"));
    }
    restart(&mut device, &mut firmware, &mut epoch, slot, payload.header.to.epoch)?;
    let time = started.elapsed();
    let (fetched_bytes, requests, variables) = (payloads.bytes, payloads.requests, firmware.changes);
    Ok(Report { fetched_bytes, requests, variables, time, ..device.report() })
}

/// The new slot starts and is healthy.
fn restart(
    storage: &mut dyn Storage,
    boot: &mut Firmware,
    epoch: &mut dyn Epoch,
    slot: Slot,
    runs_epoch: u32,
) -> Result<(), SimulateError> {
    let (mut journal, mut state, _) = Journal::load(storage)?;
    let mut device = trial::Device { storage, boot, epoch, journal: &mut journal, state: &mut state };
    trial::at_start(&mut device, slot, runs_epoch)?;
    trial::commit(&mut device, slot)?;
    let (_, State { phase, .. }, _) = Journal::load(device.storage)?;
    match phase == Phase::Idle && boot.order == slot {
        true => Ok(()),
        false => Err(SimulateError::NotCommitted("its slot is not the one that the firmware prefers")),
    }
}

/// A storage that is counted, with a state of its own.
struct Counted<'a> {
    storage: &'a mut dyn Storage,
    state: [u8; 2 * RECORD_BYTES],
    read_bytes: Cell<u64>,
    written_bytes: u64,
    state_bytes: u64,
    flushes: u64,
}

impl<'a> Counted<'a> {
    fn new(storage: &'a mut dyn Storage) -> Self {
        let state = [0; 2 * RECORD_BYTES];
        Counted { storage, state, read_bytes: Cell::new(0), written_bytes: 0, state_bytes: 0, flushes: 0 }
    }

    fn report(&self) -> Report {
        Report {
            read_bytes: self.read_bytes.get(),
            written_bytes: self.written_bytes,
            state_bytes: self.state_bytes,
            flushes: self.flushes,
            ..Report::default()
        }
    }
}

/// The part of the state's records.
fn records(offset: u64, length: usize) -> io::Result<std::ops::Range<usize>> {
    let start = usize::try_from(offset).map_err(io::Error::other)?;
    let end = start.checked_add(length).filter(|end| *end <= 2 * RECORD_BYTES);
    Ok(start..end.ok_or(io::ErrorKind::UnexpectedEof)?)
}

impl Storage for Counted<'_> {
    fn size_bytes(&self, area: Area) -> io::Result<u64> {
        match area {
            Area::State => Ok(self.state.len() as u64),
            _ => self.storage.size_bytes(area),
        }
    }

    fn read_at(&self, area: Area, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        if area == Area::State {
            bytes.copy_from_slice(&self.state[records(offset, bytes.len())?]);
            return Ok(());
        }
        self.read_bytes.set(self.read_bytes.get() + bytes.len() as u64);
        self.storage.read_at(area, offset, bytes)
    }

    fn write_at(&mut self, area: Area, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if area == Area::State {
            self.state_bytes += bytes.len() as u64;
            self.state[records(offset, bytes.len())?].copy_from_slice(bytes);
            return Ok(());
        }
        self.written_bytes += bytes.len() as u64;
        self.storage.write_at(area, offset, bytes)
    }

    fn flush(&mut self, area: Area) -> io::Result<()> {
        self.flushes += 1;
        match area {
            Area::State => Ok(()),
            _ => self.storage.flush(area),
        }
    }

    fn drop_caches(&mut self, area: Area) -> io::Result<()> {
        match area {
            Area::State => Ok(()),
            _ => self.storage.drop_caches(area),
        }
    }
}

struct Fetched<'a> {
    payloads: &'a mut dyn Payloads,
    bytes: u64,
    requests: u64,
}

impl Payloads for Fetched<'_> {
    fn range(&mut self, target: &str, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        self.requests += 1;
        let fetched = self.payloads.range(target, offset, length)?;
        self.bytes += fetched.len() as u64;
        Ok(fetched)
    }
}

struct Firmware {
    order: Slot,
    next: Option<Slot>,
    changes: u64,
}

impl BootManager for Firmware {
    fn provide_options(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn committed(&self) -> io::Result<Option<Slot>> {
        Ok(Some(self.order))
    }

    fn next(&self) -> io::Result<Option<Slot>> {
        Ok(self.next)
    }

    fn set_next(&mut self, slot: Option<Slot>) -> io::Result<()> {
        self.changes += 1;
        self.next = slot;
        Ok(())
    }

    fn commit(&mut self, slot: Slot) -> io::Result<()> {
        self.changes += 1;
        self.order = slot;
        Ok(())
    }
}

struct InMemory(u32);

impl Epoch for InMemory {
    fn read(&self) -> io::Result<u32> {
        Ok(self.0)
    }

    fn raise(&mut self, to: u32) -> io::Result<()> {
        self.0 = self.0.max(to);
        Ok(())
    }
}

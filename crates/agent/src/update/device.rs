//! Everything of this device that an update reads and writes.
//!
//! Invariant: one process at a time has it; PID 1 before it starts a worker, and after that the worker alone.

use super::epoch;
use super::firmware::{variables::EfiVariables, Firmware};
use super::partitions::Partitions;
use crate::boot::facts::Facts;
use crate::boot::slot::{disks, Disk};
use osbuild_format::command_line::Slot;
use osbuild_update::device::{BootManager, Epoch};
use osbuild_update::install::InstallError;
use osbuild_update::state::{Found, Journal, State};
use osbuild_update::trial::{self, Start};
use std::io;

pub struct Device {
    pub storage: Partitions,
    pub boot: Firmware<EfiVariables>,
    pub epoch: Box<dyn Epoch>,
    pub journal: Journal,
    pub state: State,
    pub running: Slot,
    /// Both records of the state were damaged: what was under way is forgotten.
    pub forgot: bool,
}

impl Device {
    pub fn open(facts: &Facts) -> io::Result<Device> {
        let running = Slot::from_letter(&facts.slot).ok_or_else(|| io::Error::other("no slot runs"))?;
        let disk = Disk::read(&facts.disk).map_err(|error| io::Error::other(crate::error::chain(&error)))?;
        let storage = Partitions::open(&disk, running)?;
        let mut boot = Firmware::new(&disk, disks, EfiVariables)?;
        boot.provide_options()?;
        let (journal, state, found) = Journal::load(&storage).map_err(io::Error::other)?;
        let (epoch, forgot) = (epoch::open()?, found == Found::Damage);
        Ok(Device { storage, boot, epoch, journal, state, running, forgot })
    }

    pub fn at_start(&mut self, runs_epoch: u32) -> Result<Start, InstallError> {
        let running = self.running;
        trial::at_start(&mut self.on_trial(), running, runs_epoch)
    }

    pub fn commit(&mut self) -> Result<(), InstallError> {
        let running = self.running;
        trial::commit(&mut self.on_trial(), running)
    }

    /// Ends a commit whose epoch could not be raised when the device started.
    pub fn settle(&mut self) -> Result<(), InstallError> {
        trial::settle(&mut self.on_trial())
    }

    /// What is armed in the other slot waits again.
    pub fn put_off(&mut self) -> Result<(), InstallError> {
        let Device { storage, boot, journal, state, running, .. } = self;
        trial::put_off(storage, boot, journal, state, *running)
    }

    fn on_trial(&mut self) -> trial::Device<'_> {
        let Device { storage, boot, epoch, journal, state, .. } = self;
        trial::Device { storage, boot, epoch: epoch.as_mut(), journal, state }
    }
}

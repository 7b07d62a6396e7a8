//! A storage that loses power: what was written and not flushed is there in any part, in any order.
//!
//! Invariant: only what a flush has come back for is certain; after the cut every call fails until the power is back.

use osbuild_format::command_line::Slot;
use osbuild_update::device::{Area, BootManager, Epoch, Storage};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

const SECTOR: usize = 512;
const EIO: i32 = 5;

/// What goes wrong at one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    PowerCut,
    /// The operation fails, and has done nothing or a part.
    Error(io::ErrorKind),
    /// The write succeeds, and the medium holds something else.
    Damage,
}

struct Write {
    area: Area,
    offset: usize,
    bytes: Vec<u8>,
    is_damaged: bool,
}

/// Everything of a device that lasts, and what its caches hold.
pub struct Machine {
    durable: BTreeMap<Area, Vec<u8>>,
    pending: Vec<Write>,
    pub order: Option<Slot>,
    pub next: Option<Slot>,
    /// What the firmware starts that has no order any more.
    pub found_first: Slot,
    pub epoch: u32,
    /// The TPM refuses to raise it.
    pub epoch_is_stuck: bool,
    /// Changes of storage, firmware and epoch so far.
    pub operations: u64,
    /// By the number of the operation.
    pub faults: Vec<(u64, Fault)>,
    /// Reads of the storage by the device so far, and the one that fails.
    pub reads: Cell<u64>,
    pub failing_read: Option<u64>,
    /// A sector that can be neither read nor written.
    pub dead: Option<(Area, usize)>,
    /// Reads are those of the device, and not those of who looks at it.
    pub is_observed: bool,
    /// The slot that the firmware has started.
    pub running: Option<Slot>,
    pub has_power: bool,
    /// Starts of a slot on trial that did not become healthy.
    pub trials: u32,
    random: u64,
}

impl Machine {
    pub fn new(areas: BTreeMap<Area, Vec<u8>>, seed: u64) -> Machine {
        Machine {
            durable: areas,
            pending: Vec::new(),
            order: Some(Slot::A),
            next: None,
            found_first: Slot::A,
            epoch: 1,
            epoch_is_stuck: false,
            operations: 0,
            faults: Vec::new(),
            reads: Cell::new(0),
            failing_read: None,
            dead: None,
            is_observed: false,
            running: None,
            has_power: true,
            trials: 0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    fn random(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % below as u64) as usize
    }

    /// What the medium has.
    pub fn durable(&self, area: Area) -> &[u8] {
        &self.durable[&area]
    }

    pub fn power_on(&mut self) {
        if self.has_power {
            self.cut_power();
        }
        self.has_power = true;
    }

    /// Someone has cleared the data partition.
    pub fn lose_state(&mut self) {
        self.durable.insert(Area::State, vec![0x5a; 8192]);
        self.next = None;
    }

    /// The firmware was updated, or its battery is empty.
    pub fn lose_variables(&mut self) {
        (self.order, self.next) = (None, None);
    }

    /// A cell of the medium has aged.
    pub fn damage(&mut self, area: Area, at: usize) {
        self.durable.get_mut(&area).expect("an area of the machine")[at] ^= 1;
    }

    /// The part of the medium has died.
    pub fn erase(&mut self, area: Area) {
        self.durable.get_mut(&area).expect("an area of the machine").fill(0);
    }

    /// The caches lose what they hold, or do not.
    pub fn cut_power(&mut self) {
        self.has_power = false;
        let mut pending = std::mem::take(&mut self.pending);
        while !pending.is_empty() {
            let chosen = self.random(pending.len());
            let write = pending.swap_remove(chosen);
            match self.random(3) {
                0 => {}
                1 => self.put(&write, 0, write.bytes.len()),
                _ => {
                    let sectors = write.bytes.len().div_ceil(SECTOR);
                    let (from, to) = (self.random(sectors + 1), self.random(sectors + 1));
                    let end = write.bytes.len().min(from.max(to) * SECTOR);
                    self.put(&write, end.min(from.min(to) * SECTOR), end);
                }
            }
        }
    }

    fn put(&mut self, write: &Write, from: usize, to: usize) {
        let area = self.durable.get_mut(&write.area).expect("an area of the machine");
        area[write.offset + from..write.offset + to].copy_from_slice(&write.bytes[from..to]);
        if write.is_damaged && from < to {
            // Where the firmware looks for an ESP, that has become one, and the damage is in another place.
            let is_first_sector =
                matches!(write.area, Area::Esp(_)) && write.offset == 0 && write.bytes.len() == SECTOR;
            let damaged = if is_first_sector { area.len() - 1 } else { write.offset + from };
            area[damaged] ^= 0x40;
        }
    }

    /// Whether the operation that begins now goes wrong.
    fn begins(&mut self) -> io::Result<Option<Fault>> {
        if !self.has_power {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let fault = self.faults.iter().find(|(at, _)| *at == self.operations).map(|(_, fault)| *fault);
        self.operations += 1;
        Ok(fault)
    }

    /// What no update may do at any time, whatever happened before.
    fn check_write(&self, area: Area) {
        let (Area::Esp(slot) | Area::Root(slot) | Area::Verity(slot)) = area else { return };
        assert_ne!(self.running, Some(slot), "the slot that runs is never written");
        assert_ne!(self.order, Some(slot), "the slot that the firmware prefers is never written");
        let sector = &self.durable(Area::Esp(slot))[..SECTOR];
        let is_esp = matches!(area, Area::Esp(_));
        assert!(is_esp || sector.iter().all(|byte| *byte == 0), "what could be started is never written");
    }

    /// A change of the firmware or the epoch, which happens whole or not at all.
    fn atomic(&mut self, change: impl FnOnce(&mut Machine)) -> io::Result<()> {
        match self.begins()? {
            None | Some(Fault::Damage) => change(self),
            Some(Fault::Error(kind)) => return Err(kind.into()),
            Some(Fault::PowerCut) => {
                if self.random(2) == 0 {
                    change(self);
                }
                self.cut_power();
                return Err(io::ErrorKind::NotConnected.into());
            }
        }
        Ok(())
    }

    fn is_dead(&self, area: Area, offset: usize, length: usize) -> bool {
        self.dead.is_some_and(|(dead, at)| dead == area && at < offset + length && offset < at + SECTOR)
    }

    /// As the running system sees it.
    fn read(&self, area: Area, offset: usize, bytes: &mut [u8]) -> io::Result<()> {
        if !self.has_power {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if self.is_observed {
            let read = self.reads.replace(self.reads.get() + 1);
            if self.failing_read == Some(read) || self.is_dead(area, offset, bytes.len()) {
                return Err(io::Error::from_raw_os_error(EIO));
            }
        }
        let durable = self.durable(area).get(offset..offset + bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(durable);
        for write in self.pending.iter().filter(|write| write.area == area) {
            let (from, to) = (write.offset.max(offset), (write.offset + write.bytes.len()).min(offset + bytes.len()));
            if from < to {
                bytes[from - offset..to - offset].copy_from_slice(&write.bytes[from - write.offset..to - write.offset]);
            }
        }
        Ok(())
    }
}

/// One machine, seen by all that hold it.
#[derive(Clone)]
pub struct Shared(pub Rc<RefCell<Machine>>);

impl Storage for Shared {
    fn size_bytes(&self, area: Area) -> io::Result<u64> {
        Ok(self.0.borrow().durable(area).len() as u64)
    }

    fn read_at(&self, area: Area, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.borrow().read(area, offset as usize, bytes)
    }

    fn write_at(&mut self, area: Area, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut machine = self.0.borrow_mut();
        let offset = offset as usize;
        if offset + bytes.len() > machine.durable(area).len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        machine.check_write(area);
        let fault = match machine.begins()? {
            None if machine.is_dead(area, offset, bytes.len()) => Some(Fault::Error(io::ErrorKind::Other)),
            fault => fault,
        };
        let length = match fault {
            Some(Fault::Error(_)) => bytes.len().min(machine.random(bytes.len() / SECTOR + 1) * SECTOR),
            _ => bytes.len(),
        };
        machine.pending.push(Write {
            area,
            offset,
            bytes: bytes[..length].to_vec(),
            is_damaged: fault == Some(Fault::Damage),
        });
        match fault {
            None | Some(Fault::Damage) => Ok(()),
            Some(Fault::Error(kind)) => Err(kind.into()),
            Some(Fault::PowerCut) => {
                machine.cut_power();
                Err(io::ErrorKind::NotConnected.into())
            }
        }
    }

    fn flush(&mut self, area: Area) -> io::Result<()> {
        let mut machine = self.0.borrow_mut();
        match machine.begins()? {
            None | Some(Fault::Damage) => {
                let (flushed, others) =
                    std::mem::take(&mut machine.pending).into_iter().partition(|write| write.area == area);
                machine.pending = others;
                let flushed: Vec<Write> = flushed;
                flushed.iter().for_each(|write| machine.put(write, 0, write.bytes.len()));
                Ok(())
            }
            Some(Fault::Error(kind)) => Err(kind.into()),
            Some(Fault::PowerCut) => {
                machine.cut_power();
                Err(io::ErrorKind::NotConnected.into())
            }
        }
    }

    fn drop_caches(&mut self, area: Area) -> io::Result<()> {
        let machine = self.0.borrow();
        assert!(machine.pending.iter().all(|write| write.area != area), "what is read back has been flushed");
        Ok(())
    }
}

impl BootManager for Shared {
    fn provide_options(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn committed(&self) -> io::Result<Option<Slot>> {
        Ok(self.0.borrow().order)
    }

    fn next(&self) -> io::Result<Option<Slot>> {
        Ok(self.0.borrow().next)
    }

    fn set_next(&mut self, slot: Option<Slot>) -> io::Result<()> {
        self.0.borrow_mut().atomic(|machine| machine.next = slot)
    }

    fn commit(&mut self, slot: Slot) -> io::Result<()> {
        self.0.borrow_mut().atomic(|machine| machine.order = Some(slot))
    }
}

impl Epoch for Shared {
    fn read(&self) -> io::Result<u32> {
        Ok(self.0.borrow().epoch)
    }

    fn raise(&mut self, to: u32) -> io::Result<()> {
        if self.0.borrow().epoch_is_stuck {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.0.borrow_mut().atomic(|machine| machine.epoch = machine.epoch.max(to))
    }
}

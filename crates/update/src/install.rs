//! A payload in, a slot that may be tried out once its moment has come.
//!
//! In this order, each step lasting before the next begins: the other slot's ESP is made unbootable; the root's segments; the
//! root is read back and its verity tree made; the ESP's segments, the one with its first sector last; the ESP is read back.
//! Invariant: the slot that runs is never written, and the other one cannot be started before it is whole.

use crate::device::{Area, BootManager, Payloads, Storage};
use crate::payload::Payload;
use crate::state::{Candidate, Failure, Home, Journal, Phase, State, StateError};
use crate::{digest, verity};
use osbuild_format::command_line::Slot;
use osbuild_format::hex;
use osbuild_format::payload::{apply, ImageName, Segment, SegmentError, Source, Sources};
use osbuild_format::verity::{size_bytes, BLOCK_BYTES};
use sha2::{Digest, Sha256};
use std::io;

/// The sector without which no firmware finds a file system; storage writes a sector whole or not at all.
const BOOT_SECTOR_BYTES: usize = 512;

#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the slot cannot be read or written")]
    Storage(#[source] io::Error),
    #[error("the firmware's variables cannot be read or written")]
    Firmware(#[source] io::Error),
    #[error("the security epoch cannot be raised; until it can be, nothing is installed")]
    Epoch(#[source] io::Error),
    #[error("segment {number} of `{target}` cannot be fetched")]
    Fetch {
        target: String,
        number: usize,
        #[source]
        error: io::Error,
    },
    #[error("segment {number} of `{target}` cannot be applied")]
    Segment {
        target: String,
        number: usize,
        #[source]
        error: SegmentError,
    },
    #[error("the {partition} has {found} bytes, the release needs: {wanted}")]
    Size { partition: &'static str, wanted: u64, found: u64 },
    #[error("the payload starts from another release than the one that runs")]
    From,
    #[error("this release has failed here before")]
    Denied,
    #[error("another update waits for its start, is on trial or being committed; the device has to restart first")]
    Busy,
    #[error("the root has the root hash {found}, its kernel expects: {wanted}")]
    RootHash { wanted: String, found: String },
    #[error("the {image} that was written does not read back as what it should be: {found} instead of {wanted}")]
    ReadBack { image: &'static str, wanted: String, found: String },
}

impl InstallError {
    /// For programs.
    pub fn word(&self) -> &'static str {
        match self {
            _ if self.is_about_source() => crate::state::SOURCE_DAMAGED,
            InstallError::State(_) => "state",
            InstallError::Storage(_) => "storage",
            InstallError::Firmware(_) => "firmware",
            InstallError::Epoch(_) => "epoch",
            InstallError::Fetch { .. } => "fetch",
            InstallError::Segment { error: SegmentError::Written { .. } | SegmentError::ReadWritten(_), .. } => {
                "read-back"
            }
            InstallError::Segment { .. } => "payload-damaged",
            InstallError::Size { .. } => "size",
            InstallError::From => "other-source",
            InstallError::Denied => "denied",
            InstallError::Busy => "busy",
            InstallError::RootHash { .. } => "root-hash",
            InstallError::ReadBack { .. } => "read-back",
        }
    }

    /// Whether another payload for the same release could help: the old images are not what this one was made from.
    pub fn is_about_source(&self) -> bool {
        let error = match self {
            InstallError::Segment { error, .. } => error,
            _ => return false,
        };
        matches!(error, SegmentError::Source { .. } | SegmentError::Read { .. } | SegmentError::NoSource)
    }
}

/// The slot that `slot` is not.
pub fn other(slot: Slot) -> Slot {
    match slot {
        Slot::A => Slot::B,
        Slot::B => Slot::A,
    }
}

/// What an installation works with.
pub struct Installer<'a> {
    pub storage: &'a mut dyn Storage,
    pub boot: &'a mut dyn BootManager,
    pub journal: &'a mut Journal,
    pub state: &'a mut State,
    /// The slot that runs.
    pub running: Slot,
    /// SHA-256 of that slot's ESP, 64 hex digits.
    pub release: &'a str,
}

/// The images of a slot.
struct InSlot<'a>(&'a dyn Storage, Slot);

impl Source for InSlot<'_> {
    fn read_at(&self, image: ImageName, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read_at(area(image, self.1), offset, bytes)
    }
}

fn area(image: ImageName, slot: Slot) -> Area {
    match image {
        ImageName::Esp => Area::Esp(slot),
        ImageName::Root => Area::Root(slot),
    }
}

/// A segment and where it belongs.
#[derive(Clone, Copy)]
struct Place<'a> {
    number: usize,
    stored_at: u64,
    written_at: u64,
    segment: &'a Segment,
}

impl Installer<'_> {
    /// Writes the payload's release to the other slot, where it waits for [`crate::trial::begin`]. An installation of the same payload that
    /// was interrupted is taken up where it was. What fails is remembered with its reason.
    pub fn install(&mut self, payload: &Payload, payloads: &mut dyn Payloads) -> Result<(), InstallError> {
        let result = self.try_install(payload, payloads);
        if let Err(error) = &result {
            let version = payload.header.to.version.clone();
            let failure = Some(Failure::new(version, error.word(), error));
            // Storage that cannot be written cannot remember that either; the first error is the one to tell.
            let told = self.state.failure == failure;
            self.state.failure = failure;
            let saved = if told { Ok(()) } else { self.journal.save(self.storage, self.state) };
            return result.and(saved.map_err(InstallError::State));
        }
        result
    }

    fn try_install(&mut self, payload: &Payload, payloads: &mut dyn Payloads) -> Result<(), InstallError> {
        let slot = other(self.running);
        let candidate = Candidate {
            name: payload.header.to.esp.sha256.clone(),
            version: payload.header.to.version.clone(),
            epoch: payload.header.to.epoch,
        };
        self.check(payload, slot)?;
        let done = self.begin(payload, &candidate, slot)?;
        let places = in_order(payload);
        let of_root = places.iter().filter(|place| place.segment.image == ImageName::Root).count();
        let (root, esp) = places.split_at(of_root);
        for place in root.iter().skip(done) {
            let output = self.fetch(payload, payloads, *place)?;
            self.write(Area::Root(slot), place.written_at, &output)?;
            self.advance()?;
        }
        self.finish_root(payload, slot)?;
        // The last one holds the first sector, which is not written before all others have been read back.
        let (first, others) = esp.split_last().ok_or(InstallError::Size { partition: "ESP", wanted: 1, found: 0 })?;
        for place in others.iter().skip(done.saturating_sub(of_root)) {
            let output = self.fetch(payload, payloads, *place)?;
            self.write(Area::Esp(slot), place.written_at, &output)?;
            self.advance()?;
        }
        let output = self.fetch(payload, payloads, *first)?;
        self.finish_esp(payload, slot, &output)?;
        self.state.failure = None;
        self.state.phase = Phase::Waiting { candidate, slot };
        Ok(self.journal.save(self.storage, self.state)?)
    }

    /// Everything that can be known before anything is written.
    fn check(&self, payload: &Payload, slot: Slot) -> Result<(), InstallError> {
        let header = &payload.header;
        if matches!(self.state.phase, Phase::Waiting { .. } | Phase::Trial { .. } | Phase::Committing { .. }) {
            return Err(InstallError::Busy);
        }
        if self.state.denies(&header.to.esp.sha256) {
            return Err(InstallError::Denied);
        }
        if header.from.as_ref().is_some_and(|from| from.esp.sha256 != self.release) {
            return Err(InstallError::From);
        }
        let tree = size_bytes(header.to.root.size_bytes / u64::from(BLOCK_BYTES));
        for (partition, area, wanted, whole) in [
            ("ESP", Area::Esp(slot), header.to.esp.size_bytes, true),
            ("root partition", Area::Root(slot), header.to.root.size_bytes, false),
            ("verity partition", Area::Verity(slot), tree, false),
        ] {
            let found = self.storage.size_bytes(area).map_err(InstallError::Storage)?;
            // Its file system says how large the ESP is.
            if found < wanted || whole && found != wanted {
                return Err(InstallError::Size { partition, wanted, found });
            }
        }
        Ok(())
    }

    /// Segments that are done already. The slot is made one that cannot be started, whatever an interruption left of it.
    fn begin(&mut self, payload: &Payload, candidate: &Candidate, slot: Slot) -> Result<usize, InstallError> {
        let resumed = match &self.state.phase {
            Phase::Installing { candidate: before, slot: into, header, done } => {
                (before == candidate && *into == slot && *header == payload.digest).then_some(*done)
            }
            _ => None,
        };
        if resumed.is_none() {
            let header = payload.digest.clone();
            self.state.phase = Phase::Installing { candidate: candidate.clone(), slot, header, done: 0 };
            self.state.home = Home::of(self.running);
            self.journal.save(self.storage, self.state)?;
        }
        // The slot that is about to be written is not the one that the firmware prefers: a device that lost its state on
        // trial, or whose firmware found the other slot unreadable, would have no way back from the next trial.
        if self.boot.committed().map_err(InstallError::Firmware)? != Some(self.running) {
            self.boot.commit(self.running).map_err(InstallError::Firmware)?;
        }
        if self.boot.next().map_err(InstallError::Firmware)?.is_some() {
            self.boot.set_next(None).map_err(InstallError::Firmware)?;
        }
        let esp = Area::Esp(slot);
        self.write(esp, 0, &[0; BOOT_SECTOR_BYTES])?;
        let zeros = hex::encode(&Sha256::digest([0; BOOT_SECTOR_BYTES]));
        self.reads_back("first sector of the ESP", esp, BOOT_SECTOR_BYTES as u64, &[], &zeros)?;
        Ok(usize::try_from(resumed.unwrap_or(0)).unwrap_or(0).min(payload.header.segments.len() - 1))
    }

    fn fetch(&mut self, payload: &Payload, payloads: &mut dyn Payloads, place: Place) -> Result<Vec<u8>, InstallError> {
        let (target, number) = (payload.target.clone(), place.number);
        let at = payload.segments_at + place.stored_at;
        let stored = match payloads.range(&payload.target, at, place.segment.stored_bytes.into()) {
            Ok(stored) => stored,
            Err(error) => return Err(InstallError::Fetch { target, number, error }),
        };
        let (old, written) = (InSlot(self.storage, self.running), InSlot(self.storage, other(self.running)));
        let old = payload.header.from.as_ref().map(|_| &old as &dyn Source);
        apply(place.segment, &stored, Sources { old, written: Some(&written) }).map_err(|error| InstallError::Segment {
            target,
            number,
            error,
        })
    }

    fn write(&mut self, area: Area, offset: u64, bytes: &[u8]) -> Result<(), InstallError> {
        let written = self.storage.write_at(area, offset, bytes).and_then(|()| self.storage.flush(area));
        written.map_err(InstallError::Storage)
    }

    /// One segment more is written and flushed.
    fn advance(&mut self) -> Result<(), InstallError> {
        if let Phase::Installing { done, .. } = &mut self.state.phase {
            *done += 1;
        }
        Ok(self.journal.save(self.storage, self.state)?)
    }

    /// Reads the root back and makes its verity tree, which is read back too.
    fn finish_root(&mut self, payload: &Payload, slot: Slot) -> Result<(), InstallError> {
        let to = &payload.header.to;
        let (root, hashes) = (Area::Root(slot), Area::Verity(slot));
        self.reads_back("root", root, to.root.size_bytes, &[], &to.root.sha256)?;
        let salt = hex::decode(&to.salt).unwrap_or_default();
        let blocks = to.root.size_bytes / u64::from(BLOCK_BYTES);
        let tree = verity::rebuild(self.storage, root, blocks, &salt, hashes).map_err(InstallError::Storage)?;
        let found = hex::encode(&tree.root_hash);
        if found != to.root_hash {
            return self.other_root_hash(InstallError::RootHash { wanted: to.root_hash.clone(), found }, payload);
        }
        self.storage.flush(hashes).map_err(InstallError::Storage)?;
        self.reads_back("verity tree", hashes, tree.size_bytes, &[], &hex::encode(&tree.sha256))
    }

    /// The root is the one that was signed. Once, storage may be to blame; twice, whoever signed it, and no attempt ends better.
    fn other_root_hash(&mut self, error: InstallError, payload: &Payload) -> Result<(), InstallError> {
        let version = &payload.header.to.version;
        let is_same = |failure: &Failure| failure.why == error.word() && failure.version == *version;
        let again = self.state.failure.as_ref().is_some_and(is_same);
        match self.state.phase.clone() {
            Phase::Installing { candidate, .. } if again => self.state.deny(candidate, &error.to_string()),
            _ => self.state.phase = Phase::Idle,
        }
        self.journal.save(self.storage, self.state)?;
        Err(error)
    }

    /// `output`: of the segment that holds the first sector.
    fn finish_esp(&mut self, payload: &Payload, slot: Slot, output: &[u8]) -> Result<(), InstallError> {
        let (esp, to) = (Area::Esp(slot), &payload.header.to.esp);
        let (first, rest) = output.split_at(output.len().min(BOOT_SECTOR_BYTES));
        self.write(esp, first.len() as u64, rest)?;
        self.reads_back("ESP", esp, to.size_bytes, first, &to.sha256)?;
        let whole =
            self.write(esp, 0, first).and_then(|()| self.reads_back("ESP", esp, to.size_bytes, &[], &to.sha256));
        if whole.is_err() {
            // Firmware that cannot start the slot that runs must not find a damaged one. The first error is the one to tell.
            let _ = self.write(esp, 0, &[0; BOOT_SECTOR_BYTES]);
        }
        whole
    }

    /// What the medium has, with `start` in the place of its first bytes.
    fn reads_back(
        &mut self,
        image: &'static str,
        area: Area,
        length: u64,
        start: &[u8],
        wanted: &str,
    ) -> Result<(), InstallError> {
        self.storage.drop_caches(area).map_err(InstallError::Storage)?;
        let found = digest::with_start(self.storage, area, length, start).map_err(InstallError::Storage)?;
        let found = hex::encode(&found);
        match found == wanted {
            true => Ok(()),
            false => {
                // What is on the medium is not what was written, so the next attempt writes all of it again.
                self.state.phase = Phase::Idle;
                self.journal.save(self.storage, self.state)?;
                Err(InstallError::ReadBack { image, wanted: wanted.to_owned(), found })
            }
        }
    }
}

/// The segments in the order in which they are written: as they lie, but the ESP's first one last.
fn in_order(payload: &Payload) -> Vec<Place<'_>> {
    let place = |(number, (stored_at, written_at, segment))| Place { number, stored_at, written_at, segment };
    let mut places: Vec<Place> = payload.header.places().enumerate().map(place).collect();
    let first = places.iter().position(|place| place.segment.image == ImageName::Esp);
    if let Some(first) = first {
        places[first..].rotate_left(1);
    }
    places
}

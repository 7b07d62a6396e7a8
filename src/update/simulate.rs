//! A payload and the release that a device runs in; what the update costs that device out, and that it works.
//!
//! The device's own code does it, on two slots that are files. Invariant: nothing outlives the simulation, and what it says of a
//! payload was seen: the installation ended in a slot that was read back and committed.

use super::delta::Images;
use super::repository::target::Described;
use super::UpdateError;
use crate::io::file::at;
use osbuild_format::command_line::Slot;
use osbuild_format::dsse::VerifyingKey;
use osbuild_format::verity::BLOCK_BYTES;
use osbuild_update::device::{Area, Payloads, Storage};
use osbuild_update::simulate::{self, Report, Simulation};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const RUNNING: Slot = Slot::A;
/// A tree has about a 127th of the blocks below it; there is room for its superblock and for what the levels round up.
const DATA_PER_TREE: u64 = 64;
const TREE_BYTES: u64 = 1 << 20;

/// The images of the release that runs.
pub struct Running {
    pub esp: File,
    pub root: File,
}

impl Running {
    /// Files without names; empty ones without images.
    pub fn of_images(images: Option<&Images>) -> Result<Running, UpdateError> {
        let file = |bytes: &[u8]| {
            let file = tempfile::tempfile().and_then(|file| file.write_all_at(bytes, 0).map(|()| file));
            file.map_err(at("write a file in", &std::env::temp_dir()))
        };
        let (esp, root) = images.map_or((&[][..], &[][..]), |images| (images.esp, images.root));
        Ok(Running { esp: file(esp)?, root: file(root)? })
    }
}

/// Two slots of a device.
pub struct Slots(BTreeMap<Area, File>);

impl Slots {
    /// The other slot has as much room as the payload's release needs. Its files have no names.
    pub fn new(running: Running, described: &Described) -> Result<Slots, UpdateError> {
        let to = &described.header.to;
        let tree_bytes = (to.root.size_bytes / DATA_PER_TREE + TREE_BYTES).next_multiple_of(BLOCK_BYTES.into());
        let idle = [
            (Area::Esp(Slot::B), to.esp.size_bytes),
            (Area::Root(Slot::B), to.root.size_bytes),
            (Area::Verity(Slot::B), tree_bytes),
        ];
        let mut files = BTreeMap::from([(Area::Esp(RUNNING), running.esp), (Area::Root(RUNNING), running.root)]);
        for (area, bytes) in idle {
            let file = tempfile::tempfile().and_then(|file| file.set_len(bytes).map(|()| file));
            files.insert(area, file.map_err(at("create a file in", &std::env::temp_dir()))?);
        }
        Ok(Slots(files))
    }

    fn file(&self, area: Area) -> io::Result<&File> {
        self.0.get(&area).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Storage for Slots {
    fn size_bytes(&self, area: Area) -> io::Result<u64> {
        Ok(self.file(area)?.metadata()?.len())
    }

    fn read_at(&self, area: Area, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file(area)?.read_exact_at(bytes, offset)
    }

    fn write_at(&mut self, area: Area, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(area)?.write_all_at(bytes, offset)
    }

    fn flush(&mut self, area: Area) -> io::Result<()> {
        self.file(area)?.sync_data()
    }

    fn drop_caches(&mut self, _: Area) -> io::Result<()> {
        Ok(())
    }
}

/// A payload, fetched as from a server.
pub struct InMemory<'a>(pub &'a [u8]);

impl Payloads for InMemory<'_> {
    fn range(&mut self, _: &str, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let range = usize::try_from(offset).ok().zip(usize::try_from(length).ok());
        let bytes = range.and_then(|(start, length)| self.0.get(start..start.checked_add(length)?));
        bytes.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// The same of a file.
pub struct InFile(pub File);

impl Payloads for InFile {
    fn range(&mut self, _: &str, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.0.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

/// Installs and commits the payload.
pub fn run(
    described: &Described,
    payloads: &mut dyn Payloads,
    running: Running,
    key: &VerifyingKey,
) -> Result<Report, UpdateError> {
    let custom = described.custom(100);
    let nothing = "0".repeat(64);
    let target = described.name();
    let simulation = Simulation {
        target: &target,
        custom: &custom,
        keys: &[*key],
        running: RUNNING,
        release: custom.from.as_ref().unwrap_or(&nothing),
    };
    let mut slots = Slots::new(running, described)?;
    Ok(simulate::run(simulation, &mut slots, payloads)?)
}

//! A device whose areas are files of a folder, and a server of one file.
//!
//! Invariant: it keeps nothing in memory, so that what an installation takes is the installation's own.

use osbuild_format::command_line::Slot;
use osbuild_update::device::{Area, BootManager, Payloads, Storage};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Areas as files of a folder.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn file(&self, area: Area) -> io::Result<File> {
        let name = format!("{area:?}");
        File::options().read(true).write(true).create(true).truncate(false).open(self.0.join(name))
    }
}

impl Storage for Folder {
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

#[derive(Default)]
pub struct Firmware(Option<Slot>);

impl BootManager for Firmware {
    fn provide_options(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn committed(&self) -> io::Result<Option<Slot>> {
        Ok(Some(Slot::A))
    }

    fn next(&self) -> io::Result<Option<Slot>> {
        Ok(self.0)
    }

    fn set_next(&mut self, slot: Option<Slot>) -> io::Result<()> {
        self.0 = slot;
        Ok(())
    }

    fn commit(&mut self, _: Slot) -> io::Result<()> {
        Ok(())
    }
}

pub struct FileServer(pub File);

impl Payloads for FileServer {
    fn range(&mut self, _: &str, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length as usize];
        self.0.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

//! The slots' partitions and the file of the state, as an update reads and writes them.
//!
//! Invariant: the running slot's partitions are never opened for writing, whoever asks.

use super::firmware::other;
use crate::boot::slot::Disk;
use crate::data::OWN_FOLDER;
use crate::file;
use osbuild_format::command_line::Slot;
use osbuild_format::hex;
use osbuild_update::device::{Area, Storage};
use rustix::fs::{fadvise, Advice};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Two records of 4096 bytes.
const STATE_BYTES: u64 = 8192;
const CHUNK_BYTES: usize = 256 << 10;

struct Place {
    area: Area,
    file: File,
    size_bytes: u64,
    writable: bool,
}

pub struct Partitions {
    places: Vec<Place>,
}

impl Partitions {
    /// With nothing but the state.
    pub fn only_state(writable: bool) -> io::Result<Self> {
        let place = Place { writable, ..state(Path::new(OWN_FOLDER))? };
        Ok(Partitions { places: vec![place] })
    }

    /// Of the disk with both slots, of which `running` is never written.
    pub fn open(disk: &Disk, running: Slot) -> io::Result<Self> {
        let mut places = vec![state(Path::new(OWN_FOLDER))?];
        for slot in [running, other(running)] {
            let areas = [("esp", Area::Esp(slot)), ("root", Area::Root(slot)), ("verity", Area::Verity(slot))];
            for (label, area) in areas {
                let label = format!("{label}-{}", slot.letter());
                let path = disk.device(&label).map_err(|error| io::Error::other(error.to_string()))?;
                places.push(device(area, &path, slot != running).map_err(|error| named(&path, error))?);
            }
        }
        Ok(Partitions { places })
    }

    /// Name of the release in a slot: SHA-256 of its ESP, 64 hex digits.
    pub fn release(&self, slot: Slot) -> io::Result<String> {
        let esp = Area::Esp(slot);
        let size = self.size_bytes(esp)?;
        let (mut hash, mut done, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK_BYTES]);
        while done < size {
            let length = usize::try_from(size - done).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
            self.read_at(esp, done, &mut chunk[..length])?;
            hash.update(&chunk[..length]);
            done += length as u64;
        }
        Ok(hex::encode(&hash.finalize()))
    }

    fn place(&self, area: Area) -> io::Result<&Place> {
        let place = self.places.iter().find(|place| place.area == area);
        place.ok_or_else(|| io::Error::other(format!("this device has no {area:?}")))
    }

    /// The part of `area` at `offset`, which has to be in it.
    fn within(&self, area: Area, offset: u64, length: usize) -> io::Result<&Place> {
        let place = self.place(area)?;
        let end = u64::try_from(length).ok().and_then(|length| offset.checked_add(length));
        match end.is_some_and(|end| end <= place.size_bytes) {
            true => Ok(place),
            false => Err(io::Error::other(format!("{length} bytes at {offset} are not within {area:?}"))),
        }
    }
}

impl Storage for Partitions {
    fn size_bytes(&self, area: Area) -> io::Result<u64> {
        Ok(self.place(area)?.size_bytes)
    }

    fn read_at(&self, area: Area, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.within(area, offset, bytes.len())?.file.read_exact_at(bytes, offset)
    }

    fn write_at(&mut self, area: Area, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let place = self.within(area, offset, bytes.len())?;
        if !place.writable {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{area:?} is of the slot that runs")));
        }
        place.file.write_all_at(bytes, offset)
    }

    fn flush(&mut self, area: Area) -> io::Result<()> {
        self.place(area)?.file.sync_data()
    }

    fn drop_caches(&mut self, area: Area) -> io::Result<()> {
        // Only what is on the medium leaves the cache.
        let file = &self.place(area)?.file;
        file.sync_data()?;
        Ok(fadvise(file, 0, None, Advice::DontNeed)?)
    }
}

fn device(area: Area, path: &str, writable: bool) -> io::Result<Place> {
    let file = match writable {
        true => OpenOptions::new().read(true).write(true).open(path)?,
        false => file::open(path)?,
    };
    Ok(Place { area, size_bytes: osbuild_sys::block::size_bytes(&file)?, file, writable })
}

/// Made whole before it has its name: a state that is half there would be taken for damage.
fn state(folder: &Path) -> io::Result<Place> {
    let folder = folder.join("update");
    std::fs::create_dir_all(&folder)?;
    let path: PathBuf = folder.join("state");
    let is_whole = match std::fs::metadata(&path) {
        Ok(metadata) => metadata.len() == STATE_BYTES,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        // What cannot be looked at now may be whole.
        Err(error) => return Err(error),
    };
    if !is_whole {
        file::replace(&path, &[0; STATE_BYTES as usize], 0o600)?;
        for folder in [folder.as_path(), folder.parent().unwrap_or(&folder)] {
            file::open(folder)?.sync_all()?;
        }
    }
    let file = OpenOptions::new().read(true).write(true).mode(0o600).open(&path)?;
    Ok(Place { area: Area::State, file, size_bytes: STATE_BYTES, writable: true })
}

fn named(path: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot open `{path}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("osagent-{name}-{}", std::process::id()))
    }

    #[test]
    fn the_state_is_kept_and_one_of_a_wrong_length_is_made_anew() {
        let folder = folder("update-state");
        let open = || Partitions { places: vec![state(&folder).expect("opened")] };
        let mut partitions = open();
        partitions.write_at(Area::State, 4096, b"record").expect("written");
        partitions.flush(Area::State).expect("flushed");
        partitions.drop_caches(Area::State).expect("dropped");
        let read = |partitions: &Partitions| {
            let mut bytes = [0; 6];
            partitions.read_at(Area::State, 4096, &mut bytes).expect("read");
            bytes
        };
        assert_eq!(&read(&open()), b"record");
        file::replace(folder.join("update/state"), b"short", 0o600).expect("written");
        assert_eq!(read(&open()), [0; 6]);
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn nothing_is_read_or_written_beyond_an_area_or_in_the_running_slot() {
        let folder = folder("update-bounds");
        let mut place = state(&folder).expect("opened");
        (place.area, place.writable) = (Area::Esp(Slot::A), false);
        let mut partitions = Partitions { places: vec![place] };
        let area = Area::Esp(Slot::A);
        let denied = partitions.write_at(area, 0, b"x").expect_err("it runs");
        assert_eq!(denied.kind(), io::ErrorKind::PermissionDenied);
        partitions.places[0].writable = true;
        partitions.write_at(area, STATE_BYTES - 1, b"x").expect("the last byte");
        assert!(partitions.write_at(area, STATE_BYTES - 1, b"xy").is_err());
        assert!(partitions.read_at(area, u64::MAX, &mut [0; 2]).is_err());
        assert!(partitions.size_bytes(Area::State).is_err(), "there is none");
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}

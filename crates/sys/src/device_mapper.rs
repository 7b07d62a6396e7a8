//! One read-only device-mapper device from a table of one target, and the target's status.
//!
//! Invariant: a device that could not get its table is taken away again; names never reach the kernel cut short.
//! Layout and numbers: Linux `include/uapi/linux/dm-ioctl.h`, interface version 4.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

const CONTROL: &str = "/dev/mapper/control";
const HEADER_BYTES: usize = 312;
const SPEC_BYTES: usize = 40;
/// Header, target and parameters, or the status that comes back.
const BUFFER_BYTES: usize = 16 * 1024;

const DEV_CREATE: u64 = request(3);
const DEV_REMOVE: u64 = request(4);
const DEV_SUSPEND: u64 = request(6);
const TABLE_LOAD: u64 = request(9);
const TABLE_STATUS: u64 = request(12);

const READ_ONLY: u32 = 1;
const DEFERRED_REMOVE: u32 = 1 << 17;

const AT_DATA_SIZE: usize = 12;
const AT_DATA_START: usize = 16;
const AT_TARGET_COUNT: usize = 20;
const AT_FLAGS: usize = 28;
const AT_DEVICE: usize = 40;
const AT_NAME: usize = 48;
const AT_UUID: usize = 176;

/// `_IOWR(0xfd, command, struct dm_ioctl)`.
const fn request(command: u64) -> u64 {
    (3 << 30) | ((HEADER_BYTES as u64) << 16) | (0xfd << 8) | command
}

/// A device of one target that starts at sector 0.
#[derive(Clone, Debug)]
pub struct Table<'a> {
    /// At most 127 bytes.
    pub name: &'a str,
    /// At most 128 bytes.
    pub uuid: &'a str,
    /// In units of 512 bytes.
    pub sectors: u64,
    /// At most 15 bytes.
    pub target: &'a str,
    pub parameters: &'a str,
}

/// What the kernel says of a device's only target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetStatus {
    pub target: String,
    pub status: String,
}

/// Makes the device and gives back N of its `/dev/dm-N`.
pub fn create_read_only(table: &Table) -> io::Result<u32> {
    let control = open()?;
    let mut message = Message::new(table.name, table.uuid)?;
    message.put_u32(AT_FLAGS, READ_ONLY);
    message.send(&control, DEV_CREATE)?;
    let minor = minor_of(message.u64_at(AT_DEVICE));
    let loaded = load(&control, table).and_then(|()| {
        // "Suspend" without its flag set is how the interface spells resume.
        Message::new(table.name, "")?.send(&control, DEV_SUSPEND)
    });
    if let Err(error) = loaded {
        // The first error says why; that of the cleaning up would only hide it.
        let _ = Message::new(table.name, "").and_then(|mut m| m.send(&control, DEV_REMOVE));
        return Err(error);
    }
    Ok(minor)
}

/// Takes a device away; one that is still open goes when it no longer is.
pub fn remove(name: &str) -> io::Result<()> {
    let mut message = Message::new(name, "")?;
    message.put_u32(AT_FLAGS, DEFERRED_REMOVE);
    message.send(&open()?, DEV_REMOVE)
}

/// The status of the target of device `name`.
pub fn status(name: &str) -> io::Result<TargetStatus> {
    let mut message = Message::new(name, "")?;
    message.send(&open()?, TABLE_STATUS)?;
    message.target_status().ok_or_else(|| io::Error::other("the device has not exactly one target"))
}

fn open() -> io::Result<File> {
    File::options().read(true).write(true).open(CONTROL)
}

fn load(control: &File, table: &Table) -> io::Result<()> {
    let mut message = Message::new(table.name, "")?;
    message.put_u32(AT_FLAGS, READ_ONLY);
    message.put_u32(AT_TARGET_COUNT, 1);
    message.put_u64(HEADER_BYTES + 8, table.sectors);
    message.put_text(HEADER_BYTES + 24, 16, table.target)?;
    message.put_text(HEADER_BYTES + SPEC_BYTES, BUFFER_BYTES - HEADER_BYTES - SPEC_BYTES, table.parameters)?;
    message.send(control, TABLE_LOAD)
}

/// Linux `huge_encode_dev`: the minor number's low byte and the rest lie apart.
fn minor_of(device: u64) -> u32 {
    u32::try_from((device & 0xff) | ((device >> 12) & 0xfff00)).expect("20 bits")
}

/// `struct dm_ioctl` with room behind it.
struct Message {
    /// Eight-byte words, so that the kernel's struct is aligned.
    words: Vec<u64>,
}

impl Message {
    fn new(name: &str, uuid: &str) -> io::Result<Self> {
        let mut message = Message { words: vec![0; BUFFER_BYTES / 8] };
        message.put_u32(0, 4);
        message.put_u32(AT_DATA_SIZE, u32::try_from(BUFFER_BYTES).expect("a small constant"));
        message.put_u32(AT_DATA_START, u32::try_from(HEADER_BYTES).expect("a small constant"));
        message.put_text(AT_NAME, 128, name)?;
        message.put_text(AT_UUID, 129, uuid)?;
        Ok(message)
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        for (offset, byte) in bytes.iter().enumerate() {
            let (word, place) = ((at + offset) / 8, (at + offset) % 8);
            let mut cell = self.words[word].to_ne_bytes();
            cell[place] = *byte;
            self.words[word] = u64::from_ne_bytes(cell);
        }
    }

    fn put_u32(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_ne_bytes());
    }

    fn put_u64(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_ne_bytes());
    }

    /// `room` includes the final NUL.
    fn put_text(&mut self, at: usize, room: usize, text: &str) -> io::Result<()> {
        if text.len() >= room || text.contains('\0') {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a device-mapper text is too long or has a NUL"));
        }
        self.put(at, text.as_bytes());
        Ok(())
    }

    fn bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    fn u64_at(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.bytes()[at..at + 8].try_into().expect("8 bytes"))
    }

    fn target_status(&self) -> Option<TargetStatus> {
        let bytes = self.bytes();
        let u32_at = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        if u32_at(AT_TARGET_COUNT) != 1 {
            return None;
        }
        let start = usize::try_from(u32_at(AT_DATA_START)).ok()?;
        let spec = bytes.get(start..start.checked_add(SPEC_BYTES)?)?;
        let status = bytes.get(start + SPEC_BYTES..)?;
        Some(TargetStatus { target: text(&spec[24..40]), status: text(status) })
    }

    fn send(&mut self, control: &File, request: u64) -> io::Result<()> {
        // SAFETY: the buffer is as long as its `data_size` says, aligned to 8, and outlives the call.
        let answer = unsafe { libc::ioctl(control.as_raw_fd(), request, self.words.as_mut_ptr()) };
        if answer < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_numbers_are_those_of_the_kernel() {
        assert_eq!(DEV_CREATE, 0xc138_fd03);
        assert_eq!(TABLE_STATUS, 0xc138_fd0c);
    }

    #[test]
    fn minors_beyond_a_byte_are_put_together() {
        assert_eq!(minor_of(0xfd00), 0);
        assert_eq!(minor_of(0x0010_fd05), 0x105);
    }

    #[test]
    fn texts_that_do_not_fit_are_refused() {
        assert!(Message::new(&"x".repeat(128), "").is_err());
        assert!(Message::new("a\0b", "").is_err());
        let message = Message::new(&"x".repeat(127), "u").expect("it fits");
        assert_eq!(text(&message.bytes()[AT_NAME..]).len(), 127);
    }

    #[test]
    fn a_status_is_taken_apart_only_when_it_is_whole() {
        let mut message = Message::new("root", "").expect("it fits");
        assert_eq!(message.target_status(), None);
        message.put_u32(AT_TARGET_COUNT, 1);
        message.put_text(HEADER_BYTES + 24, 16, "verity").expect("it fits");
        message.put_text(HEADER_BYTES + SPEC_BYTES, 100, "V").expect("it fits");
        let status = message.target_status().expect("it is whole");
        assert_eq!((status.target.as_str(), status.status.as_str()), ("verity", "V"));
        message.put_u32(AT_DATA_START, u32::MAX);
        assert_eq!(message.target_status(), None);
    }
}

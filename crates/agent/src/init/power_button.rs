//! The power button, as an input device of the kernel.
//!
//! Invariant: only a press counts, and only of the power key. A button that is gone says so: it would be readable for
//! ever.

use crate::file;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};

/// Linux `KEY_POWER`.
const KEY_POWER: u16 = 116;
const EVENT_KEY: u16 = 1;
/// Linux `struct input_event` on 64-bit systems: two times of 8 bytes, type, code, value.
const EVENT_BYTES: usize = 24;
const LIMIT_BUTTONS: usize = 8;

pub struct PowerButton {
    device: File,
}

/// What has become of a button since it was last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Nothing,
    Press,
    /// Unplugged, or broken.
    Gone,
}

/// Every input device that has a power key.
pub fn find() -> Vec<PowerButton> {
    let Ok(entries) = std::fs::read_dir("/sys/class/input") else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let with_key = names.filter(|name| name.starts_with("event")).filter(|name| {
        file::text(format!("/sys/class/input/{name}/device/capabilities/key")).is_ok_and(|keys| has_power_key(&keys))
    });
    with_key.filter_map(|name| open(&name)).take(LIMIT_BUTTONS).collect()
}

fn open(name: &str) -> Option<PowerButton> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let device = rustix::fs::open(format!("/dev/input/{name}"), flags, Mode::empty()).ok()?;
    Some(PowerButton { device: File::from(device) })
}

/// The bitmap of keys in hexadecimal words of 64 bits, the highest first.
fn has_power_key(keys: &str) -> bool {
    let place = usize::from(KEY_POWER / 64);
    let word = keys.split_ascii_whitespace().rev().nth(place).and_then(|word| u64::from_str_radix(word, 16).ok());
    word.is_some_and(|word| word >> (KEY_POWER % 64) & 1 == 1)
}

impl PowerButton {
    /// Since the last call; never waits.
    pub fn hear(&mut self) -> Heard {
        let mut events = [0; EVENT_BYTES * 16];
        match self.device.read(&mut events) {
            Ok(0) => Heard::Gone,
            Ok(count) if events[..count].chunks_exact(EVENT_BYTES).any(is_press) => Heard::Press,
            Ok(_) => Heard::Nothing,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Heard::Nothing,
            Err(_) => Heard::Gone,
        }
    }
}

fn is_press(event: &[u8]) -> bool {
    let u16_at = |at: usize| u16::from_ne_bytes([event[at], event[at + 1]]);
    let value = i32::from_ne_bytes([event[20], event[21], event[22], event[23]]);
    (u16_at(16), u16_at(18), value) == (EVENT_KEY, KEY_POWER, 1)
}

impl AsFd for PowerButton {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_power_key_is_bit_116() {
        assert!(has_power_key("10000000000000 0"));
        assert!(has_power_key("1 10000000000000 ffffffffffffffff"));
        for none in ["", "0", "10000000000000", "x 0", "8000000000000 0"] {
            assert!(!has_power_key(none), "{none}");
        }
    }

    fn press() -> [u8; EVENT_BYTES] {
        let mut event = [0; EVENT_BYTES];
        event[16] = 1;
        event[18] = 116;
        event[20] = 1;
        event
    }

    #[test]
    fn a_button_that_is_unplugged_is_gone_and_one_that_is_silent_is_not() {
        let (device, mut finger) = std::os::unix::net::UnixStream::pair().expect("a pair");
        device.set_nonblocking(true).expect("it can");
        let mut button = PowerButton { device: File::from(std::os::fd::OwnedFd::from(device)) };
        assert_eq!(button.hear(), Heard::Nothing);
        finger.write_all(&press()).expect("written");
        assert_eq!((button.hear(), button.hear()), (Heard::Press, Heard::Nothing));
        drop(finger);
        assert_eq!(button.hear(), Heard::Gone);
        // A folder: what is open, but whose every read fails.
        let mut broken = PowerButton { device: file::open("/").expect("it is there") };
        assert_eq!(broken.hear(), Heard::Gone);
    }

    #[test]
    fn releases_and_other_keys_do_not_count() {
        let event = press();
        assert!(is_press(&event));
        for (at, value) in [(16, 0), (18, 115), (20, 0), (20, 2)] {
            let mut other = event;
            other[at] = value;
            assert!(!is_press(&other));
        }
    }
}

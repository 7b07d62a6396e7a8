//! The power button, as an input device of the kernel.
//!
//! Invariant: only a press counts, and only of the power key.

use crate::file;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::Read;
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
    /// Whether it was pressed since the last call.
    pub fn pressed(&mut self) -> bool {
        let mut events = [0; EVENT_BYTES * 16];
        match self.device.read(&mut events) {
            Ok(count) => events[..count].chunks_exact(EVENT_BYTES).any(is_press),
            Err(_) => false,
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

    #[test]
    fn the_power_key_is_bit_116() {
        assert!(has_power_key("10000000000000 0"));
        assert!(has_power_key("1 10000000000000 ffffffffffffffff"));
        for none in ["", "0", "10000000000000", "x 0", "8000000000000 0"] {
            assert!(!has_power_key(none), "{none}");
        }
    }

    #[test]
    fn releases_and_other_keys_do_not_count() {
        let mut event = [0; EVENT_BYTES];
        event[16] = 1;
        event[18] = 116;
        event[20] = 1;
        assert!(is_press(&event));
        for (at, value) in [(16, 0), (18, 115), (20, 0), (20, 2)] {
            let mut other = event;
            other[at] = value;
            assert!(!is_press(&other));
        }
    }
}

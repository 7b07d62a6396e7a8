//! What the boot manager was told: `BootOrder`, `BootNext` and the entries they name.
//!
//! Source: UEFI 2.10 section 3.1.3 (load options) and 10.3.5.1 (hard drive device path).
//! Invariant: an entry that cannot be read is left out, never guessed.

use super::format::{guid_at, u16_at, u32_at};
use super::guid::{self, Guid};
use super::VariableStore;

/// An entry of the boot manager, `Boot####`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootEntry {
    pub number: u16,
    pub active: bool,
    pub description: String,
    /// The GPT partition that its device path names, if it names one.
    pub partition: Option<Guid>,
}

const ACTIVE: u32 = 1;
/// Media device path, hard drive.
const HARD_DRIVE: [u8; 2] = [4, 1];
const END: u8 = 0x7f;
const SIGNATURE_IS_GUID: u8 = 2;

impl VariableStore {
    pub fn boot_order(&self) -> Vec<u16> {
        let data = self.get(guid::GLOBAL_VARIABLE, "BootOrder").map_or(&[][..], |v| &v.data);
        data.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect()
    }

    pub fn boot_next(&self) -> Option<u16> {
        u16_at(&self.get(guid::GLOBAL_VARIABLE, "BootNext")?.data, 0)
    }

    pub fn boot_entry(&self, number: u16) -> Option<BootEntry> {
        let option = &self.get(guid::GLOBAL_VARIABLE, &format!("Boot{number:04X}"))?.data;
        let active = u32_at(option, 0)? & ACTIVE != 0;
        let path_length = usize::from(u16_at(option, 4)?);
        let units: Vec<u16> = option[6..].chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
        let length = units.iter().position(|unit| *unit == 0)?;
        let description = String::from_utf16(&units[..length]).ok()?;
        let start = 6 + 2 * (length + 1);
        let partition = option.get(start..start + path_length).and_then(partition_of);
        Some(BootEntry { number, active, description, partition })
    }

    /// All entries, by number.
    pub fn boot_entries(&self) -> Vec<BootEntry> {
        let number = |name: &str| u16::from_str_radix(name.strip_prefix("Boot").filter(|n| n.len() == 4)?, 16).ok();
        let mut numbers: Vec<u16> = self.variables.iter().filter_map(|v| number(&v.name)).collect();
        numbers.sort_unstable();
        numbers.into_iter().filter_map(|n| self.boot_entry(n)).collect()
    }
}

fn partition_of(mut path: &[u8]) -> Option<Guid> {
    loop {
        let length = usize::from(u16_at(path, 2)?);
        let node = path.get(..length).filter(|node| node.len() >= 4)?;
        if node[..2] == HARD_DRIVE && node.get(41) == Some(&SIGNATURE_IS_GUID) {
            return guid_at(node, 24);
        }
        if node[0] == END {
            return None;
        }
        path = &path[length..];
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::ATTRIBUTES_RUNTIME;
    use super::super::tests::empty_image;
    use super::super::Variable;
    use super::*;
    use proptest::prelude::*;

    fn store_with(name: &str, data: Vec<u8>) -> VariableStore {
        let mut store = VariableStore::read(empty_image(4096)).unwrap();
        let vendor = guid::GLOBAL_VARIABLE;
        store.set(Variable { vendor, name: name.into(), attributes: ATTRIBUTES_RUNTIME, time: [0; 16], data });
        store
    }

    #[test]
    fn an_entry_for_a_partition_is_read() {
        let mut option = vec![1, 0, 0, 0, 46, 0];
        option.extend("slot a\0".encode_utf16().flat_map(u16::to_le_bytes));
        option.extend([4, 1, 42, 0]);
        option.extend([0; 20]);
        option.extend([0xab; 16]);
        option.extend([2, 2, 0x7f, 0xff, 4, 0]);
        let entry = store_with("Boot00A1", option).boot_entry(0xa1).unwrap();
        assert_eq!((entry.active, entry.description.as_str()), (true, "slot a"));
        assert_eq!(entry.partition, Some(Guid([0xab; 16])));
    }

    #[test]
    fn order_and_trial_are_read() {
        assert_eq!(store_with("BootOrder", vec![2, 0, 0, 1]).boot_order(), [2, 0x100]);
        assert_eq!(store_with("BootNext", vec![3, 0]).boot_next(), Some(3));
        assert_eq!(store_with("BootNext", vec![3]).boot_next(), None);
    }

    proptest! {
        #[test]
        fn any_entry_is_read_or_left_out(data in prop::collection::vec(any::<u8>(), 1..120)) {
            let store = store_with("Boot0001", data);
            prop_assert!(store.boot_entries().len() <= 1);
        }
    }
}

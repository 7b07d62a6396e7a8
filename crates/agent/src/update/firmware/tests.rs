//! A firmware whose variables are a map, before and after what the agent does to it.

use super::*;
use osbuild_format::gpt::{types, Guid, Layout};
use std::collections::BTreeMap;

#[derive(Clone, Default)]
struct Map {
    values: BTreeMap<String, Vec<u8>>,
    writes: usize,
}

impl Variables for Map {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.values.keys().cloned().collect())
    }
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match self.values.get(name) {
            Some(value) if value.len() > load_option::LIMIT_BYTES => Err(io::ErrorKind::FileTooLarge.into()),
            value => Ok(value.cloned()),
        }
    }
    fn write(&mut self, name: &str, value: &[u8]) -> io::Result<()> {
        if self.values.insert(name.to_owned(), value.to_vec()).as_deref() != Some(value) {
            self.writes += 1;
        }
        Ok(())
    }
    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.writes += usize::from(self.values.remove(name).is_some());
        Ok(())
    }
}

fn disk(first: u8) -> Disk {
    let partition = |(index, name): (u8, &str)| Partition {
        type_guid: types::ESP,
        guid: Guid([first + index; 16]),
        name: name.to_owned(),
        first_lba: 2048 * (u64::from(index) + 1),
        last_lba: 2048 * (u64::from(index) + 2) - 1,
        attributes: 0,
    };
    let partitions = (0..).zip(["esp-a", "esp-b"]).map(partition).collect();
    Disk { name: "vda".into(), layout: Layout { disk_guid: Guid([9; 16]), partitions } }
}

/// As OVMF leaves it: an application, and the disk as a whole.
fn fresh() -> Map {
    let mut map = Map::default();
    for (number, name) in [("Boot0000", "UiApp"), ("Boot0002", "UEFI Misc Device")] {
        let name: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        map.values.insert(number.to_owned(), [&[1, 0, 0, 0, 4, 0][..], &name, &[0x7f, 0xff, 4, 0]].concat());
    }
    map.values.insert(ORDER.to_owned(), vec![2, 0, 0, 0]);
    map
}

fn firmware(map: Map) -> Firmware<Map> {
    Firmware::new(&disk(1), map).expect("both slots are there")
}

#[test]
fn options_are_made_once_and_those_of_others_stay() {
    let mut firmware = firmware(fresh());
    firmware.provide_options().expect("made");
    assert_eq!(firmware.committed().expect("read"), None);
    firmware.commit(Slot::A).expect("committed");
    // Free numbers are taken from the lowest on.
    assert_eq!(firmware.variables.values[ORDER], [1, 0, 3, 0, 2, 0, 0, 0]);
    assert_eq!(firmware.committed().expect("read"), Some(Slot::A));
    let writes = firmware.variables.writes;
    firmware.provide_options().expect("nothing to do");
    firmware.commit(Slot::A).expect("nothing to do");
    assert_eq!(firmware.variables.writes, writes);
    firmware.commit(Slot::B).expect("committed");
    assert_eq!(firmware.variables.values[ORDER], [3, 0, 1, 0, 2, 0, 0, 0]);
}

#[test]
fn a_firmware_that_lost_its_order_or_its_options_prefers_neither_slot_until_it_is_told() {
    let mut before = firmware(fresh());
    before.provide_options().expect("made");
    before.commit(Slot::A).expect("committed");
    let mut map = before.variables.clone();
    map.values.remove(ORDER);
    let mut without_order = firmware(map);
    without_order.provide_options().expect("nothing to do");
    assert_eq!(without_order.committed().expect("read"), None);
    without_order.commit(Slot::A).expect("committed");
    assert_eq!(without_order.variables.values[ORDER], [1, 0, 3, 0]);
    // Slot b's number was the first of the order, and somebody has made room below it.
    before.commit(Slot::B).expect("committed");
    let mut map = before.variables;
    for number in ["Boot0000", "Boot0001", "Boot0003"] {
        map.values.remove(number);
    }
    let mut without_options = firmware(map);
    without_options.provide_options().expect("made");
    assert_eq!(without_options.committed().expect("read"), None, "a number that the order names was given again");
}

#[test]
fn next_is_named_and_taken_back() {
    let mut firmware = firmware(fresh());
    assert!(firmware.set_next(Some(Slot::B)).is_err(), "there is no option yet");
    firmware.provide_options().expect("made");
    firmware.set_next(Some(Slot::B)).expect("named");
    assert_eq!((firmware.next().expect("read"), &firmware.variables.values[NEXT][..]), (Some(Slot::B), &[3, 0][..]));
    firmware.set_next(None).expect("taken back");
    firmware.set_next(None).expect("nothing to do");
    assert_eq!(firmware.next().expect("read"), None);
    // Somebody else's choice is none of our slots.
    firmware.variables.values.insert(NEXT.to_owned(), vec![0, 0]);
    assert_eq!(firmware.next().expect("read"), None);
}

#[test]
fn an_option_that_another_disk_left_is_corrected_in_its_place() {
    let mut before = Firmware::new(&disk(40), fresh()).expect("both slots are there");
    before.provide_options().expect("made");
    before.commit(Slot::B).expect("committed");
    let mut after = firmware(before.variables);
    assert_eq!(after.committed().expect("read"), None, "not our partition");
    after.provide_options().expect("corrected");
    assert_eq!(after.variables.values.len(), 5);
    assert_eq!(after.committed().expect("read"), Some(Slot::B));
}

#[test]
fn an_option_of_others_that_is_too_long_to_be_read_is_passed_over() {
    let mut map = fresh();
    map.values.insert("Boot0002".to_owned(), vec![1; load_option::LIMIT_BYTES + 1]);
    let mut firmware = firmware(map);
    firmware.provide_options().expect("made");
    assert_eq!(firmware.committed().expect("read"), None, "the order begins with it");
    firmware.commit(Slot::A).expect("committed");
    assert_eq!(firmware.variables.values[ORDER], [1, 0, 3, 0, 2, 0, 0, 0]);
}

#[test]
fn a_disk_without_a_slot_is_an_error() {
    let mut disk = disk(1);
    disk.layout.partitions.pop();
    let error = Firmware::new(&disk, fresh()).err().expect("no slot b").to_string();
    assert_eq!(error, "`vda` has no partition `esp-b`");
}

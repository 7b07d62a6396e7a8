//! The disks of the machine to the one whose ESP the firmware started, and its partitions' devices.
//!
//! Invariant: two disks that could both be meant are an error, never a choice. Waiting has an end, so the watchdog is
//! fed between two looks; a look that hangs is not fed.

use crate::error::{AgentError, Doing};
use crate::{file, time};
use osbuild_format::command_line::Slot;
use osbuild_format::gpt::{self, Guid, Layout};
use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// Disks may appear after the kernel has started us.
const PATIENCE: Duration = Duration::from_secs(10);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
const LIMIT_DISKS: usize = 64;

/// A disk with a partition table.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Below `/dev` and `/sys/block`.
    pub name: String,
    pub layout: Layout,
}

impl Disk {
    /// Reads the table of the disk `name`, from its second copy when the first is damaged.
    pub fn read(name: &str) -> Result<Self, AgentError> {
        let path = format!("/dev/{name}");
        let device = file::open(&path).doing(|| format!("open `{path}`"))?;
        let layout = layout(&device).ok_or_else(|| AgentError::Wrong(format!("`{path}` has no partition table")))?;
        Ok(Disk { name: name.to_owned(), layout })
    }

    /// Path of the device of the partition called `label`.
    pub fn device(&self, label: &str) -> Result<String, AgentError> {
        let mut found = self.layout.partitions.iter().enumerate().filter(|(_, p)| p.name == label);
        match (found.next(), found.next()) {
            (Some((index, _)), None) => Ok(format!("/dev/{}", partition_name(&self.name, index + 1))),
            (None, _) => Err(AgentError::Wrong(format!("`{}` has no partition `{label}`", self.name))),
            _ => Err(AgentError::Wrong(format!("`{}` has two partitions `{label}`", self.name))),
        }
    }

    pub fn has_esp(&self, guid: Guid) -> bool {
        self.layout.partitions.iter().any(|p| p.guid == guid)
    }

    fn slot_of(&self, guid: Guid) -> Option<Slot> {
        let partition = self.layout.partitions.iter().find(|p| p.guid == guid)?;
        Slot::from_letter(partition.name.strip_prefix("esp-")?)
    }
}

/// The disk with the partition `guid`, and the slot whose ESP that is.
pub fn wait_for_esp(guid: Guid, feed: &mut dyn FnMut()) -> Result<(Disk, Slot), AgentError> {
    let what = format!("the partition {guid}, which the firmware started from");
    let disk = wait_for(&what, |disk| disk.has_esp(guid), feed)?;
    match disk.slot_of(guid) {
        Some(slot) => Ok((disk, slot)),
        None => Err(AgentError::Wrong(format!("{what}, is no slot's ESP: its name is neither `esp-a` nor `esp-b`"))),
    }
}

/// The only disk with a slot of this letter.
pub fn wait_for_slot(slot: Slot, feed: &mut dyn FnMut()) -> Result<Disk, AgentError> {
    let label = format!("root-{}", slot.letter());
    wait_for(&format!("a partition `{label}`"), |disk| disk.layout.partitions.iter().any(|p| p.name == label), feed)
}

/// Waits for a device to be there.
pub fn wait_for_device(path: &str, feed: &mut dyn FnMut()) -> Result<(), AgentError> {
    let deadline = time::now() + PATIENCE;
    while !Path::new(path).exists() {
        if time::now() >= deadline {
            return Err(AgentError::Wrong(format!("`{path}` has not appeared within {} s", PATIENCE.as_secs())));
        }
        feed();
        std::thread::sleep(BETWEEN_LOOKS);
    }
    Ok(())
}

fn wait_for(what: &str, wanted: impl Fn(&Disk) -> bool, feed: &mut dyn FnMut()) -> Result<Disk, AgentError> {
    let deadline = time::now() + PATIENCE;
    loop {
        feed();
        let mut found: Vec<Disk> = disks().into_iter().filter(&wanted).collect();
        match found.len() {
            0 if time::now() < deadline => std::thread::sleep(BETWEEN_LOOKS),
            0 => {
                return Err(AgentError::Wrong(format!("no disk has {what}, after {} s", PATIENCE.as_secs())));
            }
            1 => return Ok(found.remove(0)),
            _ => {
                let names: Vec<String> = found.into_iter().map(|disk| disk.name).collect();
                return Err(AgentError::Wrong(format!("more than one disk has {what}: {}", names.join(", "))));
            }
        }
    }
}

/// Every disk that can be read and has a table; others are none of our business.
pub fn disks() -> Vec<Disk> {
    let Ok(entries) = std::fs::read_dir("/sys/block") else { return Vec::new() };
    let mut names: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    names
        .retain(|name| !["loop", "ram", "dm-", "zram", "sr"].iter().any(|virtual_disk| name.starts_with(virtual_disk)));
    names.sort();
    names.truncate(LIMIT_DISKS);
    names.iter().filter_map(|name| Disk::read(name).ok()).collect()
}

fn layout(device: &File) -> Option<Layout> {
    let start = file::read_at(device, 0, gpt::START_BYTES).ok()?;
    if let Ok(table) = gpt::parse_primary(&start) {
        return Some(table.layout);
    }
    let size = osbuild_sys::block::size_bytes(device).ok()?;
    let at = size.checked_sub(u64::try_from(gpt::END_BYTES).expect("a small constant"))?;
    let end = file::read_at(device, at, gpt::END_BYTES).ok()?;
    gpt::parse_backup(&end).ok().map(|table| table.layout)
}

/// As Linux names partitions: `vda1`, but `nvme0n1p1`.
fn partition_name(disk: &str, number: usize) -> String {
    let separator = if disk.ends_with(|c: char| c.is_ascii_digit()) { "p" } else { "" };
    format!("{disk}{separator}{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(names: &[&str]) -> Disk {
        let partition = |(index, name): (usize, &&str)| {
            let first_lba = 2048 * (u64::try_from(index).expect("few") + 1);
            let guid = Guid([u8::try_from(index + 1).expect("few"); 16]);
            let (type_guid, last_lba) = (gpt::types::ESP, first_lba + 2047);
            gpt::Partition { type_guid, guid, name: (*name).into(), first_lba, last_lba, attributes: 0 }
        };
        let partitions = names.iter().enumerate().map(partition).collect();
        Disk { name: "vda".into(), layout: Layout { disk_guid: Guid([9; 16]), partitions } }
    }

    #[test]
    fn partitions_are_named_as_linux_does() {
        assert_eq!(partition_name("vda", 3), "vda3");
        assert_eq!(partition_name("nvme0n1", 12), "nvme0n1p12");
        assert_eq!(partition_name("mmcblk0", 1), "mmcblk0p1");
    }

    #[test]
    fn the_esp_decides_about_the_slot() {
        let disk = disk(&["esp-a", "esp-b", "esp-c", "data"]);
        let slots = [1, 2, 3, 4, 5].map(|n| disk.slot_of(Guid([n; 16])));
        assert_eq!(slots, [Some(Slot::A), Some(Slot::B), None, None, None]);
        assert!(disk.has_esp(Guid([4; 16])) && !disk.has_esp(Guid([5; 16])));
    }

    #[test]
    fn the_wait_for_a_device_is_fed_and_ends_when_it_is_there() {
        let path = std::env::temp_dir().join(format!("osagent-late-device-{}", std::process::id()));
        let mut feedings = 0;
        let mut feed = || {
            feedings += 1;
            if feedings == 3 {
                std::fs::create_dir(&path).expect("it is not there yet");
            }
        };
        wait_for_device(path.to_str().expect("plain text"), &mut feed).expect("it appeared");
        std::fs::remove_dir(&path).expect("it is there");
        assert_eq!(feedings, 3);
    }

    #[test]
    fn a_label_must_be_there_once() {
        let disk = disk(&["root-a", "data", "data"]);
        assert_eq!(disk.device("root-a").expect("once"), "/dev/vda1");
        assert!(disk.device("root-b").expect_err("missing").to_string().contains("no partition `root-b`"));
        assert!(disk.device("data").expect_err("twice").to_string().contains("two partitions `data`"));
    }
}

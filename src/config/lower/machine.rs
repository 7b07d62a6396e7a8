//! `machines/NAME.yaml` to [`Machine`].
//!
//! Invariant: partition sizes are whole MiB, within what the writers and checkers can do, and a verity partition holds its tree.

use super::values;
use crate::config::diagnostic::Diagnostic;
use crate::config::file::machine::{BoardEntry, MachineFile, NetworkEntry, PartitionsEntry};
use crate::config::file::scalar::Size;
use crate::model::machine::{IsolatedNetwork, Machine, PartitionSizes, VirtualBoard};
use crate::model::{Located, Origin};
use osbuild_format::app::is_logical_name;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

const MIB: u64 = 1 << 20;

/// Reports every size that does not fit.
pub fn machine(file: MachineFile, problems: &mut Vec<Diagnostic>) -> Option<Machine> {
    let before = problems.len();
    names(&file, problems);
    let partitions = partitions(&file.partitions, problems);
    let board = board(file.board, &partitions, &file.origin, problems);
    if file.console.is_empty() || file.console.contains(char::is_whitespace) {
        let problem = Diagnostic::at(&file.origin, format!("`{}` is not a console", file.console));
        problems.push(problem.help("such as `ttyS0,115200`"));
    }
    (problems.len() == before).then(|| Machine {
        name: file.machine.value,
        architecture: file.architecture,
        firmware: file.firmware,
        partitions,
        kernel: file.kernel.value,
        efi_stub: file.efi_stub.value,
        kernel_fragments: values(file.kernel_fragments),
        kernel_compression: file.kernel_compression,
        console: file.console,
        kernel_command_line: file.kernel_command_line,
        memory_bytes: file.memory.map(|memory| memory.value.0),
        devices: file.devices.into_iter().map(|(name, node)| (name, node.value)).collect(),
        interfaces: file.interfaces.into_iter().map(|(name, own)| (name, own.value)).collect(),
        board,
        origin: file.origin,
    })
}

/// The rules of what the device is told, see `osbuild_format::device`.
fn names(file: &MachineFile, problems: &mut Vec<Diagnostic>) {
    for (name, at) in file.devices.iter().chain(&file.interfaces).filter(|(name, _)| !is_logical_name(name)) {
        let message = format!("`{name}` is not a logical name: use A-Z, digits and `_`, at most 31");
        problems.push(Diagnostic::at(&at.origin, message).help("such as `METER_UART`; apps write it with a `$`"));
    }
    let word = |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    for node in file.devices.values() {
        let text = &node.value;
        if !text.starts_with("/dev/") || text.contains("..") || !word(text, 64) {
            let message = format!("`{text}` is not a device node");
            problems.push(Diagnostic::at(&node.origin, message).help("a path below `/dev`, such as `/dev/ttyS1`"));
        }
    }
    for interface in file.interfaces.values().filter(|own| !word(&own.value, 15) || own.value.contains('/')) {
        let message = format!("`{}` is not the name of a network interface", interface.value);
        problems.push(Diagnostic::at(&interface.origin, message).help("1 to 15 characters, such as `eth1`"));
    }
}

fn partitions(entry: &PartitionsEntry, problems: &mut Vec<Diagnostic>) -> PartitionSizes {
    let mut size = |what: &str, size: &Located<Size>, least: u64, most: u64| {
        let bytes = size.value.0;
        if !bytes.is_multiple_of(MIB) || bytes < least {
            let (have, least) = (bytes as f64 / MIB as f64, least.div_ceil(MIB));
            let message = format!("partition `{what}` must be a whole number of MiB, at least {least}, not {have}");
            problems.push(Diagnostic::at(&size.origin, message).help(format!("write `{what}: {least}M` or more")));
        } else if bytes > most {
            let (have, most) = (bytes / MIB, most / MIB);
            let message = format!("partition `{what}` must have at most {most} MiB, not {have}");
            problems.push(Diagnostic::at(&size.origin, message).help("what checks an image reads no more"));
        }
        bytes
    };
    let root_bytes = size("root", &entry.root, MIB, PartitionSizes::ROOT_MOST_BYTES);
    // 32 bytes for each 4096, at every level, and one superblock.
    let tree = root_bytes.div_ceil(4096).div_ceil(127).saturating_add(4).saturating_mul(4096);
    PartitionSizes {
        esp_bytes: size("esp", &entry.esp, PartitionSizes::ESP_LEAST_BYTES, PartitionSizes::ESP_MOST_BYTES),
        root_bytes,
        verity_bytes: size("verity", &entry.verity, tree, u64::MAX),
        data_bytes: size("data", &entry.data, 4 * MIB, u64::MAX),
    }
}

fn board(
    entry: Option<BoardEntry>,
    partitions: &PartitionSizes,
    origin: &Origin,
    problems: &mut Vec<Diagnostic>,
) -> VirtualBoard {
    let PartitionSizes { esp_bytes, root_bytes, verity_bytes, data_bytes } = *partitions;
    let slot = esp_bytes.saturating_add(root_bytes).saturating_add(verity_bytes);
    // Both copies of the partition table, each with room for alignment.
    let image = slot.saturating_mul(2).saturating_add(data_bytes).saturating_add(2 * MIB);
    let Some(entry) = entry else {
        let disk_bytes = image.max(1 << 30);
        let forwards = BTreeMap::new();
        return VirtualBoard { memory_mib: 1024, cpus: 2, forwards, serial_ports: 0, networks: Vec::new(), disk_bytes };
    };
    let at = &entry.origin;
    let forwards = forwards(entry.forwards, at, problems);
    if entry.disk.0 < image {
        let message = format!("the board's disk is smaller than the image of {} MiB", image.div_ceil(MIB));
        let help = format!("write `disk: {}M` or more, or shrink `partitions` at {origin}", image.div_ceil(MIB));
        problems.push(Diagnostic::at(at, message).help(help));
    }
    if entry.memory_mib < 128 || entry.cpus == 0 {
        problems.push(Diagnostic::at(at, "the board needs at least 128 MiB of memory and 1 processor"));
    }
    let BoardEntry { memory_mib, cpus, serial_ports, networks, disk, .. } = entry;
    // What QEMU's machine has room for beside its other devices.
    if serial_ports > 3 || networks.len() > 8 {
        problems.push(Diagnostic::at(at, "the board has room for 3 `serial-ports` and 8 `networks`, no more"));
    }
    let networks = networks.into_iter().filter_map(|network| isolated(network, problems)).collect();
    VirtualBoard { memory_mib, cpus, forwards, serial_ports, networks, disk_bytes: disk.0 }
}

fn forwards(written: BTreeMap<String, u16>, at: &Origin, problems: &mut Vec<Diagnostic>) -> BTreeMap<u16, u16> {
    let mut forwards = BTreeMap::new();
    for (host, guest) in written {
        match host.parse::<u16>() {
            Ok(host) if host > 0 && guest > 0 => drop(forwards.insert(host, guest)),
            _ => problems.push(
                Diagnostic::at(at, format!("`{host}: {guest}` does not forward a port")).help("such as `2222: 22`"),
            ),
        }
    }
    forwards
}

fn isolated(entry: NetworkEntry, problems: &mut Vec<Diagnostic>) -> Option<IsolatedNetwork> {
    let forwards = forwards(entry.forwards, &entry.guest.origin, problems);
    // QEMU takes 2 and 3 for itself, and gives out 15 and following.
    let usable = |address: &Ipv4Addr| matches!(address.octets()[3], 1 | 4..=14);
    let guest = entry.guest.value.parse().ok().filter(|guest| usable(guest) && guest.is_private());
    if guest.is_none() {
        let message = format!("`{}` is not an address for the guest", entry.guest.value);
        let help = "an IPv4 address of a private network that ends in 1 or 4 to 14, such as `192.168.50.1`";
        problems.push(Diagnostic::at(&entry.guest.origin, message).help(help));
    }
    Some(IsolatedNetwork { guest: guest?, forwards })
}

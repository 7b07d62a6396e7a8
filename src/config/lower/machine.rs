//! `machines/NAME.yaml` to [`Machine`].
//!
//! Invariant: partition sizes are whole MiB, within what the writers and checkers can do, and a verity partition holds its tree.

use super::values;
use crate::config::diagnostic::Diagnostic;
use crate::config::file::machine::{BoardEntry, MachineFile, PartitionsEntry};
use crate::config::file::scalar::Size;
use crate::model::machine::{Machine, PartitionSizes, VirtualBoard};
use crate::model::{Located, Origin};
use std::collections::BTreeMap;

const MIB: u64 = 1 << 20;

/// Reports every size that does not fit.
pub fn machine(file: MachineFile, problems: &mut Vec<Diagnostic>) -> Option<Machine> {
    let before = problems.len();
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
        console: file.console,
        kernel_command_line: file.kernel_command_line,
        board,
        origin: file.origin,
    })
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
        return VirtualBoard { memory_mib: 1024, cpus: 2, forwards: BTreeMap::new(), disk_bytes };
    };
    let at = &entry.origin;
    let mut forwards = BTreeMap::new();
    for (host, guest) in entry.forwards {
        match host.parse::<u16>() {
            Ok(host) if host > 0 && guest > 0 => drop(forwards.insert(host, guest)),
            _ => problems.push(
                Diagnostic::at(at, format!("`{host}: {guest}` does not forward a port")).help("such as `2222: 22`"),
            ),
        }
    }
    if entry.disk.0 < image {
        let message = format!("the board's disk is smaller than the image of {} MiB", image.div_ceil(MIB));
        let help = format!("write `disk: {}M` or more, or shrink `partitions` at {origin}", image.div_ceil(MIB));
        problems.push(Diagnostic::at(at, message).help(help));
    }
    if entry.memory_mib < 128 || entry.cpus == 0 {
        problems.push(Diagnostic::at(at, "the board needs at least 128 MiB of memory and 1 processor"));
    }
    VirtualBoard { memory_mib: entry.memory_mib, cpus: entry.cpus, forwards, disk_bytes: entry.disk.0 }
}

//! A machine: the board an image is for.
//!
//! Invariant: sizes are multiples of 1 MiB and hold at least 1 MiB.

use super::{MachineName, Origin, RecipeName};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

#[derive(Clone, Debug)]
pub struct Machine {
    pub name: MachineName,
    pub architecture: Architecture,
    pub firmware: Firmware,
    pub partitions: PartitionSizes,
    /// The recipe of class `kernel` and kind linux.
    pub kernel: RecipeName,
    /// The recipe whose package holds the systemd EFI stub.
    pub efi_stub: RecipeName,
    /// Names of files in `kernel-config/`, without `.config`.
    pub kernel_fragments: Vec<String>,
    pub kernel_compression: KernelCompression,
    /// Kernel console, such as `ttyS0,115200`.
    pub console: String,
    pub kernel_command_line: Vec<String>,
    /// What a device has at least; none: not known.
    pub memory_bytes: Option<u64>,
    /// What apps know by a logical name, to its node below `/dev`.
    pub devices: BTreeMap<String, String>,
    /// Logical name to the kernel's, of interfaces that apps may own.
    pub interfaces: BTreeMap<String, String>,
    /// How `osbuild run` builds the virtual board.
    pub board: VirtualBoard,
    pub origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Architecture {
    X86_64,
    Aarch64,
}

impl Architecture {
    /// As in GNU triplets: `x86_64`.
    pub fn gnu_cpu(self) -> &'static str {
        match self {
            Architecture::X86_64 => "x86_64",
            Architecture::Aarch64 => "aarch64",
        }
    }
    /// As Debian names it: `amd64`.
    pub fn debian(self) -> &'static str {
        match self {
            Architecture::X86_64 => "amd64",
            Architecture::Aarch64 => "arm64",
        }
    }
    /// `ARCH=` of the kernel's makefiles.
    pub fn kernel(self) -> &'static str {
        match self {
            Architecture::X86_64 => "x86",
            Architecture::Aarch64 => "arm64",
        }
    }
    /// File name of the fallback boot loader, UEFI 2.10 section 3.5.1.1.
    pub fn efi_boot_file(self) -> &'static str {
        match self {
            Architecture::X86_64 => "BOOTX64.EFI",
            Architecture::Aarch64 => "BOOTAA64.EFI",
        }
    }
}

/// How an x86 kernel lies in its image; that of Arm is always plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelCompression {
    /// Its bytes as they are: what changes from one release to the next is as small as the change.
    Stored,
    Lz4,
}

/// What starts the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// UEFI 2 with its boot manager as the boot loader, Secure Boot and variables that outlast power.
    Uefi,
}

/// Sizes in bytes; each slot has one `esp`, one `root` and one `verity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionSizes {
    pub esp_bytes: u64,
    pub root_bytes: u64,
    pub verity_bytes: u64,
    /// Size in the image; grown to the disk on first boot.
    pub data_bytes: u64,
}

impl PartitionSizes {
    /// FAT16 needs 4,085 clusters, and the writer makes them of 1 KiB: a smaller one would be read as FAT12.
    pub const ESP_LEAST_BYTES: u64 = 5 << 20;
    /// What checks an image reads an ESP whole.
    pub const ESP_MOST_BYTES: u64 = 512 << 20;
    /// Its verity tree is made in memory: 128 MiB.
    pub const ROOT_MOST_BYTES: u64 = 16 << 30;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualBoard {
    pub memory_mib: u32,
    pub cpus: u32,
    /// Host port to guest port, TCP, on loopback.
    pub forwards: BTreeMap<u16, u16>,
    /// Besides the console's.
    pub serial_ports: u32,
    /// Isolated ones, besides the one that leads out.
    pub networks: Vec<IsolatedNetwork>,
    /// Size the disk is grown to before the first boot.
    pub disk_bytes: u64,
}

/// A network of 256 addresses that leads nowhere but to the host's forwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsolatedNetwork {
    /// What the guest calls itself there; neither the network's own address nor one that the board uses.
    pub guest: Ipv4Addr,
    /// Host port to guest port, TCP, on loopback.
    pub forwards: BTreeMap<u16, u16>,
}

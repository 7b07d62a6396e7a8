//! `machines/NAME.yaml`: the board an image is for.
//!
//! Invariant: field names here are those of the file; [`crate::model::machine`] has the meaning.

use super::scalar::{Schema, Size};
use crate::config::record::{choices, record};
use crate::model::machine::{Architecture, Firmware, KernelCompression};
use crate::model::{Located, MachineName, RecipeName};
use std::collections::BTreeMap;

record! {
    /// The board an image is for: architecture, partitions, kernel and console.
    ///
    /// A machine stands in `layers/LAYER/machines/NAME.yaml`.
    pub struct MachineFile as "machine" {
        /// Version of this format: 1.
        "schema" schema: Schema,
        /// Name of the machine, the same as its file's.
        "machine" machine: Located<MachineName>,
        /// Instruction set.
        "architecture" architecture: Architecture,
        /// What starts the kernel. UEFI's boot manager chooses the slot.
        "firmware" firmware: Firmware = Firmware::Uefi => "uefi",
        /// Sizes of the partitions.
        "partitions" partitions: PartitionsEntry,
        /// The recipe of the kernel.
        "kernel" kernel: Located<RecipeName>,
        /// The recipe that holds the EFI stub of unified kernel images.
        "efi-stub" efi_stub: Located<RecipeName>,
        /// Files of `kernel-config/`, without `.config`.
        "kernel-fragments" kernel_fragments: Vec<Located<String>>,
        /// How the kernel lies in its image. Stored makes a larger `esp` and far smaller updates.
        "kernel-compression" kernel_compression: KernelCompression = KernelCompression::Stored => "stored",
        /// Console of the kernel and of the agent.
        "console" console: String,
        /// Words of the kernel command line, before the product's.
        "kernel-command-line" kernel_command_line: Vec<String>,
        /// Memory that a device has at least; the apps' limits must fit.
        "memory" memory: Option<Located<Size>>,
        /// Device nodes that apps may use: logical name to path, such as `METER_UART: /dev/ttyS1`.
        "devices" devices: BTreeMap<String, Located<String>>,
        /// Network interfaces that apps may own: logical name to the kernel's, such as `DOWNSTREAM: eth1`.
        "interfaces" interfaces: BTreeMap<String, Located<String>>,
        /// The virtual board of `osbuild run` and `osbuild test`.
        "board" board: Option<BoardEntry>,
    }
}

record! {
    /// Sizes of the partitions, each a multiple of 1M. Every slot has an `esp`, a `root` and a `verity`.
    pub struct PartitionsEntry as "partitions" {
        /// Holds one unified kernel image.
        "esp" esp: Located<Size>,
        /// Holds the root filesystem.
        "root" root: Located<Size>,
        /// Holds the hash tree of the root filesystem: at least a 127th of `root`.
        "verity" verity: Located<Size>,
        /// The writable partition in the image; the device grows it to its disk.
        "data" data: Located<Size>,
    }
}

record! {
    /// How the virtual board is built.
    pub struct BoardEntry as "board" {
        /// Memory in MiB.
        "memory-mib" memory_mib: u32 = 1024 => "1024",
        /// Processors.
        "cpus" cpus: u32 = 2 => "2",
        /// TCP ports of the host's loopback, and the guest's port behind each.
        "forwards" forwards: BTreeMap<String, u16>,
        /// Serial ports besides the console's.
        "serial-ports" serial_ports: u32 = 0 => "0",
        /// Networks that lead nowhere, with an interface in each, besides the one that leads out.
        "networks" networks: Vec<NetworkEntry>,
        /// Size of the disk on the first boot.
        "disk" disk: Size = Size(1 << 30) => "1G",
    }
}

record! {
    /// An isolated network of the virtual board. Its first 24 bits are the guest's address's.
    pub struct NetworkEntry as "network" {
        /// IPv4 address that the guest gives itself there, such as `192.168.50.1`.
        "guest" guest: Located<String>,
        /// TCP ports of the host's loopback, and the guest's port behind each.
        "forwards" forwards: BTreeMap<String, u16>,
    }
}

choices! { Architecture as "architecture" {
    "x86_64" => X86_64, "64-bit x86";
    "aarch64" => Aarch64, "64-bit Arm";
} }

choices! { KernelCompression as "kernel compression" {
    "stored" => Stored, "its bytes as they are";
    "lz4" => Lz4, "compressed, as the fragments request, where `esp` has no room; a changed kernel then travels as a whole";
} }

choices! { Firmware as "firmware" {
    "uefi" => Uefi, "UEFI with Secure Boot";
} }

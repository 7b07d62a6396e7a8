//! Any changes of a sound disk: each is found unless it lies in the data partition, and no disk does harm.

use super::{gpt, pe, signer};
use osbuild::image::pe::append;
use osbuild::image::verity::{self, Extent};
use osbuild::io::store::Store;
use osbuild::model::machine::{Architecture, Firmware, KernelCompression, Machine, PartitionSizes, VirtualBoard};
use osbuild::model::{MachineName, Origin, RecipeName};
use osbuild::release::image::{self, Parts, ReleaseInputs};
use osbuild::release::keys::PublicKeys;
use osbuild::release::verify::{self, Leftovers};
use osbuild_format::gpt::START_BYTES;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

const MIB: u64 = 1 << 20;
/// After 1 MiB: two ESPs of 5 MiB, two roots and two verity trees of 1 MiB, and then data.
const DATA: std::ops::Range<u64> = 15 * MIB..16 * MIB;

struct Disk {
    _folder: tempfile::TempDir,
    path: PathBuf,
    file: std::fs::File,
    bytes: u64,
    keys: PublicKeys,
}

/// A byte that says whether the primary table's checksums are set right, then four bytes a change: a place, how far
/// behind it, and the new value.
pub fn run(bytes: &[u8]) {
    static DISK: OnceLock<Mutex<Disk>> = OnceLock::new();
    let disk = DISK.get_or_init(|| Mutex::new(disk())).lock().unwrap_or_else(PoisonError::into_inner);
    let Some((repaired, changes)) = bytes.split_first() else { return };
    let mut before = Vec::new();
    let mut put = |at: u64, new: &[u8]| {
        let mut old = vec![0; new.len()];
        disk.file.read_exact_at(&mut old, at).expect("read");
        disk.file.write_all_at(new, at).expect("written");
        before.push((at, old));
    };
    for change in changes.chunks_exact(4) {
        let at = place(change[0], u64::from(u16::from_be_bytes([change[1], change[2]])), disk.bytes);
        put(at, &change[3..]);
    }
    if repaired & 1 == 1 {
        let mut start = vec![0; START_BYTES];
        disk.file.read_exact_at(&mut start, 0).expect("read");
        gpt::repair(&mut start);
        put(0, &start);
    }
    // Of a flashed device less is asked, but as little is believed.
    let flashed = verify::disk(&disk.path, &disk.keys, Leftovers::Allowed).map(drop);
    let result = verify::disk(&disk.path, &disk.keys, Leftovers::Refused).map(drop);
    assert!(result.is_err() || flashed.is_ok(), "what passes as an image passes as a device: {flashed:?}");
    let mut changed = false;
    for (at, old) in before.iter().rev() {
        let mut now = vec![0; old.len()];
        disk.file.read_exact_at(&mut now, *at).expect("read");
        changed |= now != *old && !DATA.contains(at);
        disk.file.write_all_at(old, *at).expect("written");
    }
    assert!(changed || result.is_ok(), "nothing was changed: {result:?}");
    // A byte that was changed and changed back is as it was; so this is only said of one change.
    assert!(before.len() != 1 || changed == result.is_err(), "a change was not found: {:?} {result:?}", before[0].0);
}

/// Starts of what is worth changing, by the change's first byte.
fn place(kind: u8, offset: u64, disk_bytes: u64) -> u64 {
    let parts = [0, 512, 1024, MIB, MIB + 512, MIB + 32768, 6 * MIB, 11 * MIB, 13 * MIB, 13 * MIB + 4096, 15 * MIB];
    let start = match parts.get(usize::from(kind % 16)) {
        Some(start) => *start,
        None => disk_bytes - (1 << 16),
    };
    (start + offset).min(disk_bytes - 1)
}

fn disk() -> Disk {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("cache")).expect("a store");
    let keys = signer::keys();
    let place = Origin { file: "m.yaml".into(), line: 1, column: 1 };
    let machine = Machine {
        name: MachineName::new("board").expect("valid"),
        architecture: Architecture::X86_64,
        firmware: Firmware::Uefi,
        partitions: PartitionSizes { esp_bytes: 5 * MIB, root_bytes: MIB, verity_bytes: MIB, data_bytes: MIB },
        kernel: RecipeName::new("linux").expect("valid"),
        efi_stub: RecipeName::new("stub").expect("valid"),
        kernel_fragments: vec![],
        kernel_compression: KernelCompression::Stored,
        console: "ttyS0".into(),
        kernel_command_line: vec![],
        memory_bytes: None,
        devices: Default::default(),
        interfaces: Default::default(),
        board: VirtualBoard {
            memory_mib: 1,
            cpus: 1,
            forwards: Default::default(),
            serial_ports: 0,
            networks: Vec::new(),
            disk_bytes: 0,
        },
        origin: place,
    };
    let (sources, actions) = Default::default();
    let images = folder.path().join("images");
    let inputs = ReleaseInputs {
        store: &store,
        product: "p",
        version: "1",
        security_epoch: 1,
        production: true,
        machine: &machine,
        parts: parts(&store),
        sources,
        actions,
        keys: &keys,
        layout: None,
        folder: &images,
    };
    let path = image::write(&inputs).expect("written").folder.join("disk.img");
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("opened");
    let bytes = file.metadata().expect("a size").len();
    Disk { _folder: folder, path, file, bytes, keys: keys.public }
}

fn parts(store: &Store) -> Parts {
    let put = |bytes: &[u8]| store.put_bytes(bytes).expect("kept");
    let root: Vec<u8> = (0..130 * 4096_u32).map(|i| (i % 253) as u8).collect();
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&root).expect("written");
    let salt = vec![2; 32];
    let extent = Extent { file: &file, start: 0, bytes: root.len() as u64 };
    let verity = verity::build(extent, verity::uuid(&salt), salt).expect("built");
    let hash = hex::encode(verity.root_hash);
    let line = osbuild_format::command_line::with_root("quiet", &hash, 130);
    let uki = append(&pe::program(), &[(".osrel", b"ID=x\n"), (".cmdline", line.as_bytes())]).expect("appended");
    let packages = r#"{"schema":1,"packages":[],"skeletons":{"files":0,"bytes":0},"generated":{"files":0,"bytes":0}}"#;
    Parts {
        root: put(&root),
        verity: put(&verity.device),
        root_hash: put(format!("{hash}\n").as_bytes()),
        uki: put(&uki),
        data: put(&[5; 4096]),
        packages: put(packages.as_bytes()),
        kernel_config: put(b"CONFIG_X=y\n"),
    }
}

/// One change in each place, and changes of the fields of the table that decide about places and sizes.
pub fn seeds() -> Vec<Vec<u8>> {
    let change = |kind: u8, offset: u16, value: u8| [&[kind][..], &offset.to_be_bytes(), &[value]].concat();
    let one = (0..12).map(|kind| [vec![0], change(kind, 40, 0x81)].concat());
    let table = (0..96).map(|field| [vec![1], change(1, field, 0xff)].concat());
    let entries = [32, 40, 160, 168, 288, 296].map(|field| [vec![1], change(2, field + 6, 0xff)].concat());
    [vec![vec![0]], one.collect(), table.step_by(8).collect(), entries.to_vec()].concat()
}

//! A version and a root in, an image folder out, made by the real code; for tests of what is made of images.
//!
//! Invariant: equal versions, roots and keys give equal images.

use super::load;
use crate::image::pe;
use crate::io::file;
use crate::io::store::Store;
use crate::model::machine::{Architecture, Firmware, KernelCompression, Machine, PartitionSizes, VirtualBoard};
use crate::model::{MachineName, Origin, RecipeName};
use crate::release::image::{self, Parts, ReleaseInputs};
use crate::release::keys::Keys;
use std::path::{Path, PathBuf};

pub const MIB: u64 = 1 << 20;

pub fn machine() -> Machine {
    Machine {
        name: MachineName::new("board").expect("valid"),
        architecture: Architecture::X86_64,
        firmware: Firmware::Uefi,
        partitions: PartitionSizes { esp_bytes: 5 * MIB, root_bytes: 2 * MIB, verity_bytes: MIB, data_bytes: MIB },
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
        origin: Origin { file: "m.yaml".into(), line: 1, column: 1 },
    }
}

pub fn parts(store: &Store, folder: &Path) -> Parts {
    let root: Vec<u8> = (0..300 * 4096_u32).map(|i| (i % 253) as u8).collect();
    parts_of(store, folder, "1", &root)
}

/// `root` has 300 blocks.
fn parts_of(store: &Store, folder: &Path, version: &str, root: &[u8]) -> Parts {
    let put = |bytes: &[u8]| store.put_bytes(bytes).expect("kept");
    let path = folder.join("root");
    file::write_atomic(&path, root, 0o644).expect("written");
    let root_file = file::open(&path).expect("opened");
    let extent = crate::image::verity::Extent { file: &root_file, start: 0, bytes: root.len() as u64 };
    let verity = crate::image::verity::build(extent, crate::image::verity::uuid(&[2; 32]), vec![2; 32]).expect("built");
    let hash = hex::encode(verity.root_hash);
    let line = osbuild_format::command_line::with_root("quiet", &hash, 300);
    let release: String = crate::tree::release::os_release_text("p", version, "board")
        .iter()
        .map(|(name, value)| format!("{name}=\"{value}\"\n"))
        .collect();
    let uki = pe::append(
        &pe::tests::example(),
        &[(".osrel", release.as_bytes()), (".cmdline", line.as_bytes()), (".linux", &[9; 9000])],
    );
    let packages = r#"{"schema":1,"packages":[{"name":"p","version":"1","license":"MIT","recipe":"p","files":1,"bytes":2}],
        "skeletons":{"files":0,"bytes":0},"generated":{"files":0,"bytes":0}}"#;
    Parts {
        root: put(root),
        verity: put(&verity.device),
        root_hash: put(format!("{hash}\n").as_bytes()),
        uki: put(&uki.expect("appended")),
        data: put(&[5; 4096]),
        packages: put(packages.as_bytes()),
        kernel_config: put(b"CONFIG_X=y\n"),
    }
}

pub fn write(store: &Store, parts: Parts, keys: &Keys, folder: &Path) -> image::Release {
    write_version(store, parts, ("1", 1), keys, folder)
}

fn write_version(
    store: &Store,
    parts: Parts,
    (version, security_epoch): (&str, u32),
    keys: &Keys,
    folder: &Path,
) -> image::Release {
    let machine = machine();
    let (sources, actions) = Default::default();
    let inputs = ReleaseInputs {
        store,
        product: "p",
        version,
        security_epoch,
        production: true,
        machine: &machine,
        parts,
        sources,
        actions,
        keys,
        layout: None,
        folder,
    };
    image::write(&inputs).expect("written")
}

/// An image folder of product `p` for `board`, for tests of what is made of images. `root` has 300 blocks.
pub fn image_of(folder: &Path, keys: &Path, version: &str, security_epoch: u32, root: &[u8]) -> PathBuf {
    let store = Store::open(&folder.join("cache")).expect("a store");
    let parts = parts_of(&store, folder, version, root);
    let loaded = load(keys).expect("loaded");
    write_version(&store, parts, (version, security_epoch), &loaded, &folder.join("images")).folder
}

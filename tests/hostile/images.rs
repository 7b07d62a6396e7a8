//! An image that no builder makes: with a device node, a set-id program and a link that climbs out of it.
//!
//! Invariant: its signer vouches for it, its tree is right, and the kernel mounts it: only the device keeps it harmless.

use crate::command::{osbuild, Project};
use crate::packages::Parts;
use osbuild::image::verity::{self, Extent};
use osbuild::tools::board::{Launch, ToolRoot};
use osbuild_format::app::ImageFacts;
use osbuild_format::device::Restart;
use osbuild_format::hex;
use std::fs::File;
use std::path::Path;
use std::time::Duration;
use tar::{Builder, EntryType, Header};

pub const SMUGGLER: &str = "smuggler";
const BLOCK: u64 = 4096;
const PATIENCE: Duration = Duration::from_secs(60);
/// What the device mounts over, and what the paths below need.
const FOLDERS: [&str; 10] = ["data", "dev", "etc", "proc", "run", "run/app", "tmp", "usr", "usr/bin", "usr/lib"];

/// The app: `good` with another id and this image.
pub fn smuggler(project: &Project, good: &Parts) -> Parts {
    let installed = osbuild(project, &["build", "attacks"]).succeeds().output;
    let program = std::fs::read(Path::new(installed.trim()).join("usr/bin/smuggled")).expect("a program");
    let library = osbuild(project, &["build", "musl"]).succeeds().output;
    let library = std::fs::read(Path::new(library.trim()).join("usr/lib/libc.so")).expect("a library");
    let folder = project.root.join("out/smuggler");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("root.tar"), archive(&program, &library)).expect("written");
    let tools = osbuild(project, &["tools", "c+erofs-utils"]).succeeds().output;
    let path = |name: &str| folder.join(name).into_os_string();
    let launch = Launch {
        program: "/usr/bin/mkfs.erofs".to_owned(),
        args: vec!["-T1".into(), "--quiet".into(), "--tar=f".into(), path("image.erofs"), path("root.tar")],
        scratch: folder.clone(),
        writable: vec![folder.clone()],
        log: Some(folder.join("log")),
        ..Launch::default()
    };
    ToolRoot::new(tools.trim().into()).run(launch, PATIENCE).expect("an image");

    let image = std::fs::read(path("image.erofs")).expect("read");
    let file = File::open(path("image.erofs")).expect("opened");
    let salt = vec![7; 32];
    let extent = Extent { file: &file, start: 0, bytes: image.len() as u64 };
    let tree = verity::build(extent, verity::uuid(&salt), salt.clone()).expect("a tree");
    good.with(|parts| {
        parts.manifest.id = SMUGGLER.to_owned();
        parts.manifest.argv = vec!["/usr/bin/smuggled".to_owned()];
        parts.manifest.restart = Restart::Never;
        parts.manifest.image = ImageFacts {
            data_blocks: image.len() as u64 / BLOCK,
            root_hash: hex::encode(&tree.root_hash),
            salt: hex::encode(&salt),
        };
        parts.image = [image, tree.device].concat();
    })
}

fn archive(program: &[u8], library: &[u8]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    let mut add = |path: &str, kind: EntryType, mode: u32, content: &[u8], link: &str| {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(content.len() as u64);
        if kind == EntryType::Char {
            // The machine's memory.
            header.set_device_major(1).expect("it fits");
            header.set_device_minor(1).expect("it fits");
        }
        match kind {
            EntryType::Symlink => tar.append_link(&mut header, path, link).expect("in memory"),
            _ => tar.append_data(&mut header, path, content).expect("in memory"),
        }
    };
    for folder in FOLDERS {
        add(folder, EntryType::Directory, 0o755, b"", "");
    }
    add("etc/resolv.conf", EntryType::Regular, 0o644, b"", "");
    add("lib", EntryType::Symlink, 0o777, b"", "usr/lib");
    add("usr/lib/libc.so", EntryType::Regular, 0o755, library, "");
    add("usr/lib/ld-musl-x86_64.so.1", EntryType::Symlink, 0o777, b"", "libc.so");
    add("usr/bin/smuggled", EntryType::Regular, 0o755, program, "");
    add("usr/bin/rooted", EntryType::Regular, 0o6755, program, "");
    add("usr/lib/memory", EntryType::Char, 0o666, b"", "");
    add("usr/lib/out", EntryType::Symlink, 0o777, b"", "../../../../../../..");
    tar.into_inner().expect("in memory")
}

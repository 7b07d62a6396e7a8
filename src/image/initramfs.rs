//! The step `initramfs`: the agent's program in, a cpio archive with it as `/init` out.
//!
//! Format: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst, "newc". Invariant: equal
//! programs give equal archives; there is nothing in it but the program, a console and the mount points.

use super::step::{input, output, ImageError};
use crate::io::store::{Node, Store};
use crate::model::{Digest, RelPath};
use std::collections::BTreeMap;

const LIMIT_BYTES: u64 = 256 << 20;
const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {}

/// Input `init`, output `initramfs`.
pub fn step(store: &Store, inputs: &Digest, parameters: &str) -> Result<BTreeMap<RelPath, Node>, ImageError> {
    let Parameters {} = serde_json::from_str(parameters)?;
    let init = store.read(&input(store, inputs, "init")?, LIMIT_BYTES)?;
    Ok(BTreeMap::from([output(store, "initramfs", &archive(&init))?]))
}

fn archive(init: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(init.len() + 4096);
    for (index, name) in ["dev", "proc", "run", "sys", "sysroot"].into_iter().enumerate() {
        entry(&mut bytes, index as u32 + 1, FOLDER, (0, 0), name, &[]);
    }
    // Without it the program starts with no standard output (Documentation/filesystems/ramfs-rootfs-initramfs.rst).
    entry(&mut bytes, 6, CHARACTER_DEVICE, (5, 1), "dev/console", &[]);
    entry(&mut bytes, 7, PROGRAM, (0, 0), "init", init);
    entry(&mut bytes, 0, 0, (0, 0), "TRAILER!!!", &[]);
    bytes
}

fn entry(bytes: &mut Vec<u8>, inode: u32, mode: u32, device: (u32, u32), name: &str, content: &[u8]) {
    let (length, name_length) = (content.len() as u32, name.len() as u32 + 1);
    let links = if mode == FOLDER { 2 } else { 1 };
    let fields = [inode, mode, 0, 0, links, 0, length, 0, 0, device.0, device.1, name_length, 0];
    bytes.extend(b"070701");
    fields.iter().for_each(|field| bytes.extend(format!("{field:08x}").bytes()));
    bytes.extend(name.bytes());
    bytes.push(0);
    align(bytes);
    bytes.extend(content);
    align(bytes);
}

fn align(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_aligned_and_the_trailer_ends_it() {
        let bytes = archive(b"program");
        let text = String::from_utf8_lossy(&bytes);
        let starts: Vec<_> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert_eq!(starts.len(), 8);
        assert!(starts.iter().all(|at| at % 4 == 0), "{starts:?}");
        assert!(text.contains("000081ed") && text.ends_with("TRAILER!!!\0\0\0\0"), "{text}");
        assert_eq!(Digest::of(&bytes).hex(), "f8fae3426bedc6582e5cc5c3219d84fe0b7e5f6a299217a2d8804d5f1ca552d7");
    }
}

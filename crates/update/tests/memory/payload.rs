//! Planned segments to a signed delta and a device that it is for, in a folder.
//!
//! Invariant: whoever installs it finds everything in the folder, and makes none of it itself.

use crate::device::Folder;
use crate::segments::{noise, Plan, SEGMENT_BYTES};
use ed25519_dalek::SigningKey;
use osbuild_format::command_line::Slot;
use osbuild_format::dsse;
use osbuild_format::hex;
use osbuild_format::payload::{self, Header, Image, ImageName, Kind, Operation, Parts, Release, Segment};
use osbuild_format::target::{TargetCustom, LIMIT_MEMORY_BYTES};
use osbuild_update::device::{Area, Storage};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

const SALT: [u8; 1] = [9];
const ESP_BYTES: usize = 64 << 10;

/// What the segments have made until now.
struct Making {
    list: Vec<Segment>,
    stored: File,
    root: Sha256,
    /// Hashes of the root's blocks.
    hashes: Vec<u8>,
}

/// A delta whose root has so many segments: `payload`, `custom.json` (what a repository says of it), `release` (what runs), and the areas.
pub fn make(folder: &Path, plan: Plan, segments: usize) {
    let mut storage = Folder(folder.to_owned());
    let stored = File::create_new(folder.join("stored")).expect("a file");
    let mut making = Making { list: Vec::new(), stored, root: Sha256::new(), hashes: Vec::new() };
    let mut before = Vec::new();
    for number in 0..segments {
        let (planned, start) = (plan(number, &before), number * SEGMENT_BYTES);
        storage.write_at(Area::Root(Slot::A), start as u64, &planned.old).expect("written");
        making.add(ImageName::Root, &planned.store(start as u64, &before), &planned.output);
        before = planned.output;
    }
    let esp = noise(segments, ESP_BYTES);
    let parts = Parts {
        literals: esp.clone(),
        operations: vec![Operation { length: esp.len() as u32, kind: Kind::Literal { code: false } }],
        ..Parts::default()
    };
    let plain = |column: &[u8], _| Ok::<_, io::Error>(column.to_vec());
    making.add(ImageName::Esp, &parts.store(0, plain).expect("stored"), &esp);
    let old_esp = vec![1; esp.len()];
    let header = making.header(segments, &old_esp, &esp);
    let json = header.to_json().expect("valid");
    write_payload(folder, &json);
    let custom = serde_json::to_vec(&custom(&header, &json)).expect("JSON");
    std::fs::write(folder.join("custom.json"), custom).expect("written");
    std::fs::write(folder.join("release"), hex::encode(&Sha256::digest(&old_esp))).expect("written");
    let root_bytes = (segments * SEGMENT_BYTES) as u64;
    for (area, bytes) in [
        (Area::Esp(Slot::B), esp.len() as u64),
        (Area::Root(Slot::B), root_bytes),
        (Area::Verity(Slot::B), root_bytes / 100 + (64 << 10)),
        (Area::State, 8192),
    ] {
        storage.file(area).and_then(|file| file.set_len(bytes)).expect("a file");
    }
    storage.write_at(Area::Esp(Slot::A), 0, &old_esp).expect("written");
}

impl Making {
    fn add(&mut self, image: ImageName, stored: &[u8], output: &[u8]) {
        self.stored.write_all(stored).expect("written");
        self.list.push(Segment {
            image,
            output_bytes: output.len() as u32,
            output_sha256: hex::encode(&Sha256::digest(output)),
            stored_bytes: stored.len() as u32,
            stored_sha256: hex::encode(&Sha256::digest(stored)),
        });
        if image == ImageName::Root {
            self.root.update(output);
            self.hashes.extend(output.chunks(4096).flat_map(hash));
        }
    }

    fn header(self, segments: usize, old_esp: &[u8], esp: &[u8]) -> Header {
        let image =
            |bytes: &[u8]| Image { size_bytes: bytes.len() as u64, sha256: hex::encode(&Sha256::digest(bytes)) };
        let size_bytes = (segments * SEGMENT_BYTES) as u64;
        let root = Image { size_bytes, sha256: hex::encode(&self.root.finalize()) };
        let root_hash = root_hash(self.hashes);
        let release = |version: &str, esp: Image| Release {
            version: version.to_owned(),
            epoch: 1,
            esp,
            root: root.clone(),
            root_hash: root_hash.clone(),
            salt: hex::encode(&SALT),
        };
        Header {
            format: 1,
            product: "p".to_owned(),
            machine: "m".to_owned(),
            from: Some(release("1.0.0", image(old_esp))),
            to: release("1.0.1", image(esp)),
            segments: self.list,
        }
    }
}

pub fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn write_payload(folder: &Path, json: &[u8]) {
    let key = key();
    let envelope = dsse::sign(payload::PAYLOAD_TYPE, json, &key, &dsse::key_id(&key.verifying_key()));
    let mut whole = File::create(folder.join("payload")).expect("a file");
    whole.write_all(&payload::head(envelope.as_bytes()).expect("short")).expect("written");
    io::copy(&mut File::open(folder.join("stored")).expect("a file"), &mut whole).expect("copied");
}

fn custom(header: &Header, json: &[u8]) -> TargetCustom {
    TargetCustom {
        format: 1,
        product: header.product.clone(),
        machine: header.machine.clone(),
        version: header.to.version.clone(),
        epoch: header.to.epoch,
        to: header.to.esp.sha256.clone(),
        from: header.from.as_ref().map(|from| from.esp.sha256.clone()),
        header: hex::encode(&Sha256::digest(json)),
        memory_bytes: LIMIT_MEMORY_BYTES,
        rollout_percent: 100,
    }
}

fn hash(block: &[u8]) -> impl IntoIterator<Item = u8> {
    Sha256::new_with_prefix(SALT).chain_update(block).finalize()
}

/// The plain way, one level after the other.
fn root_hash(mut level: Vec<u8>) -> String {
    loop {
        level.resize(level.len().next_multiple_of(4096), 0);
        let above: Vec<u8> = level.chunks(4096).flat_map(hash).collect();
        if above.len() == 32 {
            return hex::encode(&above);
        }
        level = above;
    }
}

//! Two small releases, the payloads between them, and a server that counts.
//!
//! Invariant: payloads are made here with the plain form of each stream, so that nothing of the builder takes part.

use ed25519_dalek::SigningKey;
use osbuild_format::hex;
use osbuild_format::payload::{
    self, Correction, Header, Image, ImageName, Kind, Methods, Operation, Parts, Release, Segment,
};
use osbuild_format::payload::{FORMAT, PAYLOAD_TYPE};
use osbuild_format::target::TargetCustom;
use osbuild_format::verity::Superblock;
use osbuild_update::device::Payloads;
use sha2::{Digest, Sha256};
use std::io;

pub const SALT: [u8; 4] = [1, 2, 3, 4];
pub const SEGMENT_BYTES: usize = 8192;

pub fn digest(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes))
}

/// The images of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    pub version: &'static str,
    pub epoch: u32,
    pub esp: Vec<u8>,
    pub root: Vec<u8>,
    pub verity: Vec<u8>,
    pub root_hash: [u8; 32],
}

/// Bytes that no two seeds share; the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let block = |at: u64| Sha256::digest([seed.to_le_bytes(), at.to_le_bytes()].concat());
    (0..).flat_map(block).take(length).collect()
}

impl Images {
    /// `blocks` of 4096 bytes in the root.
    pub fn new(version: &'static str, epoch: u32, blocks: usize) -> Images {
        let seed = version.bytes().map(u64::from).sum();
        let mut root = noise(7, blocks * 4096);
        // A part that is new, and a part of zeros.
        root[4096..8192].copy_from_slice(&noise(seed, 4096));
        root[8192..12288].fill(0);
        let esp = noise(seed + 1000, 5 * 4096);
        let (verity, root_hash) = tree(&root);
        Images { version, epoch, esp, root, verity, root_hash }
    }

    pub fn name(&self) -> String {
        digest(&self.esp)
    }

    pub fn release(&self) -> Release {
        let image = |bytes: &[u8]| Image { size_bytes: bytes.len() as u64, sha256: digest(bytes) };
        Release {
            version: self.version.to_owned(),
            epoch: self.epoch,
            esp: image(&self.esp),
            root: image(&self.root),
            root_hash: hex::encode(&self.root_hash),
            salt: hex::encode(&SALT),
        }
    }
}

/// A tree the plain way: all of it in memory.
fn tree(root: &[u8]) -> (Vec<u8>, [u8; 32]) {
    let hash = |block: &[u8]| Sha256::new_with_prefix(SALT).chain_update(block).finalize();
    let (mut below, mut levels) = (root.to_vec(), Vec::new());
    while below.len() > 4096 {
        let mut level: Vec<u8> = below.chunks(4096).flat_map(hash).collect();
        level.resize(level.len().next_multiple_of(4096), 0);
        levels.insert(0, level.clone());
        below = level;
    }
    let data_blocks = root.len() as u64 / 4096;
    let superblock = Superblock { uuid: osbuild_format::verity::uuid(&SALT), data_blocks, salt: SALT.to_vec() };
    let mut first = superblock.to_bytes().to_vec();
    first.resize(4096, 0);
    ([vec![first], levels].concat().concat(), hash(&below).into())
}

pub fn key() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

/// A payload's file and what the repository says of it.
pub struct Made {
    pub target: String,
    pub file: Vec<u8>,
    pub custom: TargetCustom,
}

/// From one release, or from nothing.
pub fn make(from: Option<&Images>, to: &Images) -> Made {
    let mut segments = Vec::new();
    let mut stored = Vec::new();
    for (name, new) in [(ImageName::Root, &to.root), (ImageName::Esp, &to.esp)] {
        let old = from.map(|from| if name == ImageName::Root { &from.root } else { &from.esp });
        for (number, output) in new.chunks(SEGMENT_BYTES).enumerate() {
            let bytes = segment(name, old, number * SEGMENT_BYTES, output);
            segments.push(Segment {
                image: name,
                output_bytes: output.len() as u32,
                output_sha256: digest(output),
                stored_bytes: bytes.len() as u32,
                stored_sha256: digest(&bytes),
            });
            stored.extend(bytes);
        }
    }
    let header = Header {
        format: FORMAT,
        product: "gateway".to_owned(),
        machine: "board".to_owned(),
        from: from.map(Images::release),
        to: to.release(),
        segments,
    };
    let json = header.to_json().expect("a valid header");
    let envelope =
        osbuild_format::dsse::sign(PAYLOAD_TYPE, &json, &key(), &osbuild_format::dsse::key_id(&key().verifying_key()));
    let file = [payload::head(envelope.as_bytes()).expect("short enough"), stored].concat();
    let custom = TargetCustom {
        format: 1,
        product: "gateway".to_owned(),
        machine: "board".to_owned(),
        version: to.version.to_owned(),
        epoch: to.epoch,
        to: to.name(),
        from: from.map(Images::name),
        header: digest(&json),
        memory_bytes: 1 << 20,
        rollout_percent: 100,
    };
    Made { target: format!("gateway-{}.payload", to.version), file, custom }
}

/// Blocks that the old image has at the same place are copied or patched, zeros are zeros, the rest is literal.
fn segment(image: ImageName, old: Option<&Vec<u8>>, at: usize, output: &[u8]) -> Vec<u8> {
    let mut parts = Parts::default();
    let mut sources = Vec::new();
    for (number, block) in output.chunks(4096).enumerate() {
        let at = at + number * 4096;
        let before = old.and_then(|old| old.get(at..at + block.len()));
        let offset = at as u64;
        let kind = match before {
            _ if block.iter().all(|byte| *byte == 0) => Kind::Zero,
            Some(before) => {
                sources.extend(before);
                match before == block {
                    true => Kind::Copy { image, offset },
                    false => {
                        parts.wrong.push(&Correction::of(before, block));
                        Kind::Patch { image, offset, methods: Methods::NONE, frame: 0 }
                    }
                }
            }
            None => {
                parts.literals.extend(block);
                Kind::Literal { code: false }
            }
        };
        parts.operations.push(Operation { length: block.len() as u32, kind });
    }
    if !sources.is_empty() {
        parts.source_sha256 = Some(Sha256::digest(&sources).into());
    }
    // What is not smaller stays as it is.
    let plain = |column: &[u8], _| Ok::<_, io::Error>(column.to_vec());
    parts.store(at as u64, plain).expect("nothing can fail")
}

/// Serves one file and counts what is asked for.
pub struct Server {
    pub target: String,
    pub file: Vec<u8>,
    pub sent_bytes: u64,
    /// The request of this number fails.
    pub fails_at: Option<u64>,
    pub requests: u64,
}

impl Server {
    pub fn new(made: &Made) -> Server {
        Server { target: made.target.clone(), file: made.file.clone(), sent_bytes: 0, fails_at: None, requests: 0 }
    }
}

impl Payloads for Server {
    fn range(&mut self, target: &str, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        assert_eq!(target, self.target);
        self.requests += 1;
        if self.fails_at == Some(self.requests - 1) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let part = self.file.get(offset as usize..(offset + length) as usize).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.sent_bytes += length;
        Ok(part.to_vec())
    }
}

//! A folder of keys and a version in, the bytes of a payload out that a repository takes: of images of a few blocks.
//!
//! Invariant: its header is signed by the folder's release key, and a device could install it.
#![allow(clippy::disallowed_methods)]

use ed25519_dalek::pkcs8::DecodePrivateKey;
use osbuild::update::delta::{generate, Images};
use osbuild_format::{dsse, payload};
use sha2::{Digest, Sha256};
use std::path::Path;

const BLOCK_BYTES: usize = 4096;
const SALT: [u8; 1] = [7];

/// What there is of a release: images that are nearly those of every other version.
pub struct Release {
    pub version: &'static str,
    pub epoch: u32,
    root: Vec<u8>,
    esp: Vec<u8>,
}

impl Release {
    /// Another one of the same version.
    pub fn changed(mut self) -> Release {
        self.esp[BLOCK_BYTES - 1] ^= 1;
        self
    }

    pub fn new(version: &'static str, epoch: u32) -> Release {
        let image = |name: &str| -> Vec<u8> {
            let noise = (0..BLOCK_BYTES / 32).flat_map(|count| Sha256::digest(format!("{name} {count}")).to_vec());
            let mut image: Vec<u8> = noise.collect();
            image[..version.len()].copy_from_slice(version.as_bytes());
            image
        };
        Release { version, epoch, root: image("root"), esp: image("esp") }
    }

    fn images(&self) -> Images<'_> {
        Images { root: &self.root, esp: &self.esp }
    }

    /// The first digits of what its payloads are named by.
    pub fn digits(&self) -> String {
        hex::encode(Sha256::digest(&self.esp))[..8].to_owned()
    }

    fn described(&self) -> serde_json::Value {
        let image =
            |bytes: &[u8]| serde_json::json!({"size_bytes": bytes.len(), "sha256": hex::encode(Sha256::digest(bytes))});
        // Of a single block, the tree is its hash.
        let root_hash = Sha256::new().chain_update(SALT).chain_update(&self.root).finalize();
        serde_json::json!({"version": self.version, "epoch": self.epoch, "esp": image(&self.esp),
            "root": image(&self.root), "root_hash": hex::encode(root_hash), "salt": hex::encode(SALT)})
    }
}

/// A payload from `from`, or from nothing, to `to`, signed by the release key of `keys`.
pub fn payload(keys: &Path, from: Option<&Release>, to: &Release) -> Vec<u8> {
    let made = generate(from.map(Release::images).as_ref(), &to.images()).expect("made");
    let (segments, stored): (Vec<_>, Vec<Vec<u8>>) = made.segments.into_iter().unzip();
    signed(keys, from, to, &segments, &stored.concat())
}

/// A full payload whose segments are whole, and do not make what its header promises.
pub fn broken(keys: &Path, to: &Release) -> Vec<u8> {
    let other = Release::new("9.9.9", 1);
    let made = generate(None, &other.images()).expect("made");
    let (segments, stored): (Vec<_>, Vec<Vec<u8>>) = made.segments.into_iter().unzip();
    signed(keys, None, to, &segments, &stored.concat())
}

fn signed(keys: &Path, from: Option<&Release>, to: &Release, segments: &[payload::Segment], stored: &[u8]) -> Vec<u8> {
    let mut header = serde_json::json!({"format": 1, "product": "gateway", "machine": "board", "to": to.described(),
        "segments": segments});
    if let Some(from) = from {
        header["from"] = from.described();
    }
    let header: payload::Header = serde_json::from_value(header).expect("a header");
    let text = std::fs::read_to_string(keys.join("release.key")).expect("a key");
    let key = dsse::SigningKey::from_pkcs8_pem(&text).expect("a key");
    let (json, id) = (header.to_json().expect("JSON"), dsse::key_id(&key.verifying_key()));
    let envelope = dsse::sign(payload::PAYLOAD_TYPE, &json, &key, &id);
    [payload::head(envelope.as_bytes()).expect("short").as_slice(), stored].concat()
}

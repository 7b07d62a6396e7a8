//! A folder of keys and a version in, the bytes of a payload out that a repository takes, with segments of nothing.
//!
//! Invariant: its header is signed by the folder's release key.
#![allow(clippy::disallowed_methods)]

use ed25519_dalek::pkcs8::DecodePrivateKey;
use osbuild_format::{dsse, payload};
use sha2::{Digest, Sha256};
use std::path::Path;

/// A payload whose segments nobody applies here, signed by the release key of `keys`.
pub fn payload(keys: &Path, version: &str) -> Vec<u8> {
    let image = serde_json::json!({"size_bytes": 4096, "sha256": "ef".repeat(32)});
    let to = serde_json::json!({"version": version, "epoch": 1, "esp": image, "root": image,
        "root_hash": "cd".repeat(32), "salt": "07"});
    let segment = |image: &str| {
        serde_json::json!({"image": image, "output_bytes": 4096, "output_sha256": "ab".repeat(32),
            "stored_bytes": 3, "stored_sha256": hex::encode(Sha256::digest(b"xyz"))})
    };
    let header = serde_json::json!({"format": 1, "product": "gateway", "machine": "board", "to": to,
        "segments": [segment("root"), segment("esp")]});
    let header: payload::Header = serde_json::from_value(header).expect("a header");
    let text = std::fs::read_to_string(keys.join("release.key")).expect("a key");
    let key = dsse::SigningKey::from_pkcs8_pem(&text).expect("a key");
    let (json, id) = (header.to_json().expect("JSON"), dsse::key_id(&key.verifying_key()));
    let envelope = dsse::sign(payload::PAYLOAD_TYPE, &json, &key, &id);
    [payload::head(envelope.as_bytes()).expect("short").as_slice(), b"xyzxyz"].concat()
}

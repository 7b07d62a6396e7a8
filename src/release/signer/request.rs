//! What others are asked to sign, and what they answer: two files of JSON.
//!
//! Invariant: a request that came out of [`Request::parse`] says of each message the digest that it has; both files are
//! read with limits. Whether a signature is valid, only the key's public half says.

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

pub const FORMAT: u32 = 1;
pub const LIMIT_BYTES: u64 = 64 << 20;
const LIMIT_ENTRIES: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// [`FORMAT`].
    pub format: u32,
    /// Seconds since 1970 when it was asked for: what is signed may speak of times, and the answer is for the same ones.
    pub seconds: u64,
    pub entries: Vec<Entry>,
}

/// One signature that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Name of the key, and the first digits of `sha256`: to name files by.
    pub id: String,
    /// Name of the key in a folder of keys.
    pub key: String,
    /// SHA-256 of its SubjectPublicKeyInfo, in hex.
    pub key_id: String,
    /// `ed25519` or `rsa-pkcs1v15-sha256`.
    pub algorithm: String,
    /// What it is, in the words of whoever asks.
    pub what: String,
    /// Of the message, in hex.
    pub sha256: String,
    /// Exactly what is signed, in base64.
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signatures {
    /// [`FORMAT`].
    pub format: u32,
    /// Of the request.
    pub seconds: u64,
    pub signatures: Vec<Detached>,
}

/// One signature, found again by key and message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detached {
    pub key_id: String,
    /// Of the message, in hex.
    pub sha256: String,
    /// In base64.
    pub signature: String,
}

#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("it is not valid JSON of the expected shape")]
    Shape(#[from] serde_json::Error),
    #[error("this reader knows format {FORMAT}, it has: {0}")]
    Format(u32),
    #[error("it has {0} entries; the limit is {LIMIT_ENTRIES}")]
    Entries(usize),
    #[error("entry `{0}` has a message that is not base64, or not the one whose digest it gives")]
    Message(String),
    #[error("it answers a request of {seconds} s after 1970, and the clock is at {now_seconds} s")]
    Ahead { seconds: u64, now_seconds: u64 },
    #[error("a signature in it is not base64")]
    Signature(#[from] base64::DecodeError),
}

impl Request {
    pub fn parse(bytes: &[u8]) -> Result<Request, RequestError> {
        let request: Request = serde_json::from_slice(bytes)?;
        check(request.format, request.entries.len())?;
        request.entries.iter().try_for_each(|entry| entry.bytes().map(drop))?;
        Ok(request)
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("strings can be written as JSON") + "\n"
    }
}

impl Entry {
    pub fn new(key: &str, key_id: String, algorithm: &str, what: &str, message: &[u8]) -> Entry {
        let sha256 = hex::encode(Sha256::digest(message));
        Entry {
            id: format!("{key}-{}", &sha256[..16]),
            key: key.to_owned(),
            key_id,
            algorithm: algorithm.to_owned(),
            what: what.to_owned(),
            sha256,
            message: STANDARD.encode(message),
        }
    }

    /// The message.
    pub fn bytes(&self) -> Result<Vec<u8>, RequestError> {
        let message = STANDARD.decode(&self.message).ok();
        let whole = message.filter(|message| hex::encode(Sha256::digest(message)) == self.sha256);
        whole.ok_or_else(|| {
            RequestError::Message(self.id.chars().take(80).collect::<String>().escape_debug().to_string())
        })
    }
}

impl Signatures {
    pub fn parse(bytes: &[u8]) -> Result<Signatures, RequestError> {
        let signatures: Signatures = serde_json::from_slice(bytes)?;
        check(signatures.format, signatures.signatures.len())?;
        signatures.by_message()?;
        Ok(signatures)
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("strings can be written as JSON") + "\n"
    }

    /// (id of the key, SHA-256 of the message) to signature.
    pub fn by_message(&self) -> Result<BTreeMap<(String, String), Vec<u8>>, RequestError> {
        let found = self.signatures.iter().map(|one| {
            let signature = STANDARD.decode(&one.signature)?;
            Ok(((one.key_id.clone(), one.sha256.clone()), signature))
        });
        found.collect()
    }
}

fn check(format: u32, entries: usize) -> Result<(), RequestError> {
    match () {
        () if format != FORMAT => Err(RequestError::Format(format)),
        () if entries > LIMIT_ENTRIES => Err(RequestError::Entries(entries)),
        () => Ok(()),
    }
}

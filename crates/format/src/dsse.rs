//! A payload and a key in, a DSSE envelope out; and back, when the signature holds.
//!
//! Source: the secure-systems-lab's "DSSE Protocol", version 1.0. Invariant: what [`verify`] returns as payload is what
//! a trusted key signed, byte for byte; what [`read_vouched`] returns, somebody else has to vouch for.

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use ed25519_dalek::{Signature, Signer};
pub use ed25519_dalek::{SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

/// A manifest has some hundred kilobytes.
pub const LIMIT_BYTES: usize = 16 << 20;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeSignature {
    keyid: String,
    sig: String,
}

#[derive(Debug, thiserror::Error)]
pub enum DsseError {
    #[error("the envelope has {0} bytes, more than {LIMIT_BYTES}")]
    TooLarge(usize),
    #[error("the envelope is not valid")]
    Json(#[from] serde_json::Error),
    #[error("the envelope is not valid base64")]
    Base64(#[from] base64::DecodeError),
    #[error("the envelope holds `{0}`, not what was asked for")]
    Type(String),
    #[error("no signature in the envelope is valid for the trusted key")]
    Untrusted,
    #[error("the envelope has bytes that its signature does not cover")]
    Uncovered,
}

/// "PAE": what is signed (DSSE Protocol, "Signature Definition").
pub fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend(payload);
    bytes
}

/// The envelope's text.
pub fn sign(payload_type: &str, payload: &[u8], key: &SigningKey, key_id: &str) -> String {
    let signature = key.sign(&pre_authentication(payload_type, payload));
    signed(payload_type, payload, &signature.to_bytes(), key_id)
}

/// The envelope around a signature that was made elsewhere, over [`pre_authentication`].
pub fn signed(payload_type: &str, payload: &[u8], signature: &[u8], key_id: &str) -> String {
    let envelope = Envelope {
        payload: STANDARD.encode(payload),
        payload_type: payload_type.to_owned(),
        signatures: vec![EnvelopeSignature { keyid: key_id.to_owned(), sig: STANDARD.encode(signature) }],
    };
    serde_json::to_string(&envelope).expect("strings can be written as JSON") + "\n"
}

/// An envelope that nobody has signed yet.
pub fn unsigned(payload_type: &str, payload: &[u8]) -> String {
    let envelope =
        Envelope { payload: STANDARD.encode(payload), payload_type: payload_type.to_owned(), signatures: Vec::new() };
    serde_json::to_string(&envelope).expect("strings can be written as JSON") + "\n"
}

/// The payload of `envelope`, signed or not: for files whose every byte something else vouches for, such as those in a
/// root that dm-verity checks.
pub fn read_vouched(envelope: &[u8], payload_type: &str) -> Result<Vec<u8>, DsseError> {
    if envelope.len() > LIMIT_BYTES {
        return Err(DsseError::TooLarge(envelope.len()));
    }
    let parsed: Envelope = serde_json::from_slice(envelope)?;
    if parsed.payload_type != payload_type {
        return Err(DsseError::Type(parsed.payload_type));
    }
    Ok(STANDARD.decode(&parsed.payload)?)
}

/// SHA-256 of the key's SubjectPublicKeyInfo (RFC 8410 section 4), in hex.
pub fn key_id(key: &VerifyingKey) -> String {
    use sha2::{Digest, Sha256};
    // SEQUENCE { SEQUENCE { OID 1.3.101.112 }, BIT STRING } around the key's 32 bytes.
    const PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    crate::hex::encode(&Sha256::new_with_prefix(PREFIX).chain_update(key.as_bytes()).finalize())
}

/// The payload of `envelope`, which must be of this type and signed by `key`.
pub fn verify(envelope: &[u8], payload_type: &str, key: &VerifyingKey, key_id: &str) -> Result<Vec<u8>, DsseError> {
    if envelope.len() > LIMIT_BYTES {
        return Err(DsseError::TooLarge(envelope.len()));
    }
    let parsed: Envelope = serde_json::from_slice(envelope)?;
    if parsed.payload_type != payload_type {
        return Err(DsseError::Type(parsed.payload_type));
    }
    let payload = STANDARD.decode(&parsed.payload)?;
    let signed = pre_authentication(payload_type, &payload);
    let holds = |signature: &EnvelopeSignature| {
        let bytes = STANDARD.decode(&signature.sig).ok();
        let signature = bytes.and_then(|bytes| Signature::from_slice(&bytes).ok());
        signature.is_some_and(|signature| key.verify_strict(&signed, &signature).is_ok())
    };
    // One signature: with more, the payload would be hashed as often as an attacker likes.
    let [valid] = &parsed.signatures[..] else { return Err(DsseError::Uncovered) };
    if !holds(valid) {
        return Err(DsseError::Untrusted);
    }
    // One signer's envelope can be written in one way only, so that no bit of the file is free to change.
    let exact = Envelope {
        payload: STANDARD.encode(&payload),
        payload_type: payload_type.to_owned(),
        signatures: vec![EnvelopeSignature { keyid: key_id.to_owned(), sig: valid.sig.clone() }],
    };
    match serde_json::to_string(&exact)? + "\n" == String::from_utf8_lossy(envelope) {
        true => Ok(payload),
        false => Err(DsseError::Uncovered),
    }
}

//! The name of a payload and what signed metadata says of it in, its verified header out.
//!
//! Invariant: nothing of a header is used that is not both what the metadata names and what a known key signed.

use crate::device::Payloads;
use osbuild_format::dsse::{self, DsseError, VerifyingKey};
use osbuild_format::hex;
use osbuild_format::payload::{self, HeadError, Header, HeaderError, PAYLOAD_TYPE, PREFIX_BYTES};
use osbuild_format::target::TargetCustom;
use sha2::{Digest, Sha256};
use std::io;

/// A payload whose header can be trusted.
#[derive(Clone, Debug)]
pub struct Payload {
    /// Name of the target.
    pub target: String,
    pub header: Header,
    /// SHA-256 of the header's JSON, 64 hex digits.
    pub digest: String,
    /// Offset of the first segment in the target's file.
    pub segments_at: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    #[error("the payload `{target}` cannot be fetched")]
    Fetch {
        target: String,
        #[source]
        error: io::Error,
    },
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error("the payload's header is not signed by a key of this device")]
    Signature(#[source] DsseError),
    #[error("the payload's header is not the one that the repository's metadata names")]
    Digest,
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("the payload's `{0}` is not what the repository's metadata says")]
    Differs(&'static str),
}

impl Payload {
    /// Fetches and verifies the header of `target`; `keys` are those of the device.
    pub fn open(
        payloads: &mut dyn Payloads,
        target: &str,
        custom: &TargetCustom,
        keys: &[VerifyingKey],
    ) -> Result<Self, PayloadError> {
        let mut fetch = |offset, length| {
            let fetched = payloads.range(target, offset, length);
            fetched.map_err(|error| PayloadError::Fetch { target: target.to_owned(), error })
        };
        let length = payload::envelope_length(&fetch(0, PREFIX_BYTES as u64)?)?;
        let envelope = fetch(PREFIX_BYTES as u64, length as u64)?;
        let json = verify(&envelope, keys)?;
        let digest = hex::encode(&Sha256::digest(&json));
        if digest != custom.header {
            return Err(PayloadError::Digest);
        }
        let header = Header::from_json(&json)?;
        agrees(&header, custom)?;
        let segments_at = (PREFIX_BYTES + length) as u64;
        Ok(Payload { target: target.to_owned(), header, digest, segments_at })
    }
}

/// The JSON that one of `keys` signed.
fn verify(envelope: &[u8], keys: &[VerifyingKey]) -> Result<Vec<u8>, PayloadError> {
    let mut last = DsseError::Untrusted;
    for key in keys {
        match dsse::verify(envelope, PAYLOAD_TYPE, key, &dsse::key_id(key)) {
            Ok(json) => return Ok(json),
            Err(error) => last = error,
        }
    }
    Err(PayloadError::Signature(last))
}

fn agrees(header: &Header, custom: &TargetCustom) -> Result<(), PayloadError> {
    let from = header.from.as_ref().map(|release| &release.esp.sha256);
    let differs = [
        ("product", header.product != custom.product),
        ("machine", header.machine != custom.machine),
        ("version", header.to.version != custom.version),
        ("epoch", header.to.epoch != custom.epoch),
        ("to", header.to.esp.sha256 != custom.to),
        ("from", from != custom.from.as_ref()),
    ];
    match differs.iter().find(|(_, differs)| *differs) {
        Some((field, _)) => Err(PayloadError::Differs(field)),
        None => Ok(()),
    }
}

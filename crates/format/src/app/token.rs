//! A capability token: what one device may do beyond its image, signed; to and from JSON.
//!
//! Invariant: a token names its one device; a token for every device cannot be written.

use serde::{Deserialize, Serialize};

/// Type of the payload in the token's DSSE envelope.
pub const PAYLOAD_TYPE: &str = "application/vnd.osbuild.capability+json";
pub const FORMAT: u32 = 1;
/// Of the envelope.
pub const LIMIT_BYTES: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    pub format: u32,
    /// The device's id, 64 hexadecimal digits: see [`device_id`].
    pub device: String,
    /// May be given apps that are not part of its image.
    #[serde(default)]
    pub sideload: bool,
    /// May be given an older version of an app than it has had.
    #[serde(default)]
    pub downgrade: bool,
    /// Seconds since 1970 from which it is no longer good; none: for as long as its key is trusted.
    #[serde(default)]
    pub not_after: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the capability token is not valid JSON of the expected shape")]
    Shape(#[source] serde_json::Error),
    #[error("this reader knows format {FORMAT}, the capability token has: {0}")]
    Format(u32),
    #[error("the capability token is for another device: `{0}`")]
    Device(String),
    #[error("the capability token was good until {0} s after 1970")]
    Expired(u64),
}

impl Token {
    /// The token in a verified payload, if it is good on `device` at `now` (seconds since 1970).
    pub fn from_json(payload: &[u8], device: &str, now: u64) -> Result<Token, TokenError> {
        let token: Token = serde_json::from_slice(payload).map_err(TokenError::Shape)?;
        if token.format != FORMAT {
            return Err(TokenError::Format(token.format));
        }
        if token.device != device {
            return Err(TokenError::Device(token.device.chars().take(80).collect()));
        }
        match token.not_after {
            Some(end) if now >= end => Err(TokenError::Expired(end)),
            _ => Ok(token),
        }
    }

    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text and numbers can be written as JSON")
    }
}

/// What a device is called where its machine id is nobody's business: 64 hexadecimal digits.
pub fn device_id(machine_id: &str) -> String {
    use sha2::{Digest, Sha256};
    let hash = Sha256::new_with_prefix(b"osbuild device id\0").chain_update(machine_id.as_bytes()).finalize();
    crate::hex::encode(&hash)
}

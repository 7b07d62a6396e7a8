//! What a repository's signed metadata says of one payload beside its length and digest: `custom` of a target.
//!
//! The Update Framework 1.0.34, section 4.5: the framework leaves `custom` to the application. Invariant: a value that came
//! out of [`TargetCustom::from_json`] is of a format that is known here, and its numbers are within their limits; but for
//! `memory_bytes`, which a device compares when it chooses, so that it can say why it takes nothing.

use crate::device::update::LIMIT_EPOCH;
use serde::{Deserialize, Serialize};

/// The only version so far.
pub const FORMAT: u32 = 1;
/// Of the JSON.
pub const LIMIT_BYTES: usize = 16 * 1024;
/// What an update may take of a device's memory at most. A device refuses a payload that says more, and says so.
pub const LIMIT_MEMORY_BYTES: u64 = 32 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetCustom {
    /// [`FORMAT`].
    pub format: u32,
    pub product: String,
    pub machine: String,
    /// `MAJOR.MINOR.PATCH`, of the release that it leads to.
    pub version: String,
    /// Security epoch of that release.
    pub epoch: u32,
    /// SHA-256 of the ESP of the release that it leads to, 64 hex digits.
    pub to: String,
    /// The same of the release that it starts from; none: a full payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// SHA-256 of the payload's header, 64 hex digits: the JSON inside the envelope.
    pub header: String,
    /// What applying it takes at most.
    pub memory_bytes: u64,
    /// Of all devices, those whose number is below this may take it.
    pub rollout_percent: u8,
}

#[derive(Debug, thiserror::Error)]
pub enum TargetCustomError {
    #[error("the description of the target has {0} bytes; the limit is {LIMIT_BYTES}")]
    TooLong(usize),
    #[error("the description of the target is not valid JSON of the expected shape")]
    Shape(#[from] serde_json::Error),
    #[error("this reader knows format {FORMAT} of a target's description, it has: {0}")]
    Format(u64),
    #[error("the target's `{field}` is not valid: {value}")]
    Value { field: &'static str, value: String },
}

impl TargetCustom {
    /// Parses and validates.
    pub fn from_json(bytes: &[u8]) -> Result<Self, TargetCustomError> {
        if bytes.len() > LIMIT_BYTES {
            return Err(TargetCustomError::TooLong(bytes.len()));
        }
        let value: serde_json::Value = serde_json::from_slice(bytes)?;
        // A later format may have other fields: that it is another format is what has to be said.
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format != u64::from(FORMAT) => return Err(TargetCustomError::Format(format)),
            _ => {}
        }
        let custom: Self = serde_json::from_value(value)?;
        custom.validate()?;
        Ok(custom)
    }

    pub fn validate(&self) -> Result<(), TargetCustomError> {
        for (field, digest) in [("to", Some(&self.to)), ("header", Some(&self.header)), ("from", self.from.as_ref())] {
            let valid = |digest: &String| crate::hex::decode(digest).is_some_and(|bytes| bytes.len() == 32);
            if let Some(digest) = digest.filter(|digest| !valid(digest)) {
                let value = digest.chars().take(80).collect::<String>().escape_debug().to_string();
                return Err(TargetCustomError::Value { field, value });
            }
        }
        for (field, text) in [("product", &self.product), ("machine", &self.machine), ("version", &self.version)] {
            if !crate::payload::is_text(text) {
                let value = text.chars().take(80).collect::<String>().escape_debug().to_string();
                return Err(TargetCustomError::Value { field, value });
            }
        }
        let wrong = |field, value: u64| Err(TargetCustomError::Value { field, value: value.to_string() });
        match () {
            () if self.rollout_percent > 100 => wrong("rollout_percent", self.rollout_percent.into()),
            // A device could never commit it, nor anything after it.
            () if self.epoch > LIMIT_EPOCH => wrong("epoch", self.epoch.into()),
            () => Ok(()),
        }
    }
}

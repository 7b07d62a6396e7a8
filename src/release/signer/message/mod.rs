//! The bytes that a key is asked to sign in, what they are out: a program for Secure Boot, a statement, or metadata.
//!
//! Invariant: a [`Message`] is whole and of a shape that osbuild writes, so that no other words can be signed as one; and each
//! key signs its own kinds only.

mod facts;
#[cfg(test)]
mod tests;

use super::PublicKey;
use crate::image::authenticode;
use crate::release::manifest::{self, Statement};
use osbuild_format::app::token::{self, Token};
use osbuild_format::app::{self, Manifest};
use osbuild_format::{dsse, payload};
use osbuild_tuf::metadata::{Metadata, Root, Signed, Snapshot, Targets, Timestamp, TopLevel};
use serde_json::Value;

/// Where no role has the key's name.
const ROLES_OF_NO_METADATA: [&str; 6] = ["PK", "KEK", "db", "release", "app", "capability"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// The attributes of an Authenticode signature.
    Program,
    /// The pre-authentication encoding of a DSSE envelope.
    Statement { kind: &'static str, payload: &'a [u8] },
    /// The canonical JSON of a file of a repository.
    Metadata { kind: TopLevel, json: &'a [u8] },
}

#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    #[error(
        "it is neither the attributes of an Authenticode signature, a DSSE statement, nor metadata of a repository"
    )]
    Unknown,
    #[error("it begins as attributes of an Authenticode signature, and is not what osbuild has signed of a program")]
    Attributes,
    #[error("it begins as a DSSE statement, and its lengths are not those of what follows")]
    Lengths,
    #[error("no key signs statements of type `{0}`")]
    Type(String),
    #[error("it is no statement of type `{kind}`: {reason}")]
    Statement { kind: &'static str, reason: String },
    #[error("it is no metadata of a repository in canonical form: {0}")]
    Metadata(String),
    #[error("key `{name}` does not sign this: {what}")]
    Key { name: String, what: String },
}

impl Message<'_> {
    pub fn parse(bytes: &[u8]) -> Result<Message<'_>, MessageError> {
        match bytes {
            [0x31, ..] if authenticode::are_signed_attributes(bytes) => Ok(Message::Program),
            [0x31, ..] => Err(MessageError::Attributes),
            [b'{', ..] => metadata(bytes),
            _ if bytes.starts_with(b"DSSEv1 ") => statement(bytes),
            _ => Err(MessageError::Unknown),
        }
    }

    /// Whether a key of this name and kind is one that signs it.
    pub fn check_key(&self, name: &str, public: &PublicKey) -> Result<(), MessageError> {
        let is_ed25519 = matches!(public, PublicKey::Ed25519(_));
        let signs = match self {
            Message::Program => name == "db" && !is_ed25519,
            Message::Statement { kind, .. } => is_ed25519 && signer_of(kind) == Some(name),
            // Keys with names of their own, which `keys add` makes, are for any role.
            Message::Metadata { kind, .. } => {
                let others = TopLevel::ALL.iter().filter(|other| *other != kind).map(|other| other.name());
                is_ed25519 && !others.chain(ROLES_OF_NO_METADATA).any(|other| other == name)
            }
        };
        match signs {
            true => Ok(()),
            false => Err(MessageError::Key { name: name.to_owned(), what: self.describe() }),
        }
    }

    /// What it is, from its own bytes: whoever signs must not have to believe the words of whoever asks.
    pub fn describe(&self) -> String {
        match self {
            Message::Program => "a program for Secure Boot (attributes of an Authenticode signature)".to_owned(),
            Message::Statement { kind, payload } => format!("a statement of type {kind}: {}", facts::of(payload)),
            Message::Metadata { json, .. } => format!("metadata of a repository: {}", facts::of(json)),
        }
    }
}

/// What a message is, or that it is nothing known.
pub fn describe(message: &[u8]) -> String {
    let unknown = |error| format!("{} bytes that osbuild does not know: {error}", message.len());
    Message::parse(message).map_or_else(unknown, |known| known.describe())
}

/// Name of the key that signs statements of this type.
fn signer_of(kind: &str) -> Option<&'static str> {
    match kind {
        manifest::PAYLOAD_TYPE | payload::PAYLOAD_TYPE => Some("release"),
        app::PAYLOAD_TYPE => Some("app"),
        token::PAYLOAD_TYPE => Some("capability"),
        _ => None,
    }
}

/// DSSE Protocol 1.0, "PAE": `DSSEv1 LENGTH TYPE LENGTH PAYLOAD`.
fn statement(bytes: &[u8]) -> Result<Message<'_>, MessageError> {
    let mut words = bytes.splitn(5, |byte| *byte == b' ');
    let (_, _, kind, _, payload) = (words.next(), words.next(), words.next(), words.next(), words.next());
    let (kind, payload) = kind.zip(payload).ok_or(MessageError::Lengths)?;
    let kind = std::str::from_utf8(kind).map_err(|_| MessageError::Lengths)?;
    if dsse::pre_authentication(kind, payload) != bytes {
        return Err(MessageError::Lengths);
    }
    let (kind, shape) = match kind {
        manifest::PAYLOAD_TYPE => (manifest::PAYLOAD_TYPE, manifest_of_image(payload)),
        payload::PAYLOAD_TYPE => (payload::PAYLOAD_TYPE, payload::Header::from_json(payload).map(drop).map_err(said)),
        app::PAYLOAD_TYPE => (app::PAYLOAD_TYPE, Manifest::from_json(payload).map(drop).map_err(said)),
        token::PAYLOAD_TYPE => (token::PAYLOAD_TYPE, token_of_device(payload)),
        other => return Err(MessageError::Type(other.chars().take(80).collect::<String>().escape_debug().to_string())),
    };
    match shape {
        Ok(()) => Ok(Message::Statement { kind, payload }),
        Err(reason) => Err(MessageError::Statement { kind, reason }),
    }
}

fn manifest_of_image(payload: &[u8]) -> Result<(), String> {
    Statement::parse(payload).and_then(|statement| statement.files().map(drop)).map_err(said)
}

fn token_of_device(payload: &[u8]) -> Result<(), String> {
    let token: Token = serde_json::from_slice(payload).map_err(said)?;
    match token.format {
        token::FORMAT => Ok(()),
        other => Err(format!("its format is {other}")),
    }
}

fn metadata(bytes: &[u8]) -> Result<Message<'_>, MessageError> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| MessageError::Metadata(said(error)))?;
    let found = value["_type"].as_str().unwrap_or_default();
    let kind = TopLevel::ALL.into_iter().find(|kind| kind.name() == found);
    let kind = kind.ok_or_else(|| MessageError::Metadata("it has no `_type` of a repository's".to_owned()))?;
    match kind {
        TopLevel::Root => canonical::<Root>(bytes),
        TopLevel::Targets => canonical::<Targets>(bytes),
        TopLevel::Snapshot => canonical::<Snapshot>(bytes),
        TopLevel::Timestamp => canonical::<Timestamp>(bytes),
    }
    .map(|()| Message::Metadata { kind, json: bytes })
    .map_err(MessageError::Metadata)
}

/// Whether it is what signatures of a valid file are over.
fn canonical<T: Metadata>(bytes: &[u8]) -> Result<(), String> {
    let file = [b"{\"signatures\":[],\"signed\":", bytes, b"}"].concat();
    let signed = Signed::<T>::from_json(&file, file.len()).map_err(said)?;
    // Its own members only: what cannot be written again came from elsewhere.
    signed.to_json().map_err(said)?;
    match signed.message() == bytes {
        true => Ok(()),
        false => Err("its members or spaces are not those of the canonical form".to_owned()),
    }
}

/// With its causes, in a line: names of members are a stranger's.
fn said(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text.chars().take(300).flat_map(char::escape_debug).collect()
}

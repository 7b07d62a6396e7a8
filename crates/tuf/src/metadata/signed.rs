//! The envelope of every file: what is signed, and the signatures over it.
//!
//! Invariant: [`Signed::message`] is the canonical form of what was received, with every member that is not known here, and
//! [`Signed::count_valid`] counts a key once, however often it is named.

use super::{rule, shown, Key, KeyId, Keys, MetadataError, RoleKeys, TopLevel, SPEC_VERSION};
use crate::key::PublicKey;
use crate::{canonical_json, Time};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// What the four kinds of metadata have in common.
pub trait Metadata: Serialize + DeserializeOwned {
    const TYPE: TopLevel;

    fn kind(&self) -> &str;
    fn spec_version(&self) -> &str;
    fn version(&self) -> u64;
    fn expires(&self) -> Time;
    /// The rules of this kind alone.
    fn validate(&self) -> Result<(), MetadataError>;
}

/// The members that all of them have, by their names in Rust.
macro_rules! members {
    () => {
        fn kind(&self) -> &str {
            &self.kind
        }

        fn spec_version(&self) -> &str {
            &self.spec_version
        }

        fn version(&self) -> u64 {
            self.version
        }

        fn expires(&self) -> Time {
            self.expires
        }
    };
}
pub(super) use members;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    pub keyid: KeyId,
    /// Hexadecimal digits.
    pub sig: String,
}

/// Metadata with the signatures over it, which nobody has checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<T> {
    pub signed: T,
    pub signatures: Vec<Signature>,
    message: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    signatures: Vec<Signature>,
    signed: Value,
}

/// Of one file.
const LIMIT_SIGNATURES: usize = 256;

impl<T: Metadata> Signed<T> {
    /// Without signatures yet.
    pub fn new(signed: T) -> Result<Self, MetadataError> {
        validate(&signed)?;
        let message = canonical_json(&serde_json::to_value(&signed)?)?;
        Ok(Signed { signed, signatures: Vec::new(), message })
    }

    /// Parses and validates; checks no signature.
    pub fn from_json(bytes: &[u8], limit: usize) -> Result<Self, MetadataError> {
        if bytes.len() > limit {
            return Err(MetadataError::TooLong { bytes: bytes.len(), limit });
        }
        let envelope: Envelope = serde_json::from_slice(bytes)?;
        let message = canonical_json(&envelope.signed)?;
        // The type first: with another one, the members would be wrong, too, and that would be said.
        match envelope.signed.get("_type").and_then(Value::as_str) {
            Some(found) if found != T::TYPE.name() => {
                return Err(MetadataError::Type { wanted: T::TYPE.name(), found: shown(found) });
            }
            _ => {}
        }
        let signed: T = serde_json::from_value(envelope.signed)?;
        validate(&signed)?;
        let signatures = envelope.signatures;
        if signatures.len() > LIMIT_SIGNATURES {
            return rule(format!("it has more than {LIMIT_SIGNATURES} signatures"));
        }
        let mut seen = BTreeSet::new();
        match signatures.iter().find(|signature| !seen.insert(&signature.keyid)) {
            Some(twice) => Err(MetadataError::DuplicateSignature(shown(&twice.keyid))),
            None => Ok(Signed { signed, signatures, message }),
        }
    }

    /// The same value gives the same bytes. Fails where they would not be what was signed: a member that may be left out was
    /// given, or the other way round.
    pub fn to_json(&self) -> Result<Vec<u8>, MetadataError> {
        let signed = serde_json::to_value(&self.signed)?;
        if canonical_json(&signed)? != self.message {
            return rule("it cannot be written as it was signed");
        }
        let envelope = Envelope { signatures: self.signatures.clone(), signed };
        let mut bytes = serde_json::to_vec_pretty(&envelope)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// What signatures are over.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Adds a signature, or replaces that of the same key.
    pub fn attach(&mut self, keyid: &str, signature: &[u8]) {
        self.signatures.retain(|other| other.keyid != keyid);
        self.signatures.push(Signature { keyid: keyid.to_owned(), sig: crate::hex::encode(signature) });
    }

    /// How many different keys of this role have signed.
    pub fn count_valid(&self, keys: &Keys, role: &RoleKeys) -> usize {
        let mut counted = BTreeSet::new();
        for signature in self.signatures.iter().filter(|signature| role.keyids.contains(&signature.keyid)) {
            let key = keys.get(&signature.keyid).and_then(|key: &Key| PublicKey::read(key));
            if let Some(key) = key.filter(|key| key.verifies(&self.message, &signature.sig)) {
                counted.insert(key.identity().to_vec());
            }
        }
        counted.len()
    }

    /// Whether as many different keys of this role have signed as it asks for.
    pub fn is_trusted(&self, keys: &Keys, role: &RoleKeys) -> bool {
        role.threshold > 0 && u32::try_from(self.count_valid(keys, role)).is_ok_and(|count| count >= role.threshold)
    }
}

fn validate<T: Metadata>(signed: &T) -> Result<(), MetadataError> {
    if signed.kind() != T::TYPE.name() {
        return Err(MetadataError::Type { wanted: T::TYPE.name(), found: shown(signed.kind()) });
    }
    let major = |version: &str| version.split_once('.').map(|(major, _)| major.to_owned());
    if major(signed.spec_version()) != major(SPEC_VERSION) {
        return Err(MetadataError::SpecVersion(shown(signed.spec_version())));
    }
    if signed.version() == 0 {
        return rule("its version is 0");
    }
    signed.validate()
}

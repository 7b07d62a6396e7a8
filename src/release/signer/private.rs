//! Where the private half of a key is, and a signature made there.
//!
//! Invariant: a private key that others can read, or a `NAME.signer` that they can change, is not used; what `NAME.signer` says is checked before anything is started.

use super::external::External;
use super::pkcs11::Pkcs11;
use super::{PublicKey, SignError};
use crate::release::keys::{invalid, own, private, KeyError};
use ed25519_dalek::pkcs8::DecodePrivateKey;
use ed25519_dalek::{Signer as _, SigningKey};
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::path::Path;

pub(super) enum Private {
    Ed25519(Box<SigningKey>),
    Rsa(Box<RsaPrivateKey>),
    Pkcs11(Pkcs11),
    External(External),
    /// Not here: others sign.
    Absent,
}

/// What a file `NAME.signer` says.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Place {
    Pkcs11(Pkcs11),
    Command(External),
}

impl Private {
    /// What the folder says of the private half of the key `name`, whose public half is `public`.
    pub(super) fn load(folder: &Path, name: &str, public: &PublicKey) -> Result<Private, KeyError> {
        let signer = folder.join(format!("{name}.signer"));
        let path = folder.join(format!("{name}.key"));
        if path.exists() {
            return Private::of_file(&path, public);
        }
        if !signer.exists() {
            return Ok(Private::Absent);
        }
        let place: Place = serde_json::from_str(&own(&signer)?)
            .map_err(invalid(&signer, "signer (`{\"pkcs11\": {...}}` or `{\"command\": {...}}`)"))?;
        match place {
            Place::Pkcs11(token) => Ok(Private::Pkcs11(token)),
            Place::Command(external) => {
                external.check().map_err(invalid(&signer, "signer"))?;
                Ok(Private::External(external))
            }
        }
    }

    fn of_file(path: &Path, public: &PublicKey) -> Result<Private, KeyError> {
        let text = private(path)?;
        match public {
            PublicKey::Ed25519(public) => {
                let key = SigningKey::from_pkcs8_pem(&text).map_err(invalid(path, "Ed25519 key"))?;
                match key.verifying_key() == *public {
                    true => Ok(Private::Ed25519(Box::new(key))),
                    false => Err(KeyError::Mismatch(path.with_extension("pub"))),
                }
            }
            PublicKey::Rsa(public) => {
                let key = RsaPrivateKey::from_pkcs8_pem(&text).map_err(invalid(path, "RSA key"))?;
                let beside = if path.with_extension("crt").exists() { "crt" } else { "pub" };
                match key.to_public_key() == **public {
                    true => Ok(Private::Rsa(Box::new(key))),
                    false => Err(KeyError::Mismatch(path.with_extension(beside))),
                }
            }
        }
    }

    /// The signature, unchecked; none where the private half is not here.
    pub(super) fn sign(&self, name: &str, public: &PublicKey, message: &[u8]) -> Result<Option<Vec<u8>>, SignError> {
        Ok(Some(match self {
            Private::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
            Private::Rsa(key) => {
                key.sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message)).map_err(SignError::Rsa)?
            }
            Private::Pkcs11(token) => {
                token.sign(public, message).map_err(|source| SignError::Token { name: name.to_owned(), source })?
            }
            Private::External(external) => external
                .sign(name, public, message)
                .map_err(|source| SignError::External { name: name.to_owned(), source })?,
            Private::Absent => return Ok(None),
        }))
    }
}
